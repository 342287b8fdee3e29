//! The streams that are open now, as each node counts them.

use super::super::database::{Bind as _, QueryBuilder, query, query_as};
use super::*;
use std::time::Duration;

/// A node that did not say anything for so long is gone, and its streams with it.
const GONE: Duration = Duration::from_secs(30);

/// How many are open of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenStreams {
    /// Whose.
    pub person: String,
    /// Where; empty where it is everything at once.
    pub upstream: String,
    /// By which client.
    pub client: String,
    /// How many.
    pub streams: u64,
}

impl Store {
    /// Says that a node is there and how many streams it has open. `false`: nobody knew the node, or not any more, so that
    /// `changed` has to be everything that it has open.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn count_streams(&self, node: &str, changed: &[OpenStreams]) -> Result<bool, StoreError> {
        let now = self.now().await?;
        let mut transaction = self.database.transaction().await?;
        let update = query("UPDATE activity_nodes SET seen_at = ? WHERE node = ?").bind(now).bind(node);
        let known = update.execute(&mut transaction).await?.rows_affected() > 0;
        if !known {
            let insert = query("INSERT INTO activity_nodes (node, seen_at) VALUES (?, ?)").bind(node).bind(now);
            insert.execute(&mut transaction).await?;
        }
        for some in changed.chunks(SOME) {
            let mut upsert =
                QueryBuilder::new("INSERT INTO activity_streams (node, person, upstream, client, streams) VALUES ");
            for (place, one) in some.iter().enumerate() {
                upsert.push(if place == 0 { "" } else { ", " }).push_tuple([
                    node.value(),
                    one.person.as_str().value(),
                    one.upstream.as_str().value(),
                    one.client.as_str().value(),
                    number(one.streams).value(),
                ]);
            }
            upsert.push(" ON CONFLICT (node, person, upstream, client) DO UPDATE SET streams = excluded.streams");
            upsert.build().execute(&mut transaction).await?;
        }
        if changed.iter().any(|one| one.streams == 0) {
            let delete = query("DELETE FROM activity_streams WHERE node = ? AND streams = 0").bind(node);
            delete.execute(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(known)
    }

    /// The node ends, or has nothing open any more.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn leave_streams(&self, node: &str) -> Result<(), StoreError> {
        query("DELETE FROM activity_nodes WHERE node = ?").bind(node).execute(self.database.writer()).await?;
        Ok(())
    }

    /// What all nodes have open that are there, apart from one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn open_streams(&self, apart_from: &str) -> Result<Vec<OpenStreams>, StoreError> {
        let since = self.now().await?.before(GONE);
        let select = query_as(
            "SELECT person, upstream, client, CAST(SUM(streams) AS BIGINT) AS streams
             FROM activity_streams JOIN activity_nodes ON activity_nodes.node = activity_streams.node
             WHERE seen_at > ? AND activity_nodes.node <> ? GROUP BY person, upstream, client",
        );
        Ok(select.bind(since).bind(apart_from).fetch_all(self.database.readers()).await?)
    }

    /// Forgets nodes that are gone.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sweep_streams(&self) -> Result<(), StoreError> {
        let since = self.now().await?.before(2 * GONE);
        query("DELETE FROM activity_nodes WHERE seen_at < ?").bind(since).execute(self.database.writer()).await?;
        Ok(())
    }
}

impl FromRow for OpenStreams {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self {
            person: row.try_get("person")?,
            upstream: row.try_get("upstream")?,
            client: row.try_get("client")?,
            streams: u64::try_from(row.try_get::<i64, _>("streams")?).unwrap_or(0),
        })
    }
}
