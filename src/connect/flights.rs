//! The refreshes under way, one per connection, and those that failed lately.

use super::token_endpoint::LONGEST_WAIT;
use super::{ConnectionKey, Connections, Credential, NoCredential};
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::ids::ConnectionId;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use moka::sync::Cache;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the end of the process waits for a database to take what is on the disk anyway.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// What a refresh ends with.
pub(super) type Outcome = Result<Arc<Credential>, NoCredential>;
/// Shared by everybody who asks for the same connection.
type Flight = Shared<BoxFuture<'static, Outcome>>;

/// The refreshes under way and those that failed lately.
pub(super) struct Refreshes {
    flights: Mutex<HashMap<ConnectionId, Flight>>,
    /// Bounded, and of no consequence when it forgets.
    troubles: Cache<ConnectionId, Trouble>,
    /// Versions of connections without a refresh token, so that nobody looks again and again.
    pub(super) unrefreshable: Cache<ConnectionId, i64>,
}

/// A server in trouble is left alone for a while.
#[derive(Clone)]
struct Trouble {
    failures: u32,
    until: Timestamp,
    fault: Fault,
}

impl Refreshes {
    pub(super) fn new() -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            flights: Mutex::default(),
            troubles: Cache::builder().max_capacity(100_000).time_to_live(hour).build(),
            unrefreshable: Cache::builder().max_capacity(100_000).time_to_live(hour).build(),
        }
    }

    pub(super) fn recovered(&self, id: ConnectionId) {
        self.troubles.invalidate(&id);
    }

    /// When nobody is waiting, longer and longer pauses are fine: up to ten minutes.
    /// Kept in the row, so that every node waits for it.
    pub(super) fn again_unasked(&self, id: ConnectionId, now: Timestamp) -> Timestamp {
        let failures = self.troubles.get(&id).map_or(1, |trouble| trouble.failures);
        now.after(Duration::from_secs(1 << failures.min(9)))
    }

    fn trouble_of(&self, id: ConnectionId, now: Timestamp) -> Option<NoCredential> {
        let trouble = self.troubles.get(&id).filter(|trouble| now < trouble.until)?;
        Some(NoCredential::Trouble { retry_after: trouble.until.since(now), fault: trouble.fault })
    }

    /// Counts one more failure; what those who asked are told.
    pub(super) fn failed(
        &self,
        id: ConnectionId,
        now: Timestamp,
        asked: Option<Duration>,
        fault: Fault,
    ) -> NoCredential {
        let failures = self.troubles.get(&id).map_or(1, |trouble| trouble.failures.saturating_add(1));
        let pause = asked.unwrap_or(Duration::from_secs(1 << failures.min(4)));
        let retry_after = pause.clamp(Duration::from_secs(1), LONGEST_WAIT);
        let trouble = Trouble { failures, until: now.after(retry_after), fault: fault.clone() };
        self.troubles.insert(id, trouble);
        NoCredential::Trouble { retry_after, fault }
    }
}

/// Takes a flight off the list when it is over, however it ends.
struct Landing(Arc<Connections>, ConnectionId);

impl Drop for Landing {
    fn drop(&mut self) {
        self.0.refreshes.flights.lock().remove(&self.1);
    }
}

impl Connections {
    /// Waits for the refreshes under way and for what they brought: what an upstream has rotated must be written down before
    /// the process ends. What the database does not take in time is in the spool for the next process.
    pub async fn settle(&self) {
        let flights: Vec<Flight> = self.refreshes.flights.lock().values().cloned().collect();
        futures_util::future::join_all(flights).await;
        self.answers.settled(LAST_CHANCE).await;
    }

    /// Joins the refresh that is under way for this connection, or begins one. `version` is what the caller saw;
    /// `rejected` says that the upstream does not take it any longer.
    pub(super) async fn refreshed(
        self: &Arc<Self>,
        key: &ConnectionKey,
        id: ConnectionId,
        version: i64,
        rejected: bool,
    ) -> Outcome {
        if let Some(trouble) = self.refreshes.trouble_of(id, self.clock.now()) {
            return Err(trouble);
        }
        let flight = {
            let mut flights = self.refreshes.flights.lock();
            flights.entry(id).or_insert_with(|| self.depart(key.clone(), id, version, rejected)).clone()
        };
        flight.await
    }

    /// A task of its own: a caller that goes away cancels nothing.
    fn depart(self: &Arc<Self>, key: ConnectionKey, id: ConnectionId, version: i64, rejected: bool) -> Flight {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _landing = Landing(this.clone(), id);
            this.refresh(&key, id, version, rejected).await
        });
        async move { task.await.unwrap_or_else(|_| Err(Fault::gateway("a refresh was cut off").into())) }
            .boxed()
            .shared()
    }
}
