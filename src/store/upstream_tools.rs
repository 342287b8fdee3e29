//! Which tools of an upstream may be used, as administrators say it, and which tools it listed when they looked.

use super::columns::{Record, reading};
use super::database::{FromRow, Row, query, query_as};
use super::*;
use crate::clock::Timestamp;

/// What administrators say about an upstream's tools, in patterns as in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTools {
    /// Canonical text of its authority.
    pub authority: String,
    /// Only these; `None`: all that are not denied.
    pub allowed: Option<Vec<String>>,
    /// Never these.
    pub denied: Vec<String>,
}

/// The tools that an upstream listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolList {
    /// Canonical text of its authority.
    pub authority: String,
    /// JSON of whoever keeps it.
    pub document: String,
    /// When the upstream was asked.
    pub read_at: Timestamp,
}

impl Store {
    /// Says which tools of an upstream may be used, in place of what was said before.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_upstream_tools(&self, tools: &UpstreamTools) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction().await?;
        let upsert = query(
            "INSERT INTO upstream_tools (authority, allowed, denied) VALUES (?, ?, ?)
             ON CONFLICT (authority) DO UPDATE SET allowed = excluded.allowed, denied = excluded.denied",
        );
        upsert
            .bind(&tools.authority)
            .bind(tools.allowed.as_ref().map(|patterns| serde_json::json!(patterns).to_string()))
            .bind(serde_json::json!(tools.denied).to_string())
            .execute(&mut transaction)
            .await?;
        transaction.record(Change::UpstreamsChanged);
        transaction.commit().await
    }

    /// What was said about the tools of all upstreams.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn upstream_tools(&self) -> Result<Vec<UpstreamTools>, StoreError> {
        let select = query_as("SELECT * FROM upstream_tools ORDER BY authority");
        select.fetch_all(self.database.readers()).await.map_err(reading::<UpstreamTools>)
    }

    /// Forgets what was said about an upstream's tools; `false` when nothing was.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_upstream_tools(&self, authority: &str) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction().await?;
        let delete = query("DELETE FROM upstream_tools WHERE authority = ?").bind(authority);
        let deleted = delete.execute(&mut transaction).await?.rows_affected() > 0;
        if deleted {
            transaction.record(Change::UpstreamsChanged);
        }
        transaction.commit().await?;
        Ok(deleted)
    }

    /// Keeps the tools that an upstream listed, in place of an earlier list.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_tool_list(&self, list: &ToolList) -> Result<(), StoreError> {
        let upsert = query(
            "INSERT INTO tool_lists (authority, document, read_at) VALUES (?, ?, ?)
             ON CONFLICT (authority) DO UPDATE SET document = excluded.document, read_at = excluded.read_at",
        );
        let upsert = upsert.bind(&list.authority).bind(&list.document).bind(list.read_at);
        upsert.execute(self.database.writer()).await?;
        Ok(())
    }

    /// The tools that an upstream listed last; `None` when nobody has asked it.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn tool_list(&self, authority: &str) -> Result<Option<ToolList>, StoreError> {
        let select = query_as("SELECT * FROM tool_lists WHERE authority = ?").bind(authority);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<ToolList>)
    }
}

impl FromRow for UpstreamTools {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        let list = |column: &str, text: &str| -> sqlx::Result<Vec<String>> {
            let damaged = |_| sqlx::Error::ColumnDecode { index: column.to_owned(), source: "no list".into() };
            serde_json::from_str(text).map_err(damaged)
        };
        let allowed: Option<String> = row.try_get("allowed")?;
        let denied: String = row.try_get("denied")?;
        Ok(Self {
            authority: row.try_get("authority")?,
            allowed: allowed.map(|text| list("allowed", &text)).transpose()?,
            denied: list("denied", &denied)?,
        })
    }
}

impl Record for UpstreamTools {
    const WHAT: &'static str = "rule about tools";
}

impl FromRow for ToolList {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self {
            authority: row.try_get("authority")?,
            document: row.try_get("document")?,
            read_at: row.try_get("read_at")?,
        })
    }
}

impl Record for ToolList {
    const WHAT: &'static str = "list of tools";
}
