//! What our authorization server keeps besides clients and grants: browser flows, signing keys.

use super::columns::reading;
use super::*;
use crate::clock::Timestamp;
use crate::ids::*;
use sqlx::{query, query_as};

impl Store {
    /// Keeps a browser flow.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is a flow with that handle.
    pub async fn insert_flow(&self, flow: &Flow) -> Result<(), StoreError> {
        query("INSERT INTO flows (id, session, data, expires_at) VALUES (?, ?, ?, ?)")
            .bind(flow.id)
            .bind(flow.session)
            .bind(&flow.data)
            .bind(flow.expires_at)
            .execute(self.sqlite.writer())
            .await
            .map_err(inserting("that flow"))?;
        Ok(())
    }

    /// A flow that has not expired.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn flow(&self, id: &Digest, now: Timestamp) -> Result<Option<Flow>, StoreError> {
        let select = query_as("SELECT * FROM flows WHERE id = ? AND expires_at > ?").bind(*id).bind(now);
        select.fetch_optional(self.sqlite.readers()).await.map_err(reading::<Flow>)
    }

    /// Replaces the data of a flow, if it is still there.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn update_flow(&self, id: &Digest, data: &str) -> Result<(), StoreError> {
        query("UPDATE flows SET data = ? WHERE id = ?").bind(data).bind(*id).execute(self.sqlite.writer()).await?;
        Ok(())
    }

    /// Removes a flow; exactly one caller gets it, and nobody an expired one.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn take_flow(&self, id: &Digest, now: Timestamp) -> Result<Option<Flow>, StoreError> {
        // A transaction, because a lone `DELETE … RETURNING` hands out its row before it commits.
        let mut transaction = self.sqlite.transaction().await?;
        let delete = query_as("DELETE FROM flows WHERE id = ? AND expires_at > ? RETURNING *").bind(*id).bind(now);
        let taken = delete.fetch_optional(&mut *transaction).await.map_err(reading::<Flow>)?;
        transaction.commit().await?;
        Ok(taken)
    }

    /// Adds a signing key.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is a key of that `kid`.
    pub async fn insert_signing_key(&self, key: &SigningKey) -> Result<(), StoreError> {
        let mut transaction = self.sqlite.transaction().await?;
        query("INSERT INTO signing_keys (kid, algorithm, sealed, created_at, retired_at) VALUES (?, ?, ?, ?, ?)")
            .bind(&key.kid)
            .bind(&key.algorithm)
            .bind(&key.sealed)
            .bind(key.created_at)
            .bind(key.retired_at)
            .execute(&mut *transaction)
            .await
            .map_err(inserting("that signing key"))?;
        changes::record(&mut transaction, Change::KeysChanged).await?;
        Ok(transaction.commit().await?)
    }

    /// All signing keys, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let select = query_as("SELECT * FROM signing_keys ORDER BY created_at, rowid");
        select.fetch_all(self.sqlite.readers()).await.map_err(reading::<SigningKey>)
    }

    /// Lets a key sign no more, unless it was retired before.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn retire_signing_key(&self, kid: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.sqlite.transaction().await?;
        let update = query("UPDATE signing_keys SET retired_at = ? WHERE kid = ? AND retired_at IS NULL");
        update.bind(now).bind(kid).execute(&mut *transaction).await?;
        changes::record(&mut transaction, Change::KeysChanged).await?;
        Ok(transaction.commit().await?)
    }

    /// Removes a key: what it signed verifies no more.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_signing_key(&self, kid: &str) -> Result<(), StoreError> {
        let mut transaction = self.sqlite.transaction().await?;
        query("DELETE FROM signing_keys WHERE kid = ?").bind(kid).execute(&mut *transaction).await?;
        changes::record(&mut transaction, Change::KeysChanged).await?;
        Ok(transaction.commit().await?)
    }
}
