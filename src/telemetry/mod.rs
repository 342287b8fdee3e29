//! Logs, metrics and traces.

mod bugs;
mod latency;
mod log;
mod metrics;
mod process;
mod trace;

pub use bugs::tell_places_only;
pub use log::{Log, check_level};
pub use metrics::{CONTENT_TYPE, Fate, Kind, Metrics, Outcome};
pub use process::{STATUS, memory_in, resident_memory};
pub use trace::{SharedSpan, Span, SpanKind, TRACEPARENT, TRACESTATE, TraceContext, Tracer};
