//! Devices that wait for a person (RFC 8628): each transition of a code happens once, whoever asks and however often.

use super::columns::reading;
use super::database::{query, query_as, query_scalar};
use super::*;
use crate::clock::Timestamp;
use crate::ids::*;
use std::time::Duration;

/// How much longer a device must wait from now on each time that it asks too early (RFC 8628 §3.5).
const SLOW_DOWN: i64 = 5;

/// Clocks here have whole seconds, and networks are not even: so much may be missing.
const TOLERANCE: i64 = 1;

impl Store {
    /// Keeps a device's request.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when either code is in use.
    pub async fn insert_device_code(&self, code: &DeviceCode) -> Result<(), StoreError> {
        let insert = query(
            "INSERT INTO device_codes (code, user_code, realm, client_id, resource, scope, expires_at, interval,
                 polled_at, claimed_by, state, grant_id)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        );
        insert
            .bind(code.code)
            .bind(code.user_code)
            .bind(&code.realm)
            .bind(&code.client_id)
            .bind(&code.resource)
            .bind(&code.scope)
            .bind(code.expires_at)
            .bind(code.interval)
            .bind(code.polled_at)
            .bind(code.claimed_by)
            .bind(code.state)
            .bind(code.grant)
            .execute(self.database.writer())
            .await
            .map_err(inserting("that device code"))?;
        Ok(())
    }

    /// A device code, expired or decided as it may be.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn device_code(&self, code: &Digest) -> Result<Option<DeviceCode>, StoreError> {
        let select = query_as("SELECT * FROM device_codes WHERE code = ?").bind(*code);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<DeviceCode>)
    }

    /// Makes the device that shows a user code a person's: nobody else can decide about it from then on. `None` when
    /// no device waits with it, or it is somebody else's.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn claim_device_code(
        &self,
        user_code: &Digest,
        user: UserId,
        now: Timestamp,
    ) -> Result<Option<DeviceCode>, StoreError> {
        let mut transaction = self.database.transaction().await?;
        let update = query_as(
            "UPDATE device_codes SET claimed_by = ?
             WHERE user_code = ? AND state = 'waiting' AND expires_at > ? AND COALESCE(claimed_by, ?) = ? RETURNING *",
        );
        let update = update.bind(user).bind(*user_code).bind(now).bind(user).bind(user);
        let claimed = update.fetch_optional(&mut transaction).await.map_err(reading::<DeviceCode>)?;
        transaction.commit().await?;
        Ok(claimed)
    }

    /// Lets a device in: its code stands for this grant from now on. `false`, and no grant, when the code has expired, was
    /// decided about, or is not that person's.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the grant is there already.
    pub async fn approve_device_code(&self, code: &Digest, grant: &Grant, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction().await?;
        grants::insert(&mut transaction, grant).await?;
        let update = query(
            "UPDATE device_codes SET state = 'approved', grant_id = ?
             WHERE code = ? AND state = 'waiting' AND expires_at > ? AND claimed_by = ?",
        );
        let update = update.bind(grant.id).bind(*code).bind(now).bind(grant.user);
        let approved = update.execute(&mut transaction).await?.rows_affected() > 0;
        if approved {
            transaction.commit().await?;
        } else {
            transaction.rollback().await?;
        }
        Ok(approved)
    }

    /// Keeps a device out; `false` when the code was decided about, or is not that person's.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn deny_device_code(&self, code: &Digest, user: UserId) -> Result<bool, StoreError> {
        let update =
            query("UPDATE device_codes SET state = 'denied' WHERE code = ? AND state = 'waiting' AND claimed_by = ?");
        Ok(update.bind(*code).bind(user).execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// Notes that a device asked whether somebody has decided; `false` when it asked too early, and has to leave more
    /// time between two questions from now on.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn poll_device_code(&self, code: &Digest, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction().await?;
        // Locked: of two questions at once the second one is early.
        let select = query_as("SELECT * FROM device_codes WHERE code = ?").bind(*code).locked();
        let row: Option<DeviceCode> = select.fetch_optional(&mut transaction).await.map_err(reading::<DeviceCode>)?;
        let Some(row) = row else { return Ok(true) };
        let is_early = row.polled_at.is_some_and(|at| now.0.saturating_sub(at.0) + TOLERANCE < row.interval);
        let interval = if is_early { row.interval.saturating_add(SLOW_DOWN) } else { row.interval };
        let update = query("UPDATE device_codes SET polled_at = ?, interval = ? WHERE code = ?");
        update.bind(now).bind(interval).bind(*code).execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(!is_early)
    }

    /// Uses a device code that was approved and has not expired; exactly one caller ever gets `true`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn redeem_device_code(&self, code: &Digest, now: Timestamp) -> Result<bool, StoreError> {
        let update =
            query("UPDATE device_codes SET state = 'used' WHERE code = ? AND state = 'approved' AND expires_at > ?");
        Ok(update.bind(*code).bind(now).execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// How many wrong user codes a person has typed in the `window` that is open, if one is.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn wrong_user_codes(&self, user: UserId, now: Timestamp, window: Duration) -> Result<i64, StoreError> {
        let select = query_scalar("SELECT wrong FROM device_guesses WHERE user_id = ? AND since > ?");
        let wrong = select.bind(user).bind(now.before(window)).fetch_optional(self.database.readers()).await?;
        Ok(wrong.unwrap_or(0))
    }

    /// Counts a wrong user code; the first one opens a window.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn count_wrong_user_code(
        &self,
        user: UserId,
        now: Timestamp,
        window: Duration,
    ) -> Result<(), StoreError> {
        let upsert = query(
            "INSERT INTO device_guesses (user_id, wrong, since) VALUES (?1, 1, ?2)
             ON CONFLICT (user_id) DO UPDATE SET
                 wrong = CASE WHEN device_guesses.since > ?3 THEN device_guesses.wrong + 1 ELSE 1 END,
                 since = CASE WHEN device_guesses.since > ?3 THEN device_guesses.since ELSE excluded.since END",
        );
        upsert.bind(user).bind(now).bind(now.before(window)).execute(self.database.writer()).await?;
        Ok(())
    }
}
