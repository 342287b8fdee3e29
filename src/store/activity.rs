//! What happened, added up: rows of steps of time, written by upserts that add, so that any number of nodes may write.

mod reading;
mod streams;

pub use reading::{ActivityName, ActivityShare, ActivitySpan};
pub use streams::OpenStreams;

use super::database::{Bind as _, FromRow, QueryBuilder, Row, Value, query};
use super::*;
use crate::clock::Timestamp;
use crate::ids::ConnectionId;

/// How many rows one statement writes.
const SOME: usize = 200;

/// How many buckets a histogram of latencies has; the last one takes the rest.
pub const LATENCIES: usize = 13;

/// The columns that are added up, and those of the histogram by the bounds of `activity::latency`.
const SUMS: [&str; 4 + LATENCIES] = [
    "requests",
    "errors",
    "refused",
    "refreshes",
    "within_5",
    "within_10",
    "within_25",
    "within_50",
    "within_100",
    "within_250",
    "within_500",
    "within_1000",
    "within_2500",
    "within_5000",
    "within_15000",
    "within_60000",
    "beyond",
];

/// What a row is about. A name that does not matter is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActivitySlice {
    /// A person's name.
    pub person: String,
    /// An upstream's authority.
    pub upstream: String,
    /// A client's id.
    pub client: String,
    /// A tool of the upstream.
    pub tool: String,
}

/// Which row. In an order that all nodes write in, lest they wait for each other in a circle.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActivityKey {
    /// How long the step is, in seconds.
    pub resolution: i64,
    /// When the step begins.
    pub step: Timestamp,
    /// Whose, where, by what.
    pub slice: ActivitySlice,
}

/// What is in a row, or is added to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivityCounts {
    /// Requests that ended.
    pub requests: u64,
    /// Those without a good answer.
    pub errors: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Tokens that were refreshed.
    pub refreshes: u64,
    /// The most streams at once: of two, the larger one stays.
    pub streams: u64,
    /// Requests by how long they took.
    pub latencies: [u64; LATENCIES],
}

impl ActivitySlice {
    /// Which names matter, as a number: the rows of one kind stand together.
    fn kind(&self) -> i64 {
        ActivityName::ALL.iter().filter(|name| !self.name(**name).is_empty()).map(|name| name.bit()).sum()
    }

    /// One of the names.
    pub fn name(&self, name: ActivityName) -> &str {
        match name {
            ActivityName::Person => &self.person,
            ActivityName::Upstream => &self.upstream,
            ActivityName::Client => &self.client,
            ActivityName::Tool => &self.tool,
        }
    }
}

impl ActivityCounts {
    /// Adds what happened besides.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.refused += other.refused;
        self.refreshes += other.refreshes;
        self.streams = self.streams.max(other.streams);
        for (mine, others) in self.latencies.iter_mut().zip(&other.latencies) {
            *mine += others;
        }
    }

    fn sums(&self) -> impl Iterator<Item = u64> {
        [self.requests, self.errors, self.refused, self.refreshes].into_iter().chain(self.latencies)
    }
}

impl Store {
    /// Adds to rows, which are in the order of their keys. Each part of `rows` is a transaction; how many of them are done when
    /// it fails is the second member of the error.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn add_activity(&self, rows: &[(ActivityKey, ActivityCounts)]) -> Result<(), (StoreError, usize)> {
        for (number, some) in rows.chunks(SOME).enumerate() {
            let mut upsert = QueryBuilder::new(&format!(
                "INSERT INTO activity (resolution, kind, step, person, upstream, client, tool, streams, {}) VALUES ",
                SUMS.join(", ")
            ));
            for (number, (key, counts)) in some.iter().enumerate() {
                upsert.push(if number == 0 { "" } else { ", " }).push_tuple(values(key, counts));
            }
            upsert.push(
                " ON CONFLICT (resolution, kind, step, person, upstream, client, tool) DO UPDATE SET streams = CASE
                  WHEN excluded.streams > activity.streams THEN excluded.streams ELSE activity.streams END",
            );
            for column in SUMS {
                upsert.push(&format!(", {column} = activity.{column} + excluded.{column}"));
            }
            let written = upsert.build().execute(self.database.writer()).await;
            written.map_err(|error| (error.into(), number * SOME))?;
        }
        Ok(())
    }

    /// Removes the steps of a resolution, in seconds, that begin before `keep`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sweep_activity(&self, resolution: i64, keep: Timestamp) -> Result<(), StoreError> {
        // By kind: the primary key begins with it.
        let delete = query(
            "DELETE FROM activity WHERE resolution = ?
             AND kind IN (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) AND step < ?",
        );
        delete.bind(resolution).bind(keep).execute(self.database.writer()).await?;
        Ok(())
    }

    /// Says when connections were used last. Nobody is told: nothing in memory depends on it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn connections_were_used(&self, used: &[(ConnectionId, Timestamp)]) -> Result<(), StoreError> {
        for (id, at) in used {
            let update = query(
                "UPDATE connections SET last_used_at = ?1 WHERE id = ?2 AND (last_used_at IS NULL OR last_used_at < ?1)",
            );
            update.bind(*at).bind(*id).execute(self.database.writer()).await?;
        }
        Ok(())
    }
}

fn values<'q>(key: &'q ActivityKey, counts: &ActivityCounts) -> Vec<Value<'q>> {
    let slice = &key.slice;
    let mut values = Vec::with_capacity(8 + SUMS.len());
    values.extend([key.resolution.value(), slice.kind().value(), key.step.value()]);
    values.extend(ActivityName::ALL.map(|name| slice.name(name).value()));
    values.push(number(counts.streams).value());
    values.extend(counts.sums().map(|sum| number(sum).value()));
    values
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The sums of a group of rows, as columns of the same names.
fn selected_sums() -> String {
    let mut selected = "CAST(MAX(streams) AS BIGINT) AS streams".to_owned();
    for column in SUMS {
        selected.push_str(&format!(", CAST(SUM({column}) AS BIGINT) AS {column}"));
    }
    selected
}

impl FromRow for ActivityCounts {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        let count = |column: &str| row.try_get::<i64, _>(column).map(|count| u64::try_from(count).unwrap_or(0));
        let mut latencies = [0; LATENCIES];
        for (bucket, column) in latencies.iter_mut().zip(&SUMS[4..]) {
            *bucket = count(column)?;
        }
        Ok(Self {
            requests: count("requests")?,
            errors: count("errors")?,
            refused: count("refused")?,
            refreshes: count("refreshes")?,
            streams: count("streams")?,
            latencies,
        })
    }
}
