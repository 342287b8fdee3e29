//! Settings, and the sweeping of what has expired.

use super::database::{Lock, query, query_as, query_scalar};
use super::*;
use crate::clock::{CLOCK_JUMP, Timestamp};
use std::time::Duration;

/// How long a code is remembered after its end, so that its replay is still recognised.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Store {
    /// A setting's value.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let select = query_scalar("SELECT value FROM settings WHERE name = ?").bind(name);
        Ok(select.fetch_optional(self.database.readers()).await?)
    }

    /// The settings whose names begin with `prefix` (no wildcards in it), with their values.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn settings_beginning(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let select = query_as("SELECT name, value FROM settings WHERE name LIKE ? ORDER BY name");
        Ok(select.bind(format!("{prefix}%")).fetch_all(self.database.readers()).await?)
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
        .execute(self.database.writer())
        .await?;
        Ok(())
    }

    /// Sets a setting that has no value yet; `false` when it has one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_setting_if_absent(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let insert = query("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING");
        let done = insert.bind(name).bind(value).execute(self.database.writer()).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes a setting; `false` when there was none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_setting(&self, name: &str) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM settings WHERE name = ?").bind(name);
        Ok(delete.execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// Removes a setting that has this value: of several callers exactly one gets `true`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_setting_if(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM settings WHERE name = ? AND value = ?").bind(name).bind(value);
        Ok(delete.execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// Removes what nobody can use any more: expired sessions, flows, refresh tokens, remembered consents, links to services, and
    /// marks of what was used once, [`CLOCK_JUMP`] after their end; codes a day after theirs; grants that were revoked longer ago than `keep_revoked` (which must be
    /// longer than an access token lives); clients that got no token within `unused_clients` of their registration; and old
    /// entries of the journal of changes.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sweep(
        &self,
        now: Timestamp,
        keep_revoked: Duration,
        unused_clients: Duration,
    ) -> Result<(), StoreError> {
        const UNUSED: &str = "DELETE FROM clients WHERE last_used_at IS NULL AND owner_id IS NULL AND created_at < ?";
        let jobs = [
            ("DELETE FROM sessions WHERE expires_at <= ?", now.0),
            ("DELETE FROM flows WHERE expires_at <= ?", now.0),
            ("DELETE FROM codes WHERE expires_at <= ?", now.before(DAY).0),
            ("DELETE FROM refresh_tokens WHERE expires_at <= ?", now.0),
            ("DELETE FROM device_codes WHERE expires_at <= ?", now.before(DAY).0),
            ("DELETE FROM device_guesses WHERE since <= ?", now.before(DAY).0),
            ("DELETE FROM remembered_consents WHERE expires_at <= ?", now.0),
            ("DELETE FROM grants WHERE revoked_at < ?", now.before(keep_revoked).0),
            (UNUSED, now.before(unused_clients).0),
            ("DELETE FROM used_once WHERE expires_at <= ?", now.before(CLOCK_JUMP).0),
            ("DELETE FROM service_links WHERE expires_at <= ?", now.0),
            ("DELETE FROM changes WHERE id <= (SELECT MAX(id) FROM changes) - ?", changes::KEPT),
        ];
        // One transaction each: nobody has to wait for all of them. With the lock of revocations, which delete the same rows
        // in another order; and nodes that sweep at once do not meet.
        for (sql, bound) in jobs {
            let mut transaction = self.database.transaction_alone(Lock::Revocations).await?;
            query(sql).bind(bound).execute(&mut transaction).await?;
            transaction.commit().await?;
        }
        Ok(())
    }
}
