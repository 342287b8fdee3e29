//! API keys. Nobody remembers them: every use asks here, so a deleted key ends at once and everywhere.

use super::columns::reading;
use super::database::{query, query_as};
use super::*;
use crate::clock::Timestamp;
use crate::ids::ApiKeyId;

impl Store {
    /// Keeps a key.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of that id.
    pub async fn insert_api_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        let insert = query(
            "INSERT INTO api_keys
                 (id, name, secret, scopes, resources, services, users, created_at, expires_at, last_used_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        );
        insert
            .bind(key.id)
            .bind(&key.name)
            .bind(key.secret)
            .bind(&key.scopes)
            .bind(&key.resources)
            .bind(&key.services)
            .bind(&key.users)
            .bind(key.created_at)
            .bind(key.expires_at)
            .bind(key.last_used_at)
            .execute(self.database.writer())
            .await
            .map_err(inserting("that API key"))?;
        Ok(())
    }

    /// A key, expired or not.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn api_key(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        let select = query_as("SELECT * FROM api_keys WHERE id = ?").bind(id);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<ApiKey>)
    }

    /// All keys, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let select = query_as("SELECT * FROM api_keys ORDER BY created_at, name, id");
        select.fetch_all(self.database.readers()).await.map_err(reading::<ApiKey>)
    }

    /// Notes that a key is in use.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn touch_api_key(&self, id: ApiKeyId, now: Timestamp) -> Result<(), StoreError> {
        let update = query("UPDATE api_keys SET last_used_at = ? WHERE id = ?").bind(now).bind(id);
        update.execute(self.database.writer()).await?;
        Ok(())
    }

    /// Removes a key; `false` when there was none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_api_key(&self, id: ApiKeyId) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM api_keys WHERE id = ?").bind(id);
        Ok(delete.execute(self.database.writer()).await?.rows_affected() > 0)
    }
}
