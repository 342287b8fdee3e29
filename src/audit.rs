//! The audit log: one event for everything that matters later, written without making the request wait.

use crate::clock::Clock;
use crate::store::{AuditEvent, Store};
use std::net::IpAddr;
use tokio::sync::{mpsc, oneshot};

/// How many events may wait for the database. Beyond that they are in the log only.
const QUEUE: usize = 1024;
/// How many the writer takes at once.
const BATCH: usize = 64;

/// Writes events. Cloning shares the queue.
#[derive(Clone)]
pub struct Audit {
    clock: Clock,
    queue: mpsc::Sender<Entry>,
}

enum Entry {
    Event(AuditEvent),
    /// Answered when everything before it is written.
    Flush(oneshot::Sender<()>),
}

impl Audit {
    /// Starts the writer, which ends with the last clone. Outside a tokio runtime there is none, and events are in the log
    /// only.
    pub fn new(store: Store, clock: Clock) -> Self {
        let (queue, entries) = mpsc::channel(QUEUE);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(write(store, entries));
        }
        Self { clock, queue }
    }

    /// Records an event such as `("alice", "grant.created", "Claude at mcp.example")`. Never put a secret in.
    pub fn record(&self, actor: &str, action: &'static str, subject: &str, address: Option<IpAddr>) {
        let address = address.map(|address| address.to_string());
        tracing::info!(target: "audit", actor, action, subject, address = address.as_deref().unwrap_or("-"));
        let event = AuditEvent {
            at: self.clock.now(),
            actor: actor.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            address,
        };
        if self.queue.try_send(Entry::Event(event)).is_err() {
            tracing::warn!(action, "the audit log cannot keep up: this event is in the log only");
        }
    }

    /// Waits until everything recorded so far is in the database (or has failed to get there).
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.queue.send(Entry::Flush(done)).await.is_ok() {
            // Fails only when the writer is gone, and then there is nothing to wait for.
            let _ = written.await;
        }
    }
}

async fn write(store: Store, mut entries: mpsc::Receiver<Entry>) {
    let mut batch = Vec::with_capacity(BATCH);
    while entries.recv_many(&mut batch, BATCH).await > 0 {
        for entry in batch.drain(..) {
            match entry {
                Entry::Event(event) => {
                    if let Err(error) = store.append_audit(&event).await {
                        tracing::error!(%error, action = event.action, "an audit event is in the log only");
                    }
                }
                Entry::Flush(done) => {
                    let _ = done.send(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_arrive_in_order() {
        let store = Store::open("sqlite::memory:").await.unwrap();
        let audit = Audit::new(store.clone(), Clock::system());
        audit.record("alice", "login.succeeded", "alice", Some("192.0.2.1".parse().unwrap()));
        audit.clone().record("alice", "grant.created", "Claude at mcp.example", None);
        audit.flush().await;
        let events = store.audit(10).await.unwrap();
        let actions: Vec<&str> = events.iter().map(|event| event.action.as_str()).collect();
        assert_eq!(actions, ["grant.created", "login.succeeded"]);
        assert_eq!(events[1].address.as_deref(), Some("192.0.2.1"));
    }

    #[tokio::test]
    async fn a_flood_waits_for_nobody() {
        let store = Store::open("sqlite::memory:").await.unwrap();
        let audit = Audit::new(store.clone(), Clock::system());
        // The writer does not run before this task yields.
        for _ in 0..2 * QUEUE {
            audit.record("system", "test.flood", "", None);
        }
        audit.flush().await;
        assert_eq!(store.audit(u32::MAX).await.unwrap().len(), QUEUE);
    }
}
