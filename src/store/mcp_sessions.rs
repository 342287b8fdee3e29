//! Sessions of MCP clients at the unified endpoint.

use super::columns::reading;
use super::database::{query, query_as, query_scalar};
use super::*;
use crate::clock::Timestamp;
use crate::ids::{Digest, UserId};

/// A session of an MCP client.
#[derive(Clone, Debug)]
pub struct McpSession {
    /// Digest of its id.
    pub token: Digest,
    /// Whose it is.
    pub user: UserId,
    /// Of which client.
    pub client_id: String,
    /// Where: the key of the realm, empty for the root domain.
    pub realm: String,
    /// What it remembers, sealed.
    pub sealed: Vec<u8>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was used last, to the minute.
    pub last_seen_at: Timestamp,
}

/// How many sessions of MCP clients there may be.
#[derive(Clone, Copy, Debug)]
pub struct RoomForSessions {
    /// Of one person: the one that was used longest ago gives way.
    pub of_one: u32,
    /// Of all people: then nobody gets another one.
    pub of_all: u32,
}

impl Store {
    /// Begins a session; `false` when there is no room for it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of that id; [`StoreError::Database`], also when the person is gone.
    pub async fn insert_mcp_session(&self, session: &McpSession, room: RoomForSessions) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction().await?;
        query(
            "DELETE FROM mcp_sessions WHERE user_id = ? AND token NOT IN
                 (SELECT token FROM mcp_sessions WHERE user_id = ? ORDER BY last_seen_at DESC, created_at DESC LIMIT ?)",
        )
        .bind(session.user)
        .bind(session.user)
        .bind(room.of_one.saturating_sub(1))
        .execute(&mut transaction)
        .await?;
        let all: i64 = query_scalar("SELECT COUNT(*) FROM mcp_sessions").fetch_one(&mut transaction).await?;
        if all >= i64::from(room.of_all) {
            transaction.rollback().await?;
            return Ok(false);
        }
        let insert = query(
            "INSERT INTO mcp_sessions (token, user_id, client_id, realm, sealed, created_at, last_seen_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        );
        insert
            .bind(session.token)
            .bind(session.user)
            .bind(&session.client_id)
            .bind(&session.realm)
            .bind(&session.sealed)
            .bind(session.created_at)
            .bind(session.last_seen_at)
            .execute(&mut transaction)
            .await
            .map_err(inserting("that MCP session"))?;
        transaction.commit().await?;
        Ok(true)
    }

    /// A session, however long ago it was used.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn mcp_session(&self, token: &Digest) -> Result<Option<McpSession>, StoreError> {
        let select = query_as("SELECT * FROM mcp_sessions WHERE token = ?").bind(*token);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<McpSession>)
    }

    /// Notes what a session remembers now; `false` when it is over.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn update_mcp_session(&self, token: &Digest, sealed: &[u8], now: Timestamp) -> Result<bool, StoreError> {
        let update = query("UPDATE mcp_sessions SET sealed = ?, last_seen_at = ? WHERE token = ?");
        let update = update.bind(sealed).bind(now).bind(*token);
        Ok(update.execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// Notes that a session is in use; `false` when it is over.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn touch_mcp_session(&self, token: &Digest, now: Timestamp) -> Result<bool, StoreError> {
        let update = query("UPDATE mcp_sessions SET last_seen_at = ? WHERE token = ?").bind(now).bind(*token);
        Ok(update.execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// Ends a session; `false` when it was over already.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_mcp_session(&self, token: &Digest) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM mcp_sessions WHERE token = ?").bind(*token);
        Ok(delete.execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// Ends the sessions that were not used since `before`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sweep_mcp_sessions(&self, before: Timestamp) -> Result<(), StoreError> {
        query("DELETE FROM mcp_sessions WHERE last_seen_at <= ?").bind(before).execute(self.database.writer()).await?;
        Ok(())
    }
}
