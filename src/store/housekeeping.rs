//! Settings, the audit log, the feed of changes, and the sweeping of what has expired.

use super::sqlite::Columns;
use super::{AuditEvent, Change, Store, StoreError};
use crate::clock::Timestamp;
use crate::ids::{ConnectionId, GrantId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};
use std::time::Duration;

/// Clients that registered and never came back are forgotten after this long.
const UNUSED_CLIENT: Duration = Duration::from_secs(24 * 3600);
/// Other processes have read a change long before.
const OLD_CHANGE: Duration = Duration::from_secs(24 * 3600);

impl Store {
    /// A setting's value.
    pub async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let query = sqlx::query_scalar("SELECT value FROM settings WHERE name = ?").bind(name);
        Ok(query.fetch_optional(self.sqlite.readers()).await?)
    }

    /// Writes a setting.
    pub async fn put_setting(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        );
        Ok(query.bind(name).bind(value).execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// Writes a setting that is not there yet; whether it was this call that wrote it.
    pub async fn put_setting_if_absent(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let query = sqlx::query("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING");
        Ok(query.bind(name).bind(value).execute(self.sqlite.writer()).await?.rows_affected() > 0)
    }

    /// Removes a setting; whether it was this call that removed it.
    pub async fn delete_setting(&self, name: &str) -> Result<bool, StoreError> {
        let query = sqlx::query("DELETE FROM settings WHERE name = ?").bind(name);
        Ok(query.execute(self.sqlite.writer()).await?.rows_affected() > 0)
    }

    /// Adds to the audit log.
    pub async fn append_audit(&self, event: &AuditEvent) -> Result<(), StoreError> {
        let query = sqlx::query("INSERT INTO audit (at, actor, action, subject, address) VALUES (?, ?, ?, ?, ?)")
            .bind(event.at.0)
            .bind(&event.actor)
            .bind(&event.action)
            .bind(&event.subject)
            .bind(&event.address);
        Ok(query.execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// The newest lines of the audit log, newest first.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditEvent>, StoreError> {
        let query = sqlx::query("SELECT * FROM audit ORDER BY id DESC LIMIT ?").bind(limit);
        let rows = query.fetch_all(self.sqlite.readers()).await?;
        rows.iter()
            .map(|row| {
                let row = Columns(row);
                Ok(AuditEvent {
                    at: row.time("at")?,
                    actor: row.get("actor")?,
                    action: row.get("action")?,
                    subject: row.get("subject")?,
                    address: row.get("address")?,
                })
            })
            .collect()
    }

    /// The number of the newest change; a process reads it before it loads anything into memory.
    pub async fn latest_change(&self) -> Result<i64, StoreError> {
        let query = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM changes");
        Ok(query.fetch_one(self.sqlite.readers()).await?)
    }

    /// Every change after number `after`, oldest first. The methods that revoke grants, touch connections, upstreams and
    /// signing keys append theirs in the same transaction.
    pub async fn changes_after(&self, after: i64) -> Result<Vec<(i64, Change)>, StoreError> {
        let query = sqlx::query("SELECT id, kind, subject FROM changes WHERE id > ? ORDER BY id").bind(after);
        query.fetch_all(self.sqlite.readers()).await?.iter().map(change_of).collect()
    }

    /// Removes what has expired: sessions, flows, codes, refresh tokens, grants revoked longer ago than `keep_revoked`
    /// (no access token of theirs lives any more), and clients that were never used within a day of registering.
    pub async fn sweep(&self, now: Timestamp, keep_revoked: Duration) -> Result<(), StoreError> {
        let mut transaction = self.sqlite.write().await?;
        for (statement, before) in [
            ("DELETE FROM sessions WHERE expires_at <= ?", now),
            ("DELETE FROM flows WHERE expires_at <= ?", now),
            ("DELETE FROM codes WHERE expires_at <= ?", now),
            ("DELETE FROM refresh_tokens WHERE expires_at <= ?", now),
            ("DELETE FROM grants WHERE revoked_at <= ?", now.before(keep_revoked)),
            ("DELETE FROM clients WHERE last_used_at IS NULL AND created_at <= ?", now.before(UNUSED_CLIENT)),
            ("DELETE FROM changes WHERE at <= ?", now.before(OLD_CHANGE)),
        ] {
            sqlx::query(statement).bind(before.0).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// Appends a change to the feed, as part of the transaction that makes it.
pub(super) async fn announce(
    transaction: &mut Transaction<'static, Sqlite>,
    change: Change,
) -> Result<(), StoreError> {
    let (kind, subject) = match &change {
        Change::GrantRevoked(id) => ("grant_revoked", Some(&id.0[..])),
        Change::ConnectionChanged(id) => ("connection_changed", Some(&id.0[..])),
        Change::UpstreamsChanged => ("upstreams_changed", None),
        Change::KeysChanged => ("keys_changed", None),
    };
    let query = sqlx::query("INSERT INTO changes (kind, subject) VALUES (?, ?)").bind(kind).bind(subject);
    Ok(query.execute(&mut **transaction).await.map(drop)?)
}

fn change_of(row: &SqliteRow) -> Result<(i64, Change), StoreError> {
    let row = Columns(row);
    let change = match row.get("kind")? {
        "grant_revoked" => Change::GrantRevoked(GrantId(row.id("subject")?)),
        "connection_changed" => Change::ConnectionChanged(ConnectionId(row.id("subject")?)),
        "upstreams_changed" => Change::UpstreamsChanged,
        "keys_changed" => Change::KeysChanged,
        _ => return Err(StoreError::Damaged("kind")),
    };
    Ok((row.get("id")?, change))
}
