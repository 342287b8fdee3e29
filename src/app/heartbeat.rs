//! What this process says of itself to the others, and to whoever looks at the dashboard.

use super::App;
use crate::clock::Timestamp;
use crate::ids::{NodeId, Random};
use crate::store::{Node, StoreError};
use crate::telemetry::resident_memory;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often a process says that it is there.
const BEAT_EVERY: Duration = Duration::from_secs(30);

/// After this long without a word a process is forgotten: it ended without saying so.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// What stays the same about this process.
pub(super) struct Identity {
    pub(super) id: NodeId,
    host: String,
    started_at: Timestamp,
}

impl Identity {
    /// Of a process that begins to serve.
    pub(super) fn new(random: &Random, now: Timestamp) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self { id: NodeId::random(random), host: host.trim().to_owned(), started_at: now }
    }
}

impl App {
    /// Says every half a minute that this process is there, and at once when it is `stopping`; [`App::leave`] ends it.
    pub(super) async fn beat(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(BEAT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ending = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                stop = stopping.wait_for(|stopping| *stopping), if !ending => ending = { drop(stop); true },
            }
            // A database that is away is told of elsewhere.
            if self.store.put_node(&self.described(ending)).await.is_ok() {
                let _ = self.store.sweep_nodes(FORGET_AFTER).await;
            }
        }
    }

    /// This process ends.
    ///
    /// # Errors
    /// When the store fails; the others forget it by themselves after a while.
    pub async fn leave(&self) -> Result<(), StoreError> {
        self.store.remove_node(self.node.id).await
    }

    fn described(&self, ending: bool) -> Node {
        let Identity { id, host, started_at } = &self.node;
        let behind = self.tokens.freshness().overdue();
        Node {
            id: *id,
            host: host.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: *started_at,
            ending,
            streams: self.metrics.open_streams.get(),
            memory: resident_memory().unwrap_or(0),
            behind_ms: i64::try_from(behind.as_millis()).unwrap_or(i64::MAX),
        }
    }
}
