//! What is under way for many callers at once: readings of the database, one per key, and refreshes, one per connection;
//! and the refreshes that failed lately.

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
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// How long the end of the process waits for a database to take what is on the disk anyway.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// What a refresh ends with.
pub(super) type Outcome = Result<Arc<Credential>, NoCredential>;
/// Shared by everybody who asks for the same.
type Flight = Shared<BoxFuture<'static, Outcome>>;

/// What is under way, by what it is about.
pub(super) struct Flights<K>(Arc<Mutex<HashMap<K, Flight>>>);

/// How somebody came to a flight.
pub(super) enum Boarded {
    /// It began for them.
    First(Flight),
    /// It had begun before.
    Joined(Flight),
}

impl Boarded {
    pub(super) fn flight(self) -> Flight {
        match self {
            Self::First(flight) | Self::Joined(flight) => flight,
        }
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> Flights<K> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Joins what is under way for `key`, or begins it: in a task of its own, so that a caller that goes away cancels
    /// nothing.
    pub(super) fn board<F>(&self, key: &K, begin: impl FnOnce() -> F) -> Boarded
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(key) {
            return Boarded::Joined(flight.clone());
        }
        let (work, of, number) = (begin(), self.0.clone(), key.clone());
        let task = tokio::spawn(async move {
            let _landing = Landing(of, number);
            work.await
        });
        let flight = async move { task.await.unwrap_or_else(|_| Err(Fault::gateway("it was cut off").into())) };
        let flight = flight.boxed().shared();
        flights.insert(key.clone(), flight.clone());
        Boarded::First(flight)
    }

    fn all(&self) -> Vec<Flight> {
        self.0.lock().values().cloned().collect()
    }
}

/// Takes a flight off the list when it is over, however it ends.
struct Landing<K: Eq + Hash>(Arc<Mutex<HashMap<K, Flight>>>, K);

impl<K: Eq + Hash> Drop for Landing<K> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

/// The refreshes under way and those that failed lately.
pub(super) struct Refreshes {
    flights: Flights<ConnectionId>,
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
            flights: Flights::new(),
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

impl Connections {
    /// Waits for the refreshes under way and for what they brought: what an upstream has rotated must be written down before
    /// the process ends. What the database does not take in time is in the spool for the next process.
    pub async fn settle(&self) {
        futures_util::future::join_all(self.refreshes.flights.all()).await;
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
        let begin = || {
            let (this, key) = (self.clone(), key.clone());
            async move { this.refresh(&key, id, version, rejected).await }
        };
        self.refreshes.flights.board(&id, begin).flight().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[test]
    fn a_server_in_trouble_is_left_alone_longer_and_longer_until_it_recovers() {
        let (refreshes, id, now) = (Refreshes::new(), ConnectionId([1; 16]), Timestamp(1000));
        let seconds = Duration::from_secs;
        let failed = |asked| match refreshes.failed(id, now, asked, Fault::gateway("down")) {
            NoCredential::Trouble { retry_after, .. } => retry_after,
            _ => panic!("another outcome"),
        };
        assert!(refreshes.trouble_of(id, now).is_none());
        assert_eq!([2, 4, 8, 15].map(seconds), [failed(None), failed(None), failed(None), failed(None)]);
        assert_eq!(refreshes.again_unasked(id, now), now.after(seconds(16)));
        assert!(refreshes.trouble_of(id, now.after(seconds(14))).is_some());
        assert!(refreshes.trouble_of(id, now.after(seconds(15))).is_none());
        assert_eq!(
            [failed(Some(seconds(5))), failed(Some(seconds(500))), failed(Some(seconds(0)))],
            [5, 15, 1].map(seconds)
        );
        (0..20).for_each(|_| _ = failed(None));
        assert_eq!(refreshes.again_unasked(id, now), now.after(seconds(512)));
        refreshes.recovered(id);
        assert!(refreshes.trouble_of(id, now).is_none());
        assert_eq!(failed(None), seconds(2));
    }

    async fn failure(flight: Flight) -> String {
        match flight.await {
            Err(NoCredential::Failed(fault)) => fault.private,
            _ => panic!("another outcome"),
        }
    }

    #[tokio::test]
    async fn everybody_who_comes_while_it_is_under_way_shares_it() {
        let (flights, (land, landed)) = (Flights::new(), oneshot::channel::<&str>());
        let first = flights.board(&1, || async { Err(Fault::gateway(landed.await.unwrap()).into()) });
        assert!(matches!(first, Boarded::First(_)));
        let joined = flights.board(&1, || async { unreachable!() });
        assert!(matches!(joined, Boarded::Joined(_)));
        let other = flights.board(&2, || async { Err(Fault::gateway("another").into()) });
        assert_eq!(failure(other.flight()).await, "another");
        assert_eq!(flights.all().len(), 1, "the end of the process waits for it");
        // Whoever began it may go away.
        drop(first);
        land.send("the same").unwrap();
        assert_eq!(failure(joined.flight()).await, "the same");
        let next: Boarded = flights.board(&1, || async { panic!("as a bug would") });
        assert!(matches!(next, Boarded::First(_)), "what is over is joined by nobody");
        assert_eq!(failure(next.flight()).await, "it was cut off");
        assert!(flights.all().is_empty());
    }
}
