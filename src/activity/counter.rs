//! The one task that adds up and writes: every few seconds, so that a crash costs no more than that.

use super::latency;
use super::recorder::{Entry, Party, Waiting};
use super::slices::{OTHER, Rows, step_of};
use super::streams::Streams;
use super::tally::Sum;
use crate::clock::{Clock, Timestamp};
use crate::ids::{ConnectionId, UserId};
use crate::store::{ActivityCounts, Store, StoreError};
use crate::telemetry::Fate;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How often what was counted is written.
const FLUSH_EVERY: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 5000 });
/// How long entries collect before they are counted: waking up for each would cost more than counting it.
const BREATH: Duration = Duration::from_millis(100);
/// How often open streams are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many rows may wait for a database that is away; then they are given up.
const PATIENCE: usize = 200_000;

/// Counts until nobody can record anything any more.
pub(super) struct Counter {
    store: Store,
    clock: Clock,
    lost: Arc<AtomicU64>,
    /// By the minute.
    ended: HashMap<(Timestamp, Party), ActivityCounts>,
    refreshed: HashMap<(Timestamp, UserId, String), u64>,
    used: HashMap<ConnectionId, Timestamp>,
    rows: Rows,
    streams: Streams,
    /// Names of people, which never change.
    people: HashMap<UserId, String>,
    looked_at: Instant,
    flushed_at: Instant,
    in_trouble: bool,
}

impl Counter {
    pub(super) fn new(store: Store, clock: Clock, node: String, lost: Arc<AtomicU64>) -> Self {
        Self {
            store,
            clock,
            lost,
            ended: HashMap::new(),
            refreshed: HashMap::new(),
            used: HashMap::new(),
            rows: Rows::default(),
            streams: Streams::new(node),
            people: HashMap::new(),
            looked_at: Instant::now(),
            flushed_at: Instant::now(),
            in_trouble: false,
        }
    }

    pub(super) async fn run(mut self, mut waiting: Waiting) {
        loop {
            let rests = self.has_counted();
            let pause = if rests { BREATH } else { LOOK_EVERY };
            tokio::select! { biased;
                asked = waiting.flushes.recv() => {
                    let Some(done) = asked else { break };
                    self.drain(&mut waiting);
                    self.flush().await;
                    // Whoever asked may have given up.
                    let _ = done.send(());
                }
                entry = waiting.entries.recv(), if !rests => match entry {
                    Some(entry) => {
                        if !self.is_busy() {
                            self.flushed_at = Instant::now();
                        }
                        self.count(entry);
                    }
                    None => break,
                },
                () = sleep(pause), if self.is_busy() => {
                    self.drain(&mut waiting);
                    if self.looked_at.elapsed() >= LOOK_EVERY {
                        self.look();
                    }
                    if self.flushed_at.elapsed() >= FLUSH_EVERY {
                        self.flush().await;
                    }
                }
            }
        }
        self.drain(&mut waiting);
        self.flush().await;
        // Other nodes find out by themselves.
        let _ = self.streams.leave(&self.store).await;
    }

    fn drain(&mut self, waiting: &mut Waiting) {
        while let Ok(entry) = waiting.entries.try_recv() {
            self.count(entry);
        }
    }

    /// Whether there is something to write.
    fn has_counted(&self) -> bool {
        !self.ended.is_empty() || !self.refreshed.is_empty() || !self.used.is_empty() || self.rows.len() > 0
    }

    fn is_busy(&self) -> bool {
        self.has_counted() || self.streams.is_busy()
    }

    fn count(&mut self, entry: Entry) {
        let minute = |at| step_of(at, super::Range::Hour.resolution());
        match entry {
            Entry::Ended(request) => {
                let counts = self.ended.entry((minute(request.at), request.party)).or_default();
                count_one(request.fate, request.status, request.took, counts);
            }
            Entry::Summed(sums) => {
                for Sum { minute, party, counts } in sums {
                    self.ended.entry((minute, party)).or_default().add(&counts);
                }
            }
            Entry::Refreshed { at, user, upstream } => {
                *self.refreshed.entry((minute(at), user, upstream)).or_default() += 1;
            }
            Entry::Opened { party, mark } => self.streams.add(party, mark),
            Entry::Used { at, connection } => _ = self.used.insert(connection, at),
        }
    }

    fn look(&mut self) {
        self.streams.look();
        self.looked_at = Instant::now();
    }

    /// Writes what was counted. What cannot be written waits for the next time.
    async fn flush(&mut self) {
        self.look();
        let written = self.write().await;
        self.flushed_at = Instant::now();
        self.note_trouble(written);
        match self.lost.swap(0, Ordering::Relaxed) {
            0 => {}
            requests => tracing::warn!(requests, "activity could not keep up: these are not counted"),
        }
    }

    /// Says once that the database does not work, and gives up what has waited for it too long.
    fn note_trouble(&mut self, written: Result<(), StoreError>) {
        let was_in_trouble = std::mem::replace(&mut self.in_trouble, written.is_err());
        if let (Err(error), false) = (written, was_in_trouble) {
            tracing::warn!(%error, "activity cannot be written: it is counted on, and written when the database works again");
        }
        if self.rows.len() > PATIENCE {
            tracing::error!(rows = self.rows.len(), "activity could not be written for long: it is given up");
            self.rows.forget();
        }
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        for ((at, party), counts) in self.ended.drain() {
            self.rows.count(at, party.names(), &counts);
        }
        self.count_refreshes().await;
        let streams = self.streams.flush(&self.store, now, &mut self.rows).await;
        let rows = self.rows.take(now);
        if let Err((error, done)) = self.store.add_activity(&rows).await {
            self.rows.put_back(rows.into_iter().skip(done));
            return Err(error);
        }
        let used: Vec<_> = self.used.drain().collect();
        self.store.connections_were_used(&used).await?;
        streams
    }

    /// A refresh knows whose it is by id. Where the name cannot be had it is somebody's.
    async fn count_refreshes(&mut self) {
        for ((at, user, upstream), refreshes) in std::mem::take(&mut self.refreshed) {
            if !self.people.contains_key(&user)
                && let Ok(Some(found)) = self.store.user(user).await
            {
                self.people.insert(user, found.name);
            }
            let person = self.people.get(&user).map_or(OTHER, String::as_str);
            let counts = ActivityCounts { refreshes, ..ActivityCounts::default() };
            self.rows.count(at, [person, &upstream, "", ""], &counts);
        }
    }
}

/// Adds one request.
pub(super) fn count_one(fate: Fate, status: Option<u16>, took: Option<Duration>, counts: &mut ActivityCounts) {
    let failed = fate == Fate::Failed || status.is_some_and(|status| status >= 500);
    let refused = fate == Fate::Refused;
    counts.requests += 1;
    counts.errors += u64::from(failed && !refused);
    counts.refused += u64::from(refused);
    if let (Some(took), false) = (took, refused) {
        counts.latencies[latency::bucket(took)] += 1;
    }
}
