//! Metrics for Prometheus. Every counter exists from the start: recording is an atomic addition, without
//! look-up and without lock.

use super::latency::{Latency, NewLatency};
use super::process;
use crate::mcp::Method;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Who answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// We ourselves.
    Local,
    /// An upstream.
    Upstream,
}

/// How an attempt went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Succeeded,
    /// Not.
    Failed,
}

/// What became of a request to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The upstream answered it.
    Answered,
    /// It was refused because of what an administrator decided about tools.
    Refused,
    /// There is no answer of the upstream, or not all of it arrived.
    Failed,
}

impl Fate {
    /// As it is called in logs and metrics.
    pub fn label(self) -> &'static str {
        FATES[self as usize]
    }
}

/// The `Content-Type` of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted. Shared behind an `Arc`.
pub struct Metrics {
    registry: Registry,
    /// Under the names that every dashboard knows, without our prefix.
    process: Registry,
    requests: [[Counter; CLASSES.len()]; KINDS.len()],
    durations: [Latency; KINDS.len()],
    refreshes: [Counter; OUTCOMES.len()],
    /// Answers of upstreams that are being streamed at this moment.
    pub open_streams: Gauge,
    /// Memory of request bodies that are kept for a repetition, in bytes.
    pub kept_bodies: Gauge,
    /// Connections of callers that are open at this moment.
    pub connections: Gauge,
    /// Connections that were closed at once because there are too many.
    pub connections_refused: Counter,
    /// What this process may take of the machine's memory, in bytes.
    pub memory_limit: Gauge,
    /// Requests that were refused because memory was nearly gone.
    pub requests_shed: Counter,
    /// Upstreams that could not be reached, did not answer in time, or broke off.
    pub upstream_failures: Counter,
    mcp_requests: [[Counter; FATES.len()]; Method::COUNT],
    /// Processes of programs that run at this moment.
    pub stdio_processes: Gauge,
    /// Programs that were started.
    pub stdio_starts: Counter,
    /// Processes that we ended.
    pub stdio_ended: Counter,
    /// Processes that ended by themselves, or were ended for what they did.
    pub stdio_failed: Counter,
    /// Events that are missing in the audit log.
    pub audit_lost: Counter,
    /// Batches of lines that are missing in the audit log's file.
    pub audit_file_failures: Counter,
    /// Spans that a collector took.
    pub spans_exported: Counter,
    /// Spans that no collector got.
    pub spans_dropped: Counter,
    limited: [Counter; LIMITS.len()],
    store_durations: [Latency; OPERATIONS.len()],
    store_failures: [Counter; OPERATIONS.len()],
    standing_connections: [Gauge; STATES.len()],
}

// In the order of the enums above.
const KINDS: [&str; 2] = ["local", "upstream"];
const OUTCOMES: [&str; 2] = ["succeeded", "failed"];
const FATES: [&str; 3] = ["answered", "refused", "failed"];
/// The keys of `[limits]`.
const LIMITS: [&str; 7] =
    ["per_ip", "per_user", "per_user_upstream", "per_client", "token_endpoint", "registration", "login"];
const OPERATIONS: [&str; 2] = ["read", "write"];
/// As the database has them.
const STATES: [&str; 3] = ["active", "open", "needs_consent"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    kind: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct McpLabels {
    method: &'static str,
    fate: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register("requests", "Requests, by who answered and by class of status", requests.clone());
        let durations = Family::<KindLabel, Latency, NewLatency>::new_with_constructor(NewLatency);
        let help = "Time to the end of the answer's head";
        registry.register_with_unit("request_duration", help, Unit::Seconds, durations.clone());
        let refreshes = Family::<OutcomeLabel, Counter>::default();
        registry.register("token_refreshes", "Refreshes of upstream tokens", refreshes.clone());
        let (open_streams, kept_bodies, upstream_failures) = (Gauge::default(), Gauge::default(), Counter::default());
        registry.register("open_streams", "Streams being forwarded", open_streams.clone());
        let help = "Request bodies kept for a repetition";
        registry.register_with_unit("kept_bodies", help, Unit::Bytes, kept_bodies.clone());
        let (connections, connections_refused) = (Gauge::default(), Counter::default());
        registry.register("connections", "Open connections of callers", connections.clone());
        registry.register("connections_refused", "Connections over a limit", connections_refused.clone());
        let (memory_limit, requests_shed) = (Gauge::default(), Counter::default());
        let help = "Memory that this process may take";
        registry.register_with_unit("memory_limit", help, Unit::Bytes, memory_limit.clone());
        registry.register("requests_shed", "Requests refused for want of memory", requests_shed.clone());
        let help = "Upstreams unreachable, late, or broken off";
        registry.register("upstream_failures", help, upstream_failures.clone());
        let mcp_requests = Family::<McpLabels, Counter>::default();
        registry.register("mcp_requests", "Requests to upstreams, by method and by fate", mcp_requests.clone());
        let audit_lost = Counter::default();
        registry.register("audit_lost", "Events that are missing in the audit log", audit_lost.clone());
        let audit_file_failures = Counter::default();
        let help = "Batches of lines that are missing in the audit log's file";
        registry.register("audit_file_failures", help, audit_file_failures.clone());
        let (spans_exported, spans_dropped) = (Counter::default(), Counter::default());
        registry.register("spans_exported", "Spans that the collector took", spans_exported.clone());
        registry.register("spans_dropped", "Spans that no collector got", spans_dropped.clone());
        let limited = Family::<LimitLabel, Counter>::default();
        registry.register(
            "rate_limited",
            "What was refused because of a limit, by its key in [limits]",
            limited.clone(),
        );
        let store_durations = Family::<OperationLabel, Latency, NewLatency>::new_with_constructor(NewLatency);
        let help = "Time of readings of the journal, and of commits of the audit log";
        registry.register_with_unit("store_duration", help, Unit::Seconds, store_durations.clone());
        let store_failures = Family::<OperationLabel, Counter>::default();
        registry.register("store_failures", "Readings and commits that failed", store_failures.clone());
        let standing_connections = Family::<StateLabel, Gauge>::default();
        let help = "Connections of people at upstreams in the database, counted once a minute";
        registry.register("standing_connections", help, standing_connections.clone());
        let (stdio_processes, stdio_starts) = (Gauge::default(), Counter::default());
        registry.register("stdio_processes", "Processes of programs that run", stdio_processes.clone());
        registry.register("stdio_starts", "Programs that were started", stdio_starts.clone());
        let exits = Family::<OutcomeLabel, Counter>::default();
        registry.register("stdio_exits", "Processes of programs that ended, and whether in order", exits.clone());
        let exits = OUTCOMES.map(|outcome| exits.get_or_create_owned(&OutcomeLabel { outcome }));
        let [stdio_ended, stdio_failed] = exits;
        let mcp = |method, fate| mcp_requests.get_or_create_owned(&McpLabels { method, fate });
        let counter = |kind, status| requests.get_or_create_owned(&RequestLabels { kind, status });
        Self {
            requests: KINDS.map(|kind| CLASSES.map(|status| counter(kind, status))),
            durations: KINDS.map(|kind| durations.get_or_create_owned(&KindLabel { kind })),
            refreshes: OUTCOMES.map(|outcome| refreshes.get_or_create_owned(&OutcomeLabel { outcome })),
            open_streams,
            kept_bodies,
            connections,
            connections_refused,
            memory_limit,
            requests_shed,
            upstream_failures,
            mcp_requests: Method::all().map(|method| FATES.map(|fate| mcp(method.label(), fate))),
            stdio_processes,
            stdio_starts,
            stdio_ended,
            stdio_failed,
            audit_lost,
            audit_file_failures,
            spans_exported,
            spans_dropped,
            limited: LIMITS.map(|limit| limited.get_or_create_owned(&LimitLabel { limit })),
            store_durations: OPERATIONS
                .map(|operation| store_durations.get_or_create_owned(&OperationLabel { operation })),
            store_failures: OPERATIONS
                .map(|operation| store_failures.get_or_create_owned(&OperationLabel { operation })),
            standing_connections: STATES.map(|state| standing_connections.get_or_create_owned(&StateLabel { state })),
            registry,
            process: process::registry(),
        }
    }
}

impl Metrics {
    /// The same, with what `collector` knows whenever it is asked.
    pub fn collecting(collector: impl Collector) -> Self {
        Self::default().and_collecting(collector)
    }

    /// These, with what `collector` knows too.
    pub fn and_collecting(mut self, collector: impl Collector) -> Self {
        self.registry.register_collector(Box::new(collector));
        self
    }

    /// Counts a request: its status, and how long it took until the answer's head was on its way.
    pub fn request(&self, kind: Kind, status: u16, duration: Duration) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.requests[kind as usize][class].inc();
        self.durations[kind as usize].observe(duration);
    }

    /// Counts a request to an upstream when it is over.
    pub fn mcp_request(&self, method: Method, fate: Fate) {
        self.mcp_requests[method.index()][fate as usize].inc();
    }

    /// Counts a refresh of an upstream's tokens.
    pub fn token_refresh(&self, outcome: Outcome) {
        self.refreshes[outcome as usize].inc();
    }

    /// The counter of what a limit refuses, by its key in `[limits]`.
    pub fn limited(&self, limit: &str) -> Counter {
        let at = LIMITS.iter().position(|one| *one == limit);
        at.and_then(|at| self.limited.get(at)).cloned().unwrap_or_default()
    }

    /// Counts a reading of the journal of changes, which every node does several times a second.
    pub fn store_read(&self, duration: Duration, succeeded: bool) {
        self.store(0, duration, succeeded);
    }

    /// Counts a commit of lines of the audit log.
    pub fn store_write(&self, duration: Duration, succeeded: bool) {
        self.store(1, duration, succeeded);
    }

    fn store(&self, operation: usize, duration: Duration, succeeded: bool) {
        self.store_durations[operation].observe(duration);
        if !succeeded {
            self.store_failures[operation].inc();
        }
    }

    /// Says how many connections there are in each state, as the database calls it.
    pub fn connections_stand(&self, counts: &[(String, i64)]) {
        for (state, gauge) in STATES.iter().zip(&self.standing_connections) {
            let count = counts.iter().find(|(name, _)| name == state).map_or(0, |(_, count)| *count);
            gauge.set(count);
        }
    }

    /// Everything in the text format of OpenMetrics 1.0, which Prometheus reads.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &self.process);
        let _ = encode_eof(&mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_there_from_the_start_and_counts() {
        let metrics = Metrics::default();
        metrics.request(Kind::Upstream, 200, Duration::from_millis(3));
        metrics.request(Kind::Upstream, 204, Duration::from_secs(7200));
        metrics.request(Kind::Local, 999, Duration::ZERO);
        metrics.token_refresh(Outcome::Failed);
        metrics.open_streams.inc();
        metrics.mcp_request(Method::TOOLS_CALL, Fate::Refused);
        let text = metrics.encode();
        for line in [
            "portcullis_requests_total{kind=\"upstream\",status=\"2xx\"} 2",
            "portcullis_requests_total{kind=\"upstream\",status=\"5xx\"} 0",
            "portcullis_requests_total{kind=\"local\",status=\"5xx\"} 1",
            "portcullis_request_duration_seconds_bucket{le=\"0.005\",kind=\"upstream\"} 1",
            "portcullis_request_duration_seconds_bucket{le=\"+Inf\",kind=\"upstream\"} 2",
            "portcullis_request_duration_seconds_count{kind=\"upstream\"} 2",
            "portcullis_request_duration_seconds_sum{kind=\"upstream\"} 7200.003",
            "portcullis_token_refreshes_total{outcome=\"failed\"} 1",
            "portcullis_open_streams 1",
            "portcullis_kept_bodies_bytes 0",
            "portcullis_upstream_failures_total 0",
            "portcullis_mcp_requests_total{method=\"tools/call\",fate=\"refused\"} 1",
            "portcullis_mcp_requests_total{method=\"(other)\",fate=\"answered\"} 0",
            "portcullis_audit_lost_total 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
