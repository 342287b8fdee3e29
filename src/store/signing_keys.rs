//! Our signing keys: in a line, each of them following the one before it.

use super::columns::reading;
use super::database::{Lock, Transaction, query, query_as, query_scalar};
use super::*;
use std::time::Duration;

impl Store {
    /// All signing keys in the order in which they sign.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let select = query_as("SELECT * FROM signing_keys ORDER BY active_from, created_at, kid");
        select.fetch_all(self.database.readers()).await.map_err(reading::<SigningKey>)
    }

    /// Adds a key behind `last`, the last one that the caller knows (`None`: there is none). `false` when somebody else
    /// was faster, so that of several processes one alone rotates.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is a key of that `kid`.
    pub async fn append_signing_key(&self, key: &SigningKey, last: Option<&str>) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::SigningKeys).await?;
        let select =
            query_scalar("SELECT kid FROM signing_keys ORDER BY active_from DESC, created_at DESC, kid DESC LIMIT 1");
        let found: Option<String> = select.fetch_optional(&mut transaction).await?;
        let is_next = found.as_deref() == last;
        if is_next {
            insert(&mut transaction, key).await?;
            transaction.record(Change::KeysChanged);
        }
        transaction.commit().await?;
        Ok(is_next)
    }

    /// Puts one key in the place of all others: what they signed verifies no more.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn replace_signing_keys(&self, key: &SigningKey) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction_alone(Lock::SigningKeys).await?;
        query("DELETE FROM signing_keys").execute(&mut transaction).await?;
        insert(&mut transaction, key).await?;
        transaction.record(Change::KeysChanged);
        transaction.commit().await
    }

    /// Notes that a key signs tokens that live for `ttl`, unless it is known to sign longer ones.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn extend_signing_key(&self, kid: &str, ttl: Duration) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction().await?;
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let update = query("UPDATE signing_keys SET token_ttl = ? WHERE kid = ? AND token_ttl < ?");
        if update.bind(ttl).bind(kid).bind(ttl).execute(&mut transaction).await?.rows_affected() > 0 {
            transaction.record(Change::KeysChanged);
        }
        transaction.commit().await
    }

    /// Removes a key: what it signed verifies no more.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_signing_key(&self, kid: &str) -> Result<(), StoreError> {
        let mut transaction = self.database.transaction().await?;
        if query("DELETE FROM signing_keys WHERE kid = ?").bind(kid).execute(&mut transaction).await?.rows_affected()
            > 0
        {
            transaction.record(Change::KeysChanged);
        }
        transaction.commit().await
    }
}

async fn insert(transaction: &mut Transaction, key: &SigningKey) -> Result<(), StoreError> {
    let insert = query(
        "INSERT INTO signing_keys (kid, algorithm, sealed, created_at, active_from, token_ttl) VALUES (?, ?, ?, ?, ?, ?)",
    );
    insert
        .bind(&key.kid)
        .bind(key.algorithm)
        .bind(&key.sealed)
        .bind(key.created_at)
        .bind(key.active_from)
        .bind(key.token_ttl)
        .execute(&mut *transaction)
        .await
        .map_err(inserting("that signing key"))?;
    Ok(())
}
