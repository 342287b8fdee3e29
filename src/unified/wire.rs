//! What goes over the wire to a client: JSON answers, and streams of server-sent events with heartbeats.

use crate::mcp::rpc::{Id, Response as RpcResponse, RpcError};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

/// How many messages may wait for a client that does not read. After that, whoever sends them waits.
pub(super) const WAITING: usize = 16;

/// A comment (WHATWG HTML §9.2): every parser skips it.
const HEARTBEAT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// What a client takes for an answer (`Accept`, RFC 9110 §12.5.1). Weights are not looked at: all that matters is what it can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accept {
    /// `application/json`
    pub(super) json: bool,
    /// `text/event-stream`
    pub(super) events: bool,
}

impl Accept {
    /// Without the field, anything.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut accept = Accept { json: false, events: false };
        let mut values = headers.get_all(header::ACCEPT).iter().peekable();
        if values.peek().is_none() {
            return Accept { json: true, events: true };
        }
        let ranges = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        for range in ranges.map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()) {
            accept.json |= matches!(range.as_str(), "*/*" | "application/*" | "application/json");
            accept.events |= matches!(range.as_str(), "*/*" | "text/*" | "text/event-stream");
        }
        accept
    }
}

/// What goes to a client, on a stream or as an answer.
pub(super) enum Out {
    /// A notification, or a question.
    Note(Value),
    /// The answer to a request.
    Answer(Value),
    /// An event that is no message.
    Event(Bytes),
}

impl Out {
    fn into_event(self) -> Bytes {
        match self {
            Out::Event(event) => event,
            Out::Note(message) | Out::Answer(message) => {
                // JSON has no line breaks outside of texts, and inside they are escaped.
                Bytes::from(format!("event: message\ndata: {message}\n\n"))
            }
        }
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, message: &Value) -> Response {
    let body = Body::from(message.to_string());
    let mut response = (status, body).into_response();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An error as the answer to a request, or to something that has no id.
pub(super) fn refused(status: StatusCode, id: Option<Id>, error: RpcError) -> Response {
    json(status, &RpcResponse { id, outcome: Err(error) }.to_json())
}

/// `202 Accepted`, as the answer to what wants none.
pub(super) fn accepted() -> Response {
    StatusCode::ACCEPTED.into_response()
}

/// A stream of events. Whoever drops its body drops the producer.
pub(super) struct Events {
    out: mpsc::Receiver<Out>,
    producer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    heartbeat: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl Events {
    /// What comes out of `out`, until all its senders are gone; a comment when nothing has come for a `heartbeat`.
    pub(super) fn of(out: mpsc::Receiver<Out>, heartbeat: Option<Duration>) -> Self {
        let heartbeat = heartbeat.map(|every| (every, Box::pin(tokio::time::sleep(every))));
        Self { out, producer: None, heartbeat }
    }

    /// The same from a producer that works as long as somebody reads.
    pub(super) fn produced<P>(heartbeat: Option<Duration>, produce: impl FnOnce(mpsc::Sender<Out>) -> P) -> Self
    where
        P: Future<Output = ()> + Send + 'static,
    {
        let (sender, out) = mpsc::channel(WAITING);
        let producer = Box::pin(produce(sender));
        Self { producer: Some(producer), ..Self::of(out, heartbeat) }
    }

    /// The answer whose body this is.
    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(Body::from_stream(self));
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
        // Tells nginx and its like in front of us not to collect the stream.
        fields.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    fn emit(&mut self, event: Bytes) -> Poll<Option<Result<Bytes, Infallible>>> {
        if let Some((every, timer)) = &mut self.heartbeat {
            timer.as_mut().reset(Instant::now() + *every);
        }
        Poll::Ready(Some(Ok(event)))
    }
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Poll::Ready(Some(out)) = this.out.poll_recv(context) {
            return this.emit(out.into_event());
        }
        if let Some(producer) = &mut this.producer
            && producer.as_mut().poll(context).is_ready()
        {
            this.producer = None;
        }
        match this.out.poll_recv(context) {
            Poll::Ready(Some(out)) => return this.emit(out.into_event()),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        let Some((_, timer)) = &mut this.heartbeat else { return Poll::Pending };
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => this.emit(HEARTBEAT),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use serde_json::json;

    #[test]
    fn what_a_client_can_read() {
        for (accept, json, events) in [
            ("application/json, text/event-stream", true, true),
            ("text/event-stream", false, true),
            ("application/json;q=0.1", true, false),
            ("*/*", true, true),
            ("Application/JSON , TEXT/*", true, true),
            ("text/html", false, false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Accept::of(&headers), Accept { json, events }, "{accept}");
        }
        assert_eq!(Accept::of(&HeaderMap::new()), Accept { json: true, events: true });
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_producer_and_a_producer_with_its_stream() {
        let events = Events::produced(None, |out| async move {
            for number in 0..40 {
                out.send(Out::Note(json!({ "n": number }))).await.unwrap();
            }
        });
        let all: Vec<_> = events.collect().await;
        assert_eq!(all.len(), 40, "more than may wait");
        assert_eq!(all[39].as_ref().unwrap(), "event: message\ndata: {\"n\":39}\n\n");

        let (dropped, gone) = tokio::sync::oneshot::channel::<()>();
        let mut events = Events::produced(None, |out| async move {
            let _dropped = dropped;
            out.send(Out::Event(Bytes::from_static(b": \n\n"))).await.unwrap();
            std::future::pending::<()>().await;
        });
        assert!(events.next().await.is_some());
        drop(events);
        assert!(gone.await.is_err());
    }

    #[tokio::test]
    async fn silence_is_filled_with_comments() {
        let (sender, out) = mpsc::channel(1);
        let mut events = Events::of(out, Some(Duration::from_millis(5)));
        assert_eq!(events.next().await.unwrap().unwrap(), HEARTBEAT);
        assert_eq!(events.next().await.unwrap().unwrap(), HEARTBEAT);
        drop(sender);
        assert!(events.next().await.is_none());
    }
}
