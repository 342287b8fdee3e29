//! Traces: spans of requests, sent to a collector of OpenTelemetry. Off unless the configuration names one; then the data path asks
//! one `Option`, and nothing else of this exists.
//!
//! A span is a value that its owner ends by dropping it. It goes into a bounded queue, and a task of its own sends what is in there
//! (`export.rs`); whoever is traced waits for nothing.

mod context;
mod export;
mod otlp;
mod shared;
mod span;

pub use context::{TRACEPARENT, TRACESTATE, TraceContext};
pub use shared::SharedSpan;
pub use span::{Kind as SpanKind, Span};

use super::Metrics;
use crate::clock::Clock;
use crate::config::Otlp;
use crate::http::HttpClient;
use crate::ids::Random;
use context::{SpanId, TraceId};
use export::{Exporter, Queued};
use http::HeaderMap;
use span::Finished;
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many spans may wait to be sent. Beyond that they are dropped, and counted.
const QUEUE: usize = 4096;

/// Begins traces, if anybody wants them. Cloning shares the queue.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Inner>>);

struct Inner {
    clock: Clock,
    random: Random,
    metrics: Arc<Metrics>,
    /// Of trace ids, those whose last eight bytes are below this are exported; `None`: all.
    below: Option<u64>,
    queue: mpsc::Sender<Queued>,
}

impl Tracer {
    /// Nobody wants traces.
    pub fn off() -> Self {
        Self(None)
    }

    /// Starts the task that sends spans to the collector of the configuration, if it names one.
    pub fn start(
        otlp: Option<&Otlp>,
        http: HttpClient,
        (clock, random): (Clock, Random),
        metrics: Arc<Metrics>,
    ) -> Self {
        let Some(otlp) = otlp else { return Self(None) };
        let (queue, waiting) = mpsc::channel(QUEUE);
        let exporter = Exporter::new(otlp, http, &random, metrics.clone());
        tokio::spawn(exporter.run(waiting));
        Self(Some(Arc::new(Inner { clock, random, metrics, below: bound(otlp.sample), queue })))
    }

    /// Whether traces are wanted.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The span of a request that came in, which goes on with the trace of its caller if it names one (W3C Trace Context §3).
    pub fn server(&self, headers: &HeaderMap, name: impl Into<Cow<'static, str>>) -> Option<SharedSpan> {
        let inner = self.0.as_ref()?;
        let parent = TraceContext::of_headers(headers);
        let is_remote = parent.is_some();
        Some(SharedSpan::new(Span::begin(inner.clone(), parent, (SpanKind::Server, name.into())), is_remote))
    }

    /// A span that is caused by no request.
    pub fn root(&self, kind: SpanKind, name: &'static str) -> Option<Box<Span>> {
        let inner = self.0.as_ref()?;
        Some(Box::new(Span::begin(inner.clone(), None, (kind, name.into()))))
    }

    /// Sends what waits, once. Returns when that was tried.
    pub async fn flush(&self) {
        let Some(inner) = &self.0 else { return };
        let (done, sent) = oneshot::channel();
        if inner.queue.send(Queued::Flush(done)).await.is_ok() {
            // Fails only when the task is gone, and then there is nothing to wait for.
            let _ = sent.await;
        }
    }
}

impl Inner {
    fn queue(&self, span: Finished) {
        if self.queue.try_send(Queued::Span(Box::new(span))).is_err() {
            self.metrics.spans_dropped.inc();
        }
    }

    /// A context below `parent`: of its trace, and sampled as it is; else a trace of its own.
    fn context(&self, parent: Option<&TraceContext>) -> TraceContext {
        let span = SpanId::random(&self.random);
        match parent {
            Some(parent) => parent.below(span),
            None => {
                let trace = TraceId::random(&self.random);
                TraceContext::begin(trace, span, self.below.is_none_or(|bound| trace.low() < bound))
            }
        }
    }
}

/// TraceIdRatioBased: so nodes with one share decide alike.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // from 0 to 1
fn bound(share: f64) -> Option<u64> {
    (share < 1.0).then_some((share * u64::MAX as f64) as u64)
}
