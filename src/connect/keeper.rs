//! Refreshing ahead of time, so that no request has to wait for it.

use super::{ConnectionKey, Connections};
use crate::clock::Timestamp;
use crate::store::Connection;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(5);
/// How long before its end a token is renewed at the earliest.
const AHEAD: Duration = Duration::from_secs(600);
/// How many at once.
const CONCURRENCY: usize = 8;

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
            tokio::select! {
                () = self.refresh_due() => {}
                _ = stop.changed() => return,
            }
        }
    }

    /// One round.
    pub(super) async fn refresh_due(self: &Arc<Self>) {
        let now = self.clock.now();
        let expiring = match self.store.connections_expiring_before(now.after(AHEAD)).await {
            Ok(expiring) => expiring,
            Err(error) => return tracing::error!(%error, "cannot look for connections to refresh"),
        };
        let due = expiring.into_iter().filter(|row| self.is_due(row, now));
        futures_util::stream::iter(due)
            .for_each_concurrent(CONCURRENCY, |row| async move {
                let Some(key) = key_of(&row) else {
                    return tracing::error!(connection = %row.id, "the database holds a damaged connection");
                };
                // What goes wrong was told by the refresh itself, and a request that needs it will be told again.
                let _ = self.refreshed(&key, row.id, row.version, false).await;
            })
            .await;
    }

    fn is_due(&self, row: &Connection, now: Timestamp) -> bool {
        let Some(end) = row.expires_at else { return false };
        let expired = end <= now;
        let known_unrefreshable = self.refreshes.unrefreshable.get(&row.id) == Some(row.version);
        let near = expired || now.after(ahead(row, end)) >= end;
        near && (expired || !known_unrefreshable) && self.refreshes.may_try_unasked(row.id, now)
    }
}

/// A fifth of the token's life but never more than [`AHEAD`], and up to a third less than that, by the connection's id:
/// connections made together are not refreshed together.
fn ahead(row: &Connection, end: Timestamp) -> Duration {
    let most = (end.since(row.updated_at) / 5).min(AHEAD);
    most - most.mul_f64(f64::from(row.id.0[0]) / 255.0 / 3.0)
}

fn key_of(row: &Connection) -> Option<ConnectionKey> {
    ConnectionKey::parse(row.user, &row.authority, &row.account)
}
