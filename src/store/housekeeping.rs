//! Settings, the audit log, and the sweeping of what has expired.

use super::columns::reading;
use super::*;
use crate::clock::Timestamp;
use sqlx::{query, query_as, query_scalar};
use std::time::Duration;

/// How long a code is remembered after its end, so that its replay is still recognised; and how long a client that
/// registered has time for its first token.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Store {
    /// A setting's value.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let select = query_scalar("SELECT value FROM settings WHERE name = ?").bind(name);
        Ok(select.fetch_optional(self.sqlite.readers()).await?)
    }

    /// Sets a setting.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_setting(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        query(
            "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(self.sqlite.writer())
        .await?;
        Ok(())
    }

    /// Sets a setting that has no value yet; `false` when it has one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_setting_if_absent(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let insert = query("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING");
        let done = insert.bind(name).bind(value).execute(self.sqlite.writer()).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes a setting; `false` when there was none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_setting(&self, name: &str) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM settings WHERE name = ?").bind(name);
        Ok(delete.execute(self.sqlite.writer()).await?.rows_affected() > 0)
    }

    /// Removes a setting that has this value: of several callers exactly one gets `true`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_setting_if(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM settings WHERE name = ? AND value = ?").bind(name).bind(value);
        Ok(delete.execute(self.sqlite.writer()).await?.rows_affected() > 0)
    }

    /// Adds a line to the audit log.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn append_audit(&self, event: &AuditEvent) -> Result<(), StoreError> {
        query("INSERT INTO audit (at, actor, action, subject, address) VALUES (?, ?, ?, ?, ?)")
            .bind(event.at)
            .bind(&event.actor)
            .bind(&event.action)
            .bind(&event.subject)
            .bind(&event.address)
            .execute(self.sqlite.writer())
            .await?;
        Ok(())
    }

    /// The newest lines of the audit log, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditEvent>, StoreError> {
        let select = query_as("SELECT * FROM audit ORDER BY id DESC LIMIT ?").bind(limit);
        select.fetch_all(self.sqlite.readers()).await.map_err(reading::<AuditEvent>)
    }

    /// Removes what nobody can use any more: expired sessions, flows and refresh tokens, codes a day after their end,
    /// grants that were revoked longer ago than `keep_revoked` (which must be longer than an access token lives), clients
    /// that got no token within a day of their registration, and old entries of the journal of changes.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sweep(&self, now: Timestamp, keep_revoked: Duration) -> Result<(), StoreError> {
        let jobs = [
            ("DELETE FROM sessions WHERE expires_at <= ?", now.0),
            ("DELETE FROM flows WHERE expires_at <= ?", now.0),
            ("DELETE FROM codes WHERE expires_at <= ?", now.before(DAY).0),
            ("DELETE FROM refresh_tokens WHERE expires_at <= ?", now.0),
            ("DELETE FROM grants WHERE revoked_at < ?", now.before(keep_revoked).0),
            ("DELETE FROM clients WHERE last_used_at IS NULL AND created_at < ?", now.before(DAY).0),
            ("DELETE FROM changes WHERE id <= (SELECT MAX(id) FROM changes) - ?", changes::KEPT),
        ];
        // One transaction each: nobody has to wait for all of them.
        for (sql, bound) in jobs {
            query(sql).bind(bound).execute(self.sqlite.writer()).await?;
        }
        Ok(())
    }
}
