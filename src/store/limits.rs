//! What all nodes together have let through, of the keys of rate limits that were busy lately.

use super::database::{Bind, Database, QueryBuilder, query, query_scalar};
use super::*;
use std::time::Duration;

/// How many keys one statement settles.
const SOME: usize = 500;

/// What a node has let through of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitUsed {
    /// Which limit and which key: a keyed hash, since nobody needs to know whose it is.
    pub bucket: i64,
    /// The time that it stands for (GCRA: the sum of emission intervals).
    pub used: Duration,
}

impl Store {
    /// Adds to each bucket what was used of it. The buckets with how far into the future they are used up, by the clock of the
    /// database; theirs must be in ascending order, lest nodes wait for each other in a circle.
    ///
    /// # Errors
    /// [`StoreError::Database`]: some may have been settled then.
    pub async fn settle_limits(&self, used: &[LimitUsed]) -> Result<Vec<(i64, Duration)>, StoreError> {
        let mut settled = Vec::with_capacity(used.len());
        for some in used.chunks(SOME) {
            let now = self.nanoseconds_now().await?;
            let mut upsert = QueryBuilder::new("INSERT INTO limits_used (bucket, arrives_at) VALUES ");
            for (number, one) in some.iter().enumerate() {
                let arrives_at = now.saturating_add(nanoseconds(one.used));
                upsert.push(if number == 0 { "" } else { ", " }).push_tuple([one.bucket.value(), arrives_at.value()]);
            }
            upsert.push(
                " ON CONFLICT (bucket) DO UPDATE SET arrives_at = excluded.arrives_at
                  + CASE WHEN limits_used.arrives_at > ",
            );
            upsert.push_bind(now).push(" THEN limits_used.arrives_at - ").push_bind(now);
            upsert.push(" ELSE 0 END RETURNING bucket, arrives_at");
            let rows = upsert.build_query_as::<(i64, i64)>().fetch_all(self.database.writer()).await?;
            settled.extend(rows.into_iter().map(|(bucket, arrives_at)| (bucket, ahead(arrives_at, now))));
        }
        Ok(settled)
    }

    /// Forgets the buckets of which nothing is used up any more.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sweep_limits(&self) -> Result<(), StoreError> {
        let now = self.nanoseconds_now().await?;
        query("DELETE FROM limits_used WHERE arrives_at < ?").bind(now).execute(self.database.writer()).await?;
        Ok(())
    }

    /// By one clock for all nodes, in nanoseconds of the Unix epoch.
    async fn nanoseconds_now(&self) -> Result<i64, StoreError> {
        let now = match &self.database {
            Database::Sqlite(_) => "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000000",
            Database::Postgres(_) => "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000000 AS BIGINT)",
        };
        Ok(query_scalar(now).fetch_one(self.database.readers()).await?)
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn ahead(arrives_at: i64, now: i64) -> Duration {
    Duration::from_nanos(u64::try_from(arrives_at.saturating_sub(now)).unwrap_or(0))
}
