//! The audit log: one event for everything that matters later, written without making the request wait.

mod collector;
mod file;
mod reading;
mod requests;
#[cfg(test)]
mod tests;
mod waiting;
mod writer;

pub use file::line_of;
pub use reading::{Found, Walk, Wanted};
pub use requests::{Fate, UpstreamRequest};

use crate::activity::{OpenStream, Recorder};
use crate::clock::{Clock, Timestamp};
use crate::config::AuditedRequests;
use crate::error::Fault;
use crate::store::{AuditEvent, Store};
use crate::telemetry::Metrics;
use crate::tokens::AccessToken;
use crate::upstream::Upstream;
use collector::Collector;
use file::JsonLines;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{mpsc, oneshot};
use waiting::{Ended, Waiting};
use writer::{Entry, Writer};

/// How many events may wait for the database. Beyond that they are in the log only. Requests wait elsewhere, so that many of them push no
/// event out.
const EVENTS: usize = 1024;

/// Writes events. Cloning shares everything but what is wanted.
#[derive(Clone)]
pub struct Audit {
    wanted: AuditedRequests,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    metrics: Arc<Metrics>,
    waiting: Arc<Waiting>,
    losses: Arc<Losses>,
    activity: Arc<OnceLock<Recorder>>,
    events: mpsc::Sender<Entry>,
    /// Whoever wants everything so far to be on its way.
    asking: mpsc::Sender<oneshot::Sender<()>>,
}

/// Requests that found no room.
struct Losses {
    metrics: Arc<Metrics>,
    /// Since somebody said so.
    untold: AtomicU64,
}

impl Audit {
    /// Starts the writer, which ends with the last clone. Outside a tokio runtime there is none, and events are in the log
    /// only.
    pub fn new(store: Store, clock: Clock, metrics: Arc<Metrics>, wanted: AuditedRequests) -> Self {
        let (events, entries) = mpsc::channel(EVENTS);
        let (asking, asked) = mpsc::channel(16);
        let (waiting, activity) = (Arc::new(Waiting::new()), Arc::default());
        let losses = Arc::new(Losses { metrics: metrics.clone(), untold: AtomicU64::new(0) });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (collector, batches) = Collector::new(waiting.clone(), Arc::clone(&activity), losses.clone());
            runtime.spawn(collector.run(asked));
            runtime.spawn(Writer::new(store, metrics.clone(), losses.clone()).run(entries, batches));
        }
        Self { wanted, shared: Arc::new(Shared { clock, metrics, waiting, losses, activity, events, asking }) }
    }

    /// The same log, from now on with these requests in it.
    pub fn wanting(&self, wanted: AuditedRequests) -> Self {
        Self { wanted, shared: self.shared.clone() }
    }

    /// The same log; every request is counted there as well, also those of its clones. Only the first one counts.
    pub fn counted_by(self, activity: Recorder) -> Self {
        activity.fed_by(self.shared.asking.downgrade());
        let _ = self.shared.activity.set(activity);
        self
    }

    /// Records an event such as `("alice", "grant.created", "Claude at mcp.example")`. Never put a secret in.
    pub fn record(&self, actor: &str, action: &'static str, subject: &str, address: Option<IpAddr>) {
        let address = address.map(|address| address.to_string());
        tracing::info!(target: "audit", actor, action, subject, address = address.as_deref().unwrap_or("-"));
        let event = AuditEvent::new(self.shared.clock.now(), actor, action, subject, address);
        if self.shared.events.try_send(Entry::Event(event)).is_err() {
            self.shared.metrics.audit_lost.inc();
            tracing::warn!(action, "the audit log cannot keep up: this event is in the log only");
        }
    }

    /// Counts a request to an upstream, tells the log at debug level, and records it if it is wanted. It waits for nothing
    /// and copies nothing: a request that finds no room is missing in the audit log, and counted.
    pub fn request(&self, mut request: UpstreamRequest) {
        let shared = &*self.shared;
        shared.metrics.mcp_request(request.method, request.fate);
        request.log();
        let is_wanted = request.is_wanted(self.wanted);
        let activity = shared.activity.get();
        if !is_wanted && activity.is_none() {
            return;
        }
        let nanos = shared.clock.unix_nanos();
        request.at = Timestamp(i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX));
        if shared.waiting.push(Ended { nanos, is_wanted, request }) {
            return;
        }
        shared.losses.add(u64::from(is_wanted));
        if let Some(activity) = activity {
            activity.missed(1);
        }
    }

    /// Counts a stream of a person's until what comes back is dropped; without an upstream it is one of all of them at once.
    pub fn opened(&self, token: &Arc<AccessToken>, upstream: Option<&Arc<Upstream>>) -> OpenStream {
        self.shared.activity.get().map_or_else(OpenStream::uncounted, |activity| activity.opened(token, upstream))
    }

    /// From now on every line goes to this file as well, as JSON, or to none. A file that was moved away is made anew by that.
    ///
    /// # Errors
    /// When it cannot be opened; the text names the fix. Lines go where they went before.
    pub async fn write_to(&self, file: Option<&Path>) -> Result<(), Fault> {
        let file = file.map(JsonLines::open).transpose()?;
        // Fails only when the writer is gone, and then nothing is written.
        let _ = self.shared.events.send(Entry::File(file)).await;
        Ok(())
    }

    /// Waits until everything recorded so far is in the database (or has failed to get there).
    pub async fn flush(&self) {
        let ((done, collected), (all_done, written)) = (oneshot::channel(), oneshot::channel());
        // Either fails only when nobody writes, and then there is nothing to wait for.
        if self.shared.asking.send(done).await.is_ok() {
            let _ = collected.await;
        }
        if self.shared.events.send(Entry::Flush(all_done)).await.is_ok() {
            let _ = written.await;
        }
    }
}

impl Losses {
    fn add(&self, requests: u64) {
        if requests == 0 {
            return;
        }
        self.metrics.audit_lost.inc_by(requests);
        if self.untold.fetch_add(requests, Ordering::Relaxed) == 0 {
            tracing::warn!("the audit log cannot keep up: requests to upstreams will be missing in it");
        }
    }

    /// How many since the last time.
    fn told(&self) -> u64 {
        self.untold.swap(0, Ordering::Relaxed)
    }
}
