//! The processes that serve, as each of them says of itself every half a minute.

use super::columns::reading;
use super::database::{FromRow, Row, query, query_as};
use super::*;
use crate::clock::Timestamp;
use crate::ids::NodeId;
use std::time::Duration;

/// A process that serves. When it was seen is a matter of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its own, from its start to its end.
    pub id: NodeId,
    /// The name of the machine.
    pub host: String,
    /// The process there.
    pub pid: u32,
    /// Of the program.
    pub version: String,
    /// Since when it serves.
    pub started_at: Timestamp,
    /// Whether it takes no more connections and waits for those that it has.
    pub ending: bool,
    /// Answers of upstreams that it is streaming.
    pub streams: i64,
    /// What of its memory is in the machine's, in bytes; 0 where the system does not say.
    pub memory: i64,
    /// By how much what it knows of changes is older than it may be, in milliseconds; 0 when it is not.
    pub behind_ms: i64,
}

/// A process, and when it was heard of last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenNode {
    /// What it said.
    pub node: Node,
    /// For how long it has been silent.
    pub silent: Duration,
}

impl Store {
    /// Notes what a process says of itself, by the clock of [`Store::now`].
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_node(&self, node: &Node) -> Result<(), StoreError> {
        let now = self.now().await?;
        let upsert = query(
            "INSERT INTO nodes (id, host, pid, version, started_at, seen_at, ending, streams, memory, behind_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, ending = excluded.ending, streams = excluded.streams,
                 memory = excluded.memory, behind_ms = excluded.behind_ms",
        );
        upsert
            .bind(node.id)
            .bind(&node.host)
            .bind(node.pid)
            .bind(&node.version)
            .bind(node.started_at)
            .bind(now)
            .bind(node.ending)
            .bind(node.streams)
            .bind(node.memory)
            .bind(node.behind_ms)
            .execute(self.database.writer())
            .await?;
        Ok(())
    }

    /// All of them, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn nodes(&self) -> Result<Vec<SeenNode>, StoreError> {
        let now = self.now().await?;
        let select = query_as("SELECT * FROM nodes ORDER BY started_at, id");
        let rows: Vec<Told> = select.fetch_all(self.database.readers()).await.map_err(reading::<Node>)?;
        Ok(rows.into_iter().map(|Told { node, at }| SeenNode { node, silent: now.since(at) }).collect())
    }

    /// Forgets a process that ends.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn remove_node(&self, id: NodeId) -> Result<(), StoreError> {
        query("DELETE FROM nodes WHERE id = ?").bind(id).execute(self.database.writer()).await?;
        Ok(())
    }

    /// Forgets processes that have been silent for so long: they ended without a word.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sweep_nodes(&self, silent: Duration) -> Result<(), StoreError> {
        let before = self.now().await?.before(silent);
        query("DELETE FROM nodes WHERE seen_at < ?").bind(before).execute(self.database.writer()).await?;
        Ok(())
    }
}

/// A row.
struct Told {
    node: Node,
    at: Timestamp,
}

impl FromRow for Told {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self { node: Node::from_row(row)?, at: row.try_get("seen_at")? })
    }
}
