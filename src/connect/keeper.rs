//! Refreshing ahead of time, so that no request has to wait for it, and taking up what a crash left behind.

use super::{ConnectionKey, Connections};
use crate::ids::ConnectionId;
use crate::store::Connection;
use futures_util::StreamExt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(5);
/// How many connections one look brings.
const BATCH: u32 = 256;
/// How many are refreshed at once.
const CONCURRENCY: usize = 32;

impl Connections {
    /// Refreshes connections shortly before they expire, with jitter, until `stop` changes.
    pub async fn keep_fresh(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = stop.changed() => return,
            }
            // A refresh is a task of its own: stopping here cancels none.
            let round = async {
                match self.adopt().await {
                    Ok(()) => while self.refresh_due().await {},
                    Err(fault) => tracing::error!(%fault, "cannot look for connections to refresh"),
                }
            };
            tokio::select! {
                () = round => {}
                _ = stop.changed() => return,
            }
        }
    }

    /// One round; whether it got somewhere and there is more to do. Nobody else's lease is waited for: the rows that
    /// another process is refreshing are not among them.
    pub(super) async fn refresh_due(self: &Arc<Self>) -> bool {
        self.refresh_some(BATCH).await
    }

    /// The same with another number than [`BATCH`].
    pub(super) async fn refresh_some(self: &Arc<Self>, batch: u32) -> bool {
        let due = async {
            let now = self.store.now().await?;
            self.store.connections_due(self.clock.now(), now, batch).await
        };
        let mut due = match due.await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "cannot look for connections to refresh");
                return false;
            }
        };
        let is_full = due.len() == batch as usize;
        // Every node in an order of its own, so that they rarely try the same one at the same moment.
        due.sort_by_cached_key(|row| turn(self.spool.holder(), row.id));
        let renewed = futures_util::stream::iter(due)
            .map(|row| async move { self.refresh_unasked(&row).await })
            .buffer_unordered(CONCURRENCY)
            .filter(|renewed| std::future::ready(*renewed))
            .count()
            .await;
        is_full && renewed > 0
    }

    async fn refresh_unasked(self: &Arc<Self>, row: &Connection) -> bool {
        let Some(key) = ConnectionKey::parse(row.user, &row.authority, &row.account) else {
            tracing::error!(connection = %row.id, "the database holds a damaged connection: it is not refreshed");
            let _ = self.store.postpone_refresh(row.id, row.version, None).await;
            return false;
        };
        // What goes wrong was told by the refresh itself, and a request that needs it will be told again.
        self.refreshed(&key, row.id, row.version, false).await.is_ok()
    }
}

fn turn(node: &str, id: ConnectionId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (node, id).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_an_order_of_its_own() {
        let order = |node| {
            let mut all: Vec<_> = (0..20).map(|number| ConnectionId([number; 16])).collect();
            all.sort_by_key(|id| turn(node, *id));
            all
        };
        assert_eq!(order("a"), order("a"));
        assert_ne!(order("a"), order("b"));
    }
}
