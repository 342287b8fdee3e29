//! The audit log: one event for everything that matters later, written without making the request wait.

use crate::clock::Clock;
use crate::store::Store;

/// Writes events. Cloning shares the queue.
#[derive(Clone)]
pub struct Audit {}

impl Audit {
    /// Starts the writer.
    pub fn new(store: Store, clock: Clock) -> Self {
        let _ = (store, clock);
        todo!()
    }

    /// Records an event such as `("alice", "grant.created", "Claude at mcp.example")`. Never put a secret in.
    pub fn record(&self, actor: &str, action: &'static str, subject: &str, address: Option<std::net::IpAddr>) {
        let _ = (actor, action, subject, address);
        todo!()
    }
}
