//! People's authorizations at upstreams, and the durable steps of a refresh (decision 3).

use super::housekeeping::announce;
use super::sqlite::Columns;
use super::{Change, Connection, ConnectionState, RenewedTokens, Store, StoreError};
use crate::clock::Timestamp;
use crate::ids::{ConnectionId, UserId};
use sqlx::sqlite::SqliteRow;

impl Store {
    /// Writes a connection down. One of the same person, upstream and account keeps its id, takes the new tokens and
    /// counts its version up. The id in force.
    pub async fn put_connection(&self, connection: &Connection) -> Result<ConnectionId, StoreError> {
        let mut transaction = self.sqlite.write().await?;
        let id: Vec<u8> = sqlx::query_scalar(
            "INSERT INTO connections (id, user_id, authority, account, state, sealed, scope, expires_at, version,
                 refreshing_since, last_error, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?)
             ON CONFLICT (user_id, authority, account) DO UPDATE SET state = excluded.state, sealed = excluded.sealed,
                 scope = excluded.scope, expires_at = excluded.expires_at, version = connections.version + 1,
                 refreshing_since = NULL, last_error = excluded.last_error, updated_at = excluded.updated_at
             RETURNING id",
        )
        .bind(&connection.id.0[..])
        .bind(&connection.user.0[..])
        .bind(&connection.authority)
        .bind(&connection.account)
        .bind(state_text(connection.state))
        .bind(&connection.sealed)
        .bind(&connection.scope)
        .bind(connection.expires_at.map(|at| at.0))
        .bind(connection.version)
        .bind(&connection.last_error)
        .bind(connection.created_at.0)
        .bind(connection.updated_at.0)
        .fetch_one(&mut *transaction)
        .await?;
        let id = ConnectionId(id.try_into().map_err(|_| StoreError::Damaged("id"))?);
        announce(&mut transaction, Change::ConnectionChanged(id)).await?;
        transaction.commit().await?;
        Ok(id)
    }

    /// The connection of a person at an upstream, for one account.
    pub async fn connection(
        &self,
        user: UserId,
        authority: &str,
        account: &str,
    ) -> Result<Option<Connection>, StoreError> {
        let query = sqlx::query("SELECT * FROM connections WHERE user_id = ? AND authority = ? AND account = ?");
        let query = query.bind(&user.0[..]).bind(authority).bind(account);
        query.fetch_optional(self.sqlite.readers()).await?.as_ref().map(connection_of).transpose()
    }

    /// The connection of an id.
    pub async fn connection_by_id(&self, id: ConnectionId) -> Result<Option<Connection>, StoreError> {
        let query = sqlx::query("SELECT * FROM connections WHERE id = ?").bind(&id.0[..]);
        query.fetch_optional(self.sqlite.readers()).await?.as_ref().map(connection_of).transpose()
    }

    /// All connections of a person, by upstream and account.
    pub async fn connections_of(&self, user: UserId) -> Result<Vec<Connection>, StoreError> {
        let query = sqlx::query("SELECT * FROM connections WHERE user_id = ? ORDER BY authority, account");
        let rows = query.bind(&user.0[..]).fetch_all(self.sqlite.readers()).await?;
        rows.iter().map(connection_of).collect()
    }

    /// All connections of everybody.
    pub async fn connections(&self) -> Result<Vec<Connection>, StoreError> {
        let query = sqlx::query("SELECT * FROM connections ORDER BY authority, account, id");
        query.fetch_all(self.sqlite.readers()).await?.iter().map(connection_of).collect()
    }

    /// Active connections whose access token expires before a moment, the most urgent first.
    pub async fn connections_expiring_before(&self, before: Timestamp) -> Result<Vec<Connection>, StoreError> {
        let query =
            sqlx::query("SELECT * FROM connections WHERE state = 'active' AND expires_at < ? ORDER BY expires_at");
        let rows = query.bind(before.0).fetch_all(self.sqlite.readers()).await?;
        rows.iter().map(connection_of).collect()
    }

    /// Writes down that a refresh begins, before anybody is asked. False when the version has moved on.
    pub async fn begin_refresh(&self, id: ConnectionId, version: i64, now: Timestamp) -> Result<bool, StoreError> {
        let query = sqlx::query("UPDATE connections SET refreshing_since = ? WHERE id = ? AND version = ?");
        let updated = query.bind(now.0).bind(&id.0[..]).bind(version).execute(self.sqlite.writer()).await?;
        Ok(updated.rows_affected() > 0)
    }

    /// Writes the answer of a refresh down, before anybody uses it. False when the version has moved on.
    pub async fn finish_refresh(
        &self,
        id: ConnectionId,
        version: i64,
        renewed: &RenewedTokens,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.sqlite.write().await?;
        let updated = sqlx::query(
            "UPDATE connections SET state = 'active', sealed = ?, scope = ?, expires_at = ?, version = version + 1,
                 refreshing_since = NULL, last_error = NULL, updated_at = ?
             WHERE id = ? AND version = ?",
        )
        .bind(&renewed.sealed)
        .bind(&renewed.scope)
        .bind(renewed.expires_at.map(|at| at.0))
        .bind(now.0)
        .bind(&id.0[..])
        .bind(version)
        .execute(&mut *transaction)
        .await?;
        announce(&mut transaction, Change::ConnectionChanged(id)).await?;
        transaction.commit().await?;
        Ok(updated.rows_affected() > 0)
    }

    /// Writes down why a refresh failed, and the state that follows from it; tokens and version stay. False when the
    /// version has moved on.
    pub async fn fail_refresh(
        &self,
        id: ConnectionId,
        version: i64,
        state: ConnectionState,
        error: &str,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.sqlite.write().await?;
        let updated = sqlx::query(
            "UPDATE connections SET state = ?, refreshing_since = NULL, last_error = ? WHERE id = ? AND version = ?",
        )
        .bind(state_text(state))
        .bind(error)
        .bind(&id.0[..])
        .bind(version)
        .execute(&mut *transaction)
        .await?;
        announce(&mut transaction, Change::ConnectionChanged(id)).await?;
        transaction.commit().await?;
        Ok(updated.rows_affected() > 0)
    }

    /// Forgets a connection and its tokens; false when there is none.
    pub async fn delete_connection(&self, id: ConnectionId) -> Result<bool, StoreError> {
        let mut transaction = self.sqlite.write().await?;
        let query = sqlx::query("DELETE FROM connections WHERE id = ?").bind(&id.0[..]);
        let deleted = query.execute(&mut *transaction).await?.rows_affected() > 0;
        announce(&mut transaction, Change::ConnectionChanged(id)).await?;
        transaction.commit().await?;
        Ok(deleted)
    }
}

fn state_text(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Active => "active",
        ConnectionState::Open => "open",
        ConnectionState::NeedsConsent => "needs_consent",
    }
}

fn connection_of(row: &SqliteRow) -> Result<Connection, StoreError> {
    let row = Columns(row);
    Ok(Connection {
        id: ConnectionId(row.id("id")?),
        user: UserId(row.id("user_id")?),
        authority: row.get("authority")?,
        account: row.get("account")?,
        state: match row.get("state")? {
            "active" => ConnectionState::Active,
            "open" => ConnectionState::Open,
            "needs_consent" => ConnectionState::NeedsConsent,
            _ => return Err(StoreError::Damaged("state")),
        },
        sealed: row.get("sealed")?,
        scope: row.get("scope")?,
        expires_at: row.optional_time("expires_at")?,
        version: row.get("version")?,
        refreshing_since: row.optional_time("refreshing_since")?,
        last_error: row.get("last_error")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}
