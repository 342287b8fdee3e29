//! The task that sends spans to the collector, in batches. A collector that is away costs dropped spans, which are counted, and one
//! line in the log.

use super::otlp::{self, Resource};
use super::span::Finished;
use crate::config::Otlp;
use crate::http::HttpClient;
use crate::ids::Random;
use crate::telemetry::Metrics;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How many spans go out together.
const BATCH: usize = 512;
/// How long a span waits for others.
const COMPANY: Duration = Duration::from_secs(2);
/// How long to wait before a batch is sent again, each time that the collector was away or busy (OTLP, Retryable Response Codes).
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// What waits for the exporter.
pub(super) enum Queued {
    Span(Box<Finished>),
    /// Answered when everything before it was sent, or is lost.
    Flush(oneshot::Sender<()>),
}

pub(super) struct Exporter {
    http: HttpClient,
    uri: Option<Uri>,
    headers: HeaderMap,
    resource: Resource,
    metrics: Arc<Metrics>,
    in_trouble: bool,
}

/// What came of a batch.
enum Sent {
    Whole,
    /// It is no use to send it again.
    Refused(String),
    /// The collector may take it later.
    Later(String),
}

impl Exporter {
    pub(super) fn new(otlp: &Otlp, http: HttpClient, random: &Random, metrics: Arc<Metrics>) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in &otlp.headers {
            // Both were looked at when the configuration was read.
            if let Ok(mut value) = HeaderValue::from_str(value.expose()) {
                value.set_sensitive(true);
                headers.append(name.clone(), value);
            }
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let resource = Resource::new(&otlp.service_name, &HEXLOWER.encode(&random.bytes::<16>()));
        let uri = otlp.endpoint.as_str().parse().ok();
        Self { http, uri, headers, resource, metrics, in_trouble: false }
    }

    /// Sends until nobody can begin a span any more.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Queued>) {
        let mut waiting = Vec::with_capacity(BATCH);
        while gather(&mut queue, &mut waiting).await {
            let (mut spans, mut asked) = (Vec::with_capacity(waiting.len()), Vec::new());
            for queued in waiting.drain(..) {
                match queued {
                    Queued::Span(span) => spans.push(*span),
                    Queued::Flush(done) => asked.push(done),
                }
            }
            // Whoever waits for the end does not wait for a collector that is away.
            let pauses = if asked.is_empty() && !self.in_trouble { &PAUSES[..] } else { &[] };
            if !spans.is_empty() {
                self.deliver(&spans, pauses).await;
            }
            for done in asked {
                let _ = done.send(());
            }
        }
    }

    async fn deliver(&mut self, spans: &[Finished], pauses: &[Duration]) {
        let body = Bytes::from(otlp::request(&self.resource, spans));
        let mut pauses = pauses.iter();
        let why = loop {
            match self.send(body.clone()).await {
                Sent::Whole => {
                    self.metrics.spans_exported.inc_by(spans.len() as u64);
                    if std::mem::take(&mut self.in_trouble) {
                        tracing::info!("the collector takes traces again");
                    }
                    return;
                }
                Sent::Refused(why) => break why,
                Sent::Later(why) => match pauses.next() {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => break why,
                },
            }
        };
        self.metrics.spans_dropped.inc_by(spans.len() as u64);
        if !std::mem::replace(&mut self.in_trouble, true) {
            tracing::warn!(why, "the collector takes no traces: they are dropped, and counted, until it does");
        }
    }

    async fn send(&self, body: Bytes) -> Sent {
        let Some(uri) = self.uri.clone() else { return Sent::Refused("telemetry.otlp_endpoint is no URL".to_owned()) };
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        match self.http.send_to_operator(request).await {
            Ok(answer) if answer.status.is_success() => Sent::Whole,
            Ok(answer) if is_retryable(answer.status) => Sent::Later(format!("it answered {}", answer.status)),
            Ok(answer) => Sent::Refused(format!("it answered {}", answer.status)),
            Err(error) => Sent::Later(error.to_string()),
        }
    }
}

/// Waits for spans, and for a moment for more of them; false when there will be none.
async fn gather(queue: &mut mpsc::Receiver<Queued>, waiting: &mut Vec<Queued>) -> bool {
    if queue.recv_many(waiting, BATCH).await == 0 {
        return false;
    }
    let company = tokio::time::sleep(COMPANY);
    tokio::pin!(company);
    while waiting.len() < BATCH && !waiting.iter().any(|queued| matches!(queued, Queued::Flush(_))) {
        let room = BATCH - waiting.len();
        tokio::select! { biased;
            count = queue.recv_many(waiting, room) => if count == 0 { break },
            () = &mut company => break,
        }
    }
    true
}

/// OTLP/HTTP, Retryable Response Codes.
fn is_retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502..=504)
}
