//! Who wanted to use an upstream about which no administrator had decided.

use super::columns::{Record, reading};
use super::database::{FromRow, Row, query, query_as};
use super::*;
use crate::clock::Timestamp;
use crate::ids::UserId;

/// That a person wanted to use an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamRequest {
    /// Canonical text of its authority.
    pub authority: String,
    /// Who.
    pub user: UserId,
    /// With which client, as it calls itself; empty for the dashboard.
    pub client: String,
    /// When last.
    pub asked_at: Timestamp,
}

/// So many wishes of one person are remembered, the newest: nobody fills the queue alone.
const MOST: i64 = 20;

impl Store {
    /// Remembers that a person wanted to use an upstream, and for which client; once for each person and upstream.
    ///
    /// # Errors
    /// [`StoreError::Database`], also when there is no such person.
    pub async fn request_upstream(&self, request: &UpstreamRequest) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction().await?;
        let upsert = query(
            "INSERT INTO upstream_requests (authority, user_id, client, asked_at) VALUES (?, ?, ?, ?)
             ON CONFLICT (authority, user_id) DO UPDATE SET client = excluded.client, asked_at = excluded.asked_at",
        );
        upsert
            .bind(&request.authority)
            .bind(request.user)
            .bind(&request.client)
            .bind(request.asked_at)
            .execute(&mut transaction)
            .await?;
        let older = query(
            "DELETE FROM upstream_requests WHERE user_id = ? AND authority NOT IN
                 (SELECT authority FROM upstream_requests WHERE user_id = ? ORDER BY asked_at DESC, authority LIMIT ?)",
        );
        older.bind(request.user).bind(request.user).bind(MOST).execute(&mut transaction).await?;
        transaction.commit().await
    }

    /// The newest wishes, at most `limit`, the newest first, with the names of those who have them.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn upstream_requests(&self, limit: u32) -> Result<Vec<Owned<UpstreamRequest>>, StoreError> {
        let select = query_as(
            "SELECT r.*, u.name AS user_name FROM upstream_requests r JOIN users u ON u.id = r.user_id
             ORDER BY r.asked_at DESC, r.authority LIMIT ?",
        );
        select.bind(limit).fetch_all(self.database.readers()).await.map_err(reading::<UpstreamRequest>)
    }
}

impl FromRow for UpstreamRequest {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self {
            authority: row.try_get("authority")?,
            user: row.try_get("user_id")?,
            client: row.try_get("client")?,
            asked_at: row.try_get("asked_at")?,
        })
    }
}

impl Record for UpstreamRequest {
    const WHAT: &'static str = "request for an upstream";
}
