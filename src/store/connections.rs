//! People's authorizations at upstreams, and the durable steps of a refresh (decision 3).

use super::columns::reading;
use super::*;
use crate::clock::Timestamp;
use crate::ids::*;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, query, query_as, query_scalar};
use std::time::Duration;

/// How long a refresh that was begun keeps others from beginning one. Longer than a token endpoint may take to answer:
/// after that its process is taken for dead.
pub const REFRESH_LEASE: Duration = Duration::from_secs(15);

impl Store {
    /// Keeps a person's new consent. Where there is a connection of the same person, authority and account, its tokens
    /// are replaced, its id stays, and its version goes up, so that a refresh under way cannot overwrite them. The id in
    /// force.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_connection(&self, connection: &Connection) -> Result<ConnectionId, StoreError> {
        let mut transaction = self.sqlite.transaction().await?;
        let upsert = query_scalar(
            "INSERT INTO connections (id, user_id, authority, account, state, sealed, scope, expires_at, version,
                 refreshing_since, last_error, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (user_id, authority, account) DO UPDATE SET state = excluded.state, sealed = excluded.sealed,
                 scope = excluded.scope, expires_at = excluded.expires_at, version = version + 1,
                 refreshing_since = excluded.refreshing_since, last_error = excluded.last_error,
                 updated_at = excluded.updated_at
             RETURNING id",
        );
        let id = upsert
            .bind(connection.id)
            .bind(connection.user)
            .bind(&connection.authority)
            .bind(&connection.account)
            .bind(connection.state)
            .bind(&connection.sealed)
            .bind(&connection.scope)
            .bind(connection.expires_at)
            .bind(connection.version)
            .bind(connection.refreshing_since)
            .bind(&connection.last_error)
            .bind(connection.created_at)
            .bind(connection.updated_at)
            .fetch_one(&mut *transaction)
            .await?;
        changes::record(&mut transaction, Change::ConnectionChanged(id)).await?;
        transaction.commit().await?;
        Ok(id)
    }

    /// A person's connection; `account` is empty for the plain one.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn connection(
        &self,
        user: UserId,
        authority: &str,
        account: &str,
    ) -> Result<Option<Connection>, StoreError> {
        let select = query_as("SELECT * FROM connections WHERE user_id = ? AND authority = ? AND account = ?");
        let select = select.bind(user).bind(authority).bind(account);
        select.fetch_optional(self.sqlite.readers()).await.map_err(reading::<Connection>)
    }

    /// A connection by id.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn connection_by_id(&self, id: ConnectionId) -> Result<Option<Connection>, StoreError> {
        let select = query_as("SELECT * FROM connections WHERE id = ?").bind(id);
        select.fetch_optional(self.sqlite.readers()).await.map_err(reading::<Connection>)
    }

    /// A person's connections, by authority and account.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn connections_of(&self, user: UserId) -> Result<Vec<Connection>, StoreError> {
        let select = query_as("SELECT * FROM connections WHERE user_id = ? ORDER BY authority, account").bind(user);
        select.fetch_all(self.sqlite.readers()).await.map_err(reading::<Connection>)
    }

    /// Everybody's connections, by authority and account.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn connections(&self) -> Result<Vec<Connection>, StoreError> {
        let select = query_as("SELECT * FROM connections ORDER BY authority, account, user_id");
        select.fetch_all(self.sqlite.readers()).await.map_err(reading::<Connection>)
    }

    /// Active connections whose access token expires before that moment, the most urgent first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn connections_expiring_before(&self, before: Timestamp) -> Result<Vec<Connection>, StoreError> {
        let select =
            query_as("SELECT * FROM connections WHERE state = 'active' AND expires_at < ? ORDER BY expires_at");
        select.bind(before).fetch_all(self.sqlite.readers()).await.map_err(reading::<Connection>)
    }

    /// Durably intends a refresh of exactly these tokens. `false` when the version has moved on, or when somebody else is
    /// refreshing and began less than [`REFRESH_LEASE`] ago.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn begin_refresh(&self, id: ConnectionId, version: i64, now: Timestamp) -> Result<bool, StoreError> {
        let update = query(
            "UPDATE connections SET refreshing_since = ?
             WHERE id = ? AND version = ? AND (refreshing_since IS NULL OR refreshing_since <= ?)",
        );
        let update = update.bind(now).bind(id).bind(version).bind(now.before(REFRESH_LEASE));
        Ok(update.execute(self.sqlite.writer()).await?.rows_affected() > 0)
    }

    /// Keeps renewed tokens under the next version, and the refresh and its error are over. `false` when the version has
    /// moved on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn finish_refresh(
        &self,
        id: ConnectionId,
        version: i64,
        renewed: &RenewedTokens,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let update = query(
            "UPDATE connections SET state = ?, sealed = ?, scope = ?, expires_at = ?, version = version + 1,
                 refreshing_since = NULL, last_error = NULL, updated_at = ?
             WHERE id = ? AND version = ?",
        );
        let update = update
            .bind(ConnectionState::Active)
            .bind(&renewed.sealed)
            .bind(&renewed.scope)
            .bind(renewed.expires_at)
            .bind(now)
            .bind(id)
            .bind(version);
        self.change_connection(id, update).await
    }

    /// Notes that a refresh failed; tokens and version stay. `false` when the version has moved on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn fail_refresh(
        &self,
        id: ConnectionId,
        version: i64,
        state: ConnectionState,
        error: &str,
    ) -> Result<bool, StoreError> {
        let update = query(
            "UPDATE connections SET state = ?, last_error = ?, refreshing_since = NULL WHERE id = ? AND version = ?",
        );
        self.change_connection(id, update.bind(state).bind(error).bind(id).bind(version)).await
    }

    /// Forgets a connection with its tokens, which go to the [`Parting`]s when they work; `false` when there was none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_connection(&self, id: ConnectionId) -> Result<bool, StoreError> {
        let mut transaction = self.sqlite.transaction().await?;
        query(services::PART_FROM_ONE).bind(id).execute(&mut *transaction).await?;
        let delete = query("DELETE FROM connections WHERE id = ?").bind(id);
        let deleted = delete.execute(&mut *transaction).await?.rows_affected() > 0;
        if deleted {
            changes::record(&mut transaction, Change::ConnectionChanged(id)).await?;
        }
        transaction.commit().await?;
        Ok(deleted)
    }

    /// Keeps what an upstream asked for beyond what a connection has, JSON of `connect`'s own making, in place of what was
    /// kept before. Nothing happens when the connection is gone.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_step_ups(&self, connection: ConnectionId, document: &str) -> Result<(), StoreError> {
        let upsert = query(
            "INSERT INTO step_ups (connection_id, document) SELECT id, ? FROM connections WHERE id = ?
             ON CONFLICT (connection_id) DO UPDATE SET document = excluded.document",
        );
        upsert.bind(document).bind(connection).execute(self.sqlite.writer()).await?;
        Ok(())
    }

    /// What was kept by [`Store::put_step_ups`]; it goes with its connection.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn step_ups(&self, connection: ConnectionId) -> Result<Option<String>, StoreError> {
        let select = query_scalar("SELECT document FROM step_ups WHERE connection_id = ?").bind(connection);
        Ok(select.fetch_optional(self.sqlite.readers()).await?)
    }

    /// Runs a statement about one connection; if it hit, everybody learns of it.
    async fn change_connection(
        &self,
        id: ConnectionId,
        statement: sqlx::query::Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.sqlite.transaction().await?;
        let changed = statement.execute(&mut *transaction).await?.rows_affected() > 0;
        if changed {
            changes::record(&mut transaction, Change::ConnectionChanged(id)).await?;
        }
        transaction.commit().await?;
        Ok(changed)
    }
}
