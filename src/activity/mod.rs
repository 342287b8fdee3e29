//! What happened, counted while it happens: requests, errors, latencies, refreshes and streams, by upstream, client, person and
//! tool. Reading a month costs as much as reading an hour, however busy the gateway is.
//!
//! What is over comes into a bounded queue (`recorder`), requests added up already (`tally`). One task adds it up (`counter`, `slices`, `streams`) and
//! writes it every few seconds into rows that nodes add to together; reading takes these rows (`report`).

mod counter;
mod latency;
mod recorder;
mod report;
mod slices;
mod streams;
mod tally;
#[cfg(test)]
mod tests;

pub use recorder::{EndedRequest, OpenStream, Party, Recorder};
pub(crate) use tally::Tallied;

use crate::clock::{Clock, Timestamp};
use crate::error::Fault;
use crate::ids::Random;
use crate::store::Store;
use counter::Counter;
use data_encoding::HEXLOWER;
use std::time::Duration;

/// How far back somebody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// 60 steps of a minute.
    Hour,
    /// 96 steps of a quarter of an hour.
    Day,
    /// 120 steps of six hours: 30 days.
    Month,
}

impl Range {
    /// Every one, the shortest first.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// How much time one point stands for.
    pub fn step(self) -> Duration {
        Duration::from_secs(match self {
            Range::Hour => 60,
            Range::Day => 15 * 60,
            Range::Month => 6 * 3600,
        })
    }

    /// How many points there are.
    pub fn steps(self) -> usize {
        match self {
            Range::Hour => 60,
            Range::Day => 96,
            Range::Month => 120,
        }
    }

    /// The step in seconds, which is what its rows are called by.
    fn resolution(self) -> i64 {
        i64::try_from(self.step().as_secs()).unwrap_or(i64::MAX)
    }

    /// The longer steps in which shares are read as far as they fit, in seconds.
    fn longer_resolution(self) -> i64 {
        match self {
            Range::Hour => Range::Day.resolution(),
            Range::Day => Range::Month.resolution(),
            Range::Month => slices::DAY,
        }
    }

    /// For how long its steps are kept: a little longer than somebody looks back.
    fn kept(self) -> Duration {
        self.step() * u32::try_from(self.steps() + self.steps() / 8).unwrap_or(u32::MAX)
    }
}

/// What somebody looks at; everything that is `None` is summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// A person's name: members see their own activity only.
    pub person: Option<String>,
    /// An upstream's authority.
    pub upstream: Option<String>,
    /// A client's id. With an upstream or a tool there are no figures.
    pub client: Option<String>,
    /// A tool of the upstream.
    pub tool: Option<String>,
}

/// What happened in one step, or in all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Requests to upstreams that have ended.
    pub requests: u64,
    /// Those of them without an answer of the upstream, or with one of 500 and above.
    pub errors: u64,
    /// Those of them that were refused because of what an administrator decided.
    pub refused: u64,
    /// Tokens of upstreams that were refreshed.
    pub refreshes: u64,
    /// The most streams that were open at once, looked at once a second. Kept of everything, of an upstream, a client, and a
    /// person; 0 of other subjects.
    pub streams: u64,
    /// Half of the requests took no longer, in milliseconds; what was refused, and what lasts as long as somebody listens, is not
    /// among them. `None` without any.
    pub p50_ms: Option<u32>,
    /// 95 of a hundred took no longer.
    pub p95_ms: Option<u32>,
    /// 99 of a hundred took no longer.
    pub p99_ms: Option<u32>,
}

/// One of those who have a part in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// An authority, a client's id, a person's or a tool's name.
    pub name: String,
    /// Of a tool: whose it is.
    pub upstream: Option<String>,
    /// In the whole range.
    pub sum: Point,
    /// Streams that are open now.
    pub streams_now: u64,
}

/// A range of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When the first step begins.
    pub begin: Timestamp,
    /// One for each step, the oldest first; the last one is still going on.
    pub points: Vec<Point>,
    /// Over the whole range.
    pub sum: Point,
    /// Streams that are open now.
    pub streams_now: u64,
    /// The busiest upstreams, the busiest first.
    pub upstreams: Vec<Share>,
    /// The busiest clients.
    pub clients: Vec<Share>,
    /// The busiest people.
    pub people: Vec<Share>,
    /// The busiest tools.
    pub tools: Vec<Share>,
}

/// Counts and tells. Shared behind an `Arc`.
pub struct Activity {
    store: Store,
    clock: Clock,
    recorder: Recorder,
}

impl Activity {
    /// Over this store. Starts the task that counts, which ends with the last [`Recorder`]; outside a tokio runtime there is none,
    /// and nothing is counted.
    pub fn new(store: Store, clock: Clock, random: &Random) -> Self {
        let (recorder, waiting) = Recorder::new();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let node = HEXLOWER.encode(&random.bytes::<8>());
            let counter = Counter::new(store.clone(), clock.clone(), node, waiting.lost.clone());
            runtime.spawn(counter.run(waiting));
        }
        Self { store, clock, recorder }
    }

    /// Takes what happens.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// What happened, up to a few seconds ago.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn report(&self, range: Range, subject: &Subject) -> Result<Report, Fault> {
        report::read(&self.store, self.clock.now(), range, subject).await
    }

    /// Waits until everything that was recorded is in the database, or has failed to get there.
    pub async fn flush(&self) {
        self.recorder.flush().await;
    }

    /// Forgets what is older than anybody looks back.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweep(&self) -> Result<(), Fault> {
        let now = self.clock.now();
        for range in Range::ALL {
            self.store.sweep_activity(range.resolution(), now.before(range.kept())).await?;
        }
        self.store.sweep_activity(slices::DAY, now.before(Range::Month.kept())).await?;
        Ok(self.store.sweep_streams().await?)
    }
}
