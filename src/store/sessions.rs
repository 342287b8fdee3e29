//! Signed-in browsers.

use super::columns::reading;
use super::database::{query, query_as};
use super::*;
use crate::clock::Timestamp;
use crate::ids::*;

impl Store {
    /// Signs a browser in.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is a session with that token.
    pub async fn insert_session(&self, session: &Session) -> Result<(), StoreError> {
        let insert = query(
            "INSERT INTO sessions
                 (token, id, user_id, means, address, user_agent, created_at, last_seen_at, expires_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        );
        insert
            .bind(session.token)
            .bind(session.id)
            .bind(session.user)
            .bind(&session.means)
            .bind(&session.address)
            .bind(&session.user_agent)
            .bind(session.created_at)
            .bind(session.last_seen_at)
            .bind(session.expires_at)
            .execute(self.database.writer())
            .await
            .map_err(inserting("that session"))?;
        Ok(())
    }

    /// A session that has not reached its absolute end.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn session(&self, token: &Digest, now: Timestamp) -> Result<Option<Session>, StoreError> {
        let select = query_as("SELECT * FROM sessions WHERE token = ? AND expires_at > ?").bind(*token).bind(now);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<Session>)
    }

    /// A person's sessions that have not reached their absolute end, the one that was used last first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn sessions_of(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let select = query_as(
            "SELECT * FROM sessions WHERE user_id = ? AND expires_at > ? ORDER BY last_seen_at DESC, created_at DESC",
        );
        select.bind(user).bind(now).fetch_all(self.database.readers()).await.map_err(reading::<Session>)
    }

    /// Notes that a session is in use.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn touch_session(&self, token: &Digest, now: Timestamp) -> Result<(), StoreError> {
        let update = query("UPDATE sessions SET last_seen_at = ? WHERE token = ?").bind(now).bind(*token);
        update.execute(self.database.writer()).await?;
        Ok(())
    }

    /// Gives a session another token: the cookie that it had is worth nothing afterwards. `false` when it is gone.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn rotate_session(&self, old: &Digest, new: &Digest) -> Result<bool, StoreError> {
        let update = query("UPDATE sessions SET token = ? WHERE token = ?").bind(*new).bind(*old);
        Ok(update.execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// Signs a browser out.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_session(&self, token: &Digest) -> Result<(), StoreError> {
        query("DELETE FROM sessions WHERE token = ?").bind(*token).execute(self.database.writer()).await?;
        Ok(())
    }

    /// Signs one of a person's browsers out; `false` when the person has no such session.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_session_of(&self, user: UserId, id: SessionId) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM sessions WHERE user_id = ? AND id = ?").bind(user).bind(id);
        Ok(delete.execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// Signs all browsers of a person out; how many there were.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_sessions_of(&self, user: UserId) -> Result<u64, StoreError> {
        let delete = query("DELETE FROM sessions WHERE user_id = ?").bind(user);
        Ok(delete.execute(self.database.writer()).await?.rows_affected())
    }

    /// Signs all browsers of a person out but one; how many there were.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_sessions_but(&self, user: UserId, kept: SessionId) -> Result<u64, StoreError> {
        let delete = query("DELETE FROM sessions WHERE user_id = ? AND id <> ?").bind(user).bind(kept);
        Ok(delete.execute(self.database.writer()).await?.rows_affected())
    }

    /// Removes the sessions that were not used since `before`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sweep_idle_sessions(&self, before: Timestamp) -> Result<(), StoreError> {
        query("DELETE FROM sessions WHERE last_seen_at <= ?").bind(before).execute(self.database.writer()).await?;
        Ok(())
    }
}
