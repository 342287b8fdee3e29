//! Refresh tokens and signing keys of ours.

use super::housekeeping::announce;
use super::sqlite::Columns;
use super::{Change, RefreshToken, SigningKey, Store, StoreError, Successor};
use crate::clock::Timestamp;
use crate::ids::{Digest, GrantId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Executor, Sqlite};

impl Store {
    /// Adds the first refresh token of a grant.
    pub async fn insert_refresh_token(&self, token: &RefreshToken) -> Result<(), StoreError> {
        insert_refresh_token(self.sqlite.writer(), token).await
    }

    /// A refresh token, rotated or not, expired or not.
    pub async fn refresh_token(&self, token: &Digest) -> Result<Option<RefreshToken>, StoreError> {
        let query = sqlx::query("SELECT * FROM refresh_tokens WHERE token = ?").bind(&token.0[..]);
        query.fetch_optional(self.sqlite.readers()).await?.as_ref().map(refresh_token_of).transpose()
    }

    /// Exchanges `old` for `new` and keeps the sealed successor with it. False, and nothing changed, when `old` has a
    /// successor already or is gone.
    pub async fn rotate_refresh_token(
        &self,
        old: &Digest,
        successor: &Successor,
        new: &RefreshToken,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.sqlite.write().await?;
        let rotated = sqlx::query(
            "UPDATE refresh_tokens SET successor = ?1, successor_sealed = ?2, rotated_at = ?3,
                 first_used_at = coalesce(first_used_at, ?3)
             WHERE token = ?4 AND successor IS NULL",
        )
        .bind(&successor.token.0[..])
        .bind(&successor.sealed)
        .bind(successor.rotated_at.0)
        .bind(&old.0[..])
        .execute(&mut *transaction)
        .await?;
        if rotated.rows_affected() == 0 {
            return Ok(false);
        }
        insert_refresh_token(&mut *transaction, new).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Notes the first use of a refresh token; later ones change nothing.
    pub async fn mark_refresh_token_used(&self, token: &Digest, now: Timestamp) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE refresh_tokens SET first_used_at = ? WHERE token = ? AND first_used_at IS NULL");
        Ok(query.bind(now.0).bind(&token.0[..]).execute(self.sqlite.writer()).await.map(drop)?)
    }

    /// Adds a signing key.
    pub async fn insert_signing_key(&self, key: &SigningKey) -> Result<(), StoreError> {
        let mut transaction = self.sqlite.write().await?;
        sqlx::query("INSERT INTO signing_keys (kid, algorithm, sealed, created_at, retired_at) VALUES (?, ?, ?, ?, ?)")
            .bind(&key.kid)
            .bind(&key.algorithm)
            .bind(&key.sealed)
            .bind(key.created_at.0)
            .bind(key.retired_at.map(|at| at.0))
            .execute(&mut *transaction)
            .await?;
        announce(&mut transaction, Change::KeysChanged).await?;
        Ok(transaction.commit().await?)
    }

    /// All signing keys, oldest first.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let query = sqlx::query("SELECT * FROM signing_keys ORDER BY created_at, kid");
        query.fetch_all(self.sqlite.readers()).await?.iter().map(signing_key_of).collect()
    }

    /// Takes a signing key out of service; it goes on verifying.
    pub async fn retire_signing_key(&self, kid: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.sqlite.write().await?;
        let query = sqlx::query("UPDATE signing_keys SET retired_at = ? WHERE kid = ? AND retired_at IS NULL");
        query.bind(now.0).bind(kid).execute(&mut *transaction).await?;
        announce(&mut transaction, Change::KeysChanged).await?;
        Ok(transaction.commit().await?)
    }

    /// Removes a signing key.
    pub async fn delete_signing_key(&self, kid: &str) -> Result<(), StoreError> {
        let mut transaction = self.sqlite.write().await?;
        sqlx::query("DELETE FROM signing_keys WHERE kid = ?").bind(kid).execute(&mut *transaction).await?;
        announce(&mut transaction, Change::KeysChanged).await?;
        Ok(transaction.commit().await?)
    }
}

async fn insert_refresh_token<'e>(
    executor: impl Executor<'e, Database = Sqlite>,
    token: &RefreshToken,
) -> Result<(), StoreError> {
    let successor = token.successor.as_ref();
    let query = sqlx::query(
        "INSERT INTO refresh_tokens
             (token, grant_id, issued_at, expires_at, first_used_at, successor, successor_sealed, rotated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(token.token.0.to_vec())
    .bind(token.grant.0.to_vec())
    .bind(token.issued_at.0)
    .bind(token.expires_at.0)
    .bind(token.first_used_at.map(|at| at.0))
    .bind(successor.map(|successor| successor.token.0.to_vec()))
    .bind(successor.map(|successor| successor.sealed.clone()))
    .bind(successor.map(|successor| successor.rotated_at.0));
    Ok(query.execute(executor).await.map(drop)?)
}

fn refresh_token_of(row: &SqliteRow) -> Result<RefreshToken, StoreError> {
    let row = Columns(row);
    let successor = match row.optional_digest("successor")? {
        None => None,
        Some(token) => Some(Successor {
            token,
            sealed: row.get("successor_sealed")?,
            rotated_at: row.time("rotated_at")?,
        }),
    };
    Ok(RefreshToken {
        token: row.digest("token")?,
        grant: GrantId(row.id("grant_id")?),
        issued_at: row.time("issued_at")?,
        expires_at: row.time("expires_at")?,
        successor,
        first_used_at: row.optional_time("first_used_at")?,
    })
}

fn signing_key_of(row: &SqliteRow) -> Result<SigningKey, StoreError> {
    let row = Columns(row);
    Ok(SigningKey {
        kid: row.get("kid")?,
        algorithm: row.get("algorithm")?,
        sealed: row.get("sealed")?,
        created_at: row.time("created_at")?,
        retired_at: row.optional_time("retired_at")?,
    })
}
