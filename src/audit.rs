//! The audit log: one event for everything that matters later, written without making the request wait.

mod file;
mod reading;
mod requests;
#[cfg(test)]
mod tests;
mod writer;

pub use file::line_of;
pub use reading::{Found, Walk, Wanted};
pub use requests::{Fate, UpstreamRequest};

use crate::activity::{OpenStream, Recorder};
use crate::clock::Clock;
use crate::config::AuditedRequests;
use crate::error::Fault;
use crate::store::{AuditEvent, Store};
use crate::telemetry::Metrics;
use crate::tokens::AccessToken;
use crate::upstream::Upstream;
use file::JsonLines;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use writer::{Entry, Writer};

/// How many events may wait for the database. Beyond that they are in the log only.
const EVENTS: usize = 1024;
/// How many requests may; they wait in a queue of their own, so that many of them push no event out.
const REQUESTS: usize = 8192;

/// Writes events. Cloning shares the queues.
#[derive(Clone)]
pub struct Audit {
    clock: Clock,
    metrics: Arc<Metrics>,
    wanted: AuditedRequests,
    activity: Recorder,
    events: mpsc::Sender<Entry>,
    requests: mpsc::Sender<UpstreamRequest>,
    /// Requests that found their queue full since somebody said so.
    lost: Arc<AtomicU64>,
}

impl Audit {
    /// Starts the writer, which ends with the last clone. Outside a tokio runtime there is none, and events are in the log
    /// only.
    pub fn new(store: Store, clock: Clock, metrics: Arc<Metrics>, wanted: AuditedRequests) -> Self {
        let (events, waiting_events) = mpsc::channel(EVENTS);
        let (requests, waiting_requests) = mpsc::channel(REQUESTS);
        let lost = Arc::new(AtomicU64::new(0));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let writer = Writer::new(store, metrics.clone(), lost.clone());
            runtime.spawn(writer.run(waiting_events, waiting_requests));
        }
        Self { clock, metrics, wanted, activity: Recorder::default(), events, requests, lost }
    }

    /// The same log, from now on with these requests in it.
    pub fn wanting(&self, wanted: AuditedRequests) -> Self {
        Self { wanted, ..self.clone() }
    }

    /// The same log; every request is counted there as well.
    pub fn counted_by(self, activity: Recorder) -> Self {
        Self { activity, ..self }
    }

    /// Records an event such as `("alice", "grant.created", "Claude at mcp.example")`. Never put a secret in.
    pub fn record(&self, actor: &str, action: &'static str, subject: &str, address: Option<IpAddr>) {
        let address = address.map(|address| address.to_string());
        tracing::info!(target: "audit", actor, action, subject, address = address.as_deref().unwrap_or("-"));
        let event = AuditEvent::new(self.clock.now(), actor, action, subject, address);
        if self.events.try_send(Entry::Event(event)).is_err() {
            self.metrics.audit_lost.inc();
            tracing::warn!(action, "the audit log cannot keep up: this event is in the log only");
        }
    }

    /// Counts a request to an upstream, tells the log at debug level, and records it if it is wanted. It waits for nothing
    /// and copies nothing: a request that finds the queue full is missing in the audit log, and counted.
    pub fn request(&self, mut request: UpstreamRequest) {
        self.metrics.mcp_request(request.method, request.fate);
        request.log();
        request.at = self.clock.now();
        self.activity.ended(request.ended());
        if !request.is_wanted(self.wanted) {
            return;
        }
        if self.requests.try_send(request).is_err() {
            self.metrics.audit_lost.inc();
            if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!("the audit log cannot keep up: requests to upstreams will be missing in it");
            }
        }
    }

    /// Counts a stream of a person's until what comes back is dropped; without an upstream it is one of all of them at once.
    pub fn opened(&self, token: &Arc<AccessToken>, upstream: Option<&Arc<Upstream>>) -> OpenStream {
        self.activity.opened(token, upstream)
    }

    /// From now on every line goes to this file as well, as JSON, or to none. A file that was moved away is made anew by that.
    ///
    /// # Errors
    /// When it cannot be opened; the text names the fix. Lines go where they went before.
    pub async fn write_to(&self, file: Option<&Path>) -> Result<(), Fault> {
        let file = file.map(JsonLines::open).transpose()?;
        // Fails only when the writer is gone, and then nothing is written.
        let _ = self.events.send(Entry::File(file)).await;
        Ok(())
    }

    /// Waits until everything recorded so far is in the database (or has failed to get there).
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.events.send(Entry::Flush(done)).await.is_ok() {
            // Fails only when the writer is gone, and then there is nothing to wait for.
            let _ = written.await;
        }
    }
}
