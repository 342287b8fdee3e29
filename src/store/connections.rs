//! People's authorizations at upstreams. How they are refreshed is in `refreshes`.

use super::columns::reading;
use super::database::{FromRow, Lock, Query, Row, Transaction, query, query_as, query_scalar};
use super::*;
use crate::ids::*;

impl Store {
    /// How many connections there are in each state, by its name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn count_connections(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let select = query_as("SELECT state, COUNT(*) FROM connections GROUP BY state");
        Ok(select.fetch_all(self.database.readers()).await?)
    }

    /// Keeps a person's new consent. Where there is a connection of the same person, authority and account, its tokens
    /// are replaced, its id stays, and its version goes up, so that a refresh under way cannot overwrite them. The id in
    /// force.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_connection(&self, connection: &Connection) -> Result<ConnectionId, StoreError> {
        let mut transaction = self.database.transaction().await?;
        let id = insert(&mut transaction, connection).await?;
        transaction.record(Change::ConnectionChanged(id));
        transaction.commit().await?;
        Ok(id)
    }

    /// Keeps a connection in place of the one of the same person, authority and account, which ends: whatever is open with
    /// it does too, and tokens that work go to the [`Parting`]s. The id of the one that ended.
    ///
    /// # Errors
    /// [`StoreError::Database`], also when there is no such person.
    pub async fn replace_connection(&self, connection: &Connection) -> Result<Option<ConnectionId>, StoreError> {
        // Alone: of two that replace the same one, the later one ends what the earlier one put there.
        let mut transaction = self.database.transaction_alone(Lock::Person(connection.user)).await?;
        let select = query_as("SELECT id, title FROM connections WHERE user_id = ? AND authority = ? AND account = ?");
        let select = select.bind(connection.user).bind(&connection.authority).bind(&connection.account).locked();
        let before: Option<(ConnectionId, Option<String>)> = select.fetch_optional(&mut transaction).await?;
        let (ended, title) = before.unzip();
        if let Some(id) = ended {
            delete(&mut transaction, id).await?;
        }
        let id = insert(&mut transaction, connection).await?;
        if let Some(title) = title.flatten() {
            query("UPDATE connections SET title = ? WHERE id = ?")
                .bind(title)
                .bind(id)
                .execute(&mut transaction)
                .await?;
        }
        transaction.record(Change::ConnectionChanged(id));
        transaction.commit().await?;
        Ok(ended)
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
        select.fetch_optional(self.database.readers()).await.map_err(reading::<Connection>)
    }

    /// A connection by id.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn connection_by_id(&self, id: ConnectionId) -> Result<Option<Connection>, StoreError> {
        let select = query_as("SELECT * FROM connections WHERE id = ?").bind(id);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<Connection>)
    }

    /// A person's connections, by authority and account.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn connections_of(&self, user: UserId) -> Result<Vec<Connection>, StoreError> {
        let select = query_as("SELECT * FROM connections WHERE user_id = ? ORDER BY authority, account").bind(user);
        select.fetch_all(self.database.readers()).await.map_err(reading::<Connection>)
    }

    /// The same with what the person sees of them besides.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn held_connections(&self, user: UserId) -> Result<Vec<HeldConnection>, StoreError> {
        let select = query_as("SELECT * FROM connections WHERE user_id = ? ORDER BY authority, account").bind(user);
        select.fetch_all(self.database.readers()).await.map_err(reading::<Connection>)
    }

    /// What a person calls a connection, of 60 characters at most; nothing takes the name away. `false` when the person has no such
    /// connection.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn rename_connection(
        &self,
        user: UserId,
        id: ConnectionId,
        title: Option<&str>,
    ) -> Result<bool, StoreError> {
        let update = query("UPDATE connections SET title = ? WHERE id = ? AND user_id = ?");
        let updated = update.bind(title).bind(id).bind(user).execute(self.database.writer()).await?;
        Ok(updated.rows_affected() > 0)
    }

    /// Everybody's connections, by authority and account.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn connections(&self) -> Result<Vec<Connection>, StoreError> {
        let select = query_as("SELECT * FROM connections ORDER BY authority, account, user_id");
        select.fetch_all(self.database.readers()).await.map_err(reading::<Connection>)
    }

    /// Forgets a connection with its tokens, which go to the [`Parting`]s when they work; `false` when there was none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_connection(&self, id: ConnectionId) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction().await?;
        // Locked: no refresh puts newer tokens between the two statements.
        let select = query_scalar("SELECT id FROM connections WHERE id = ?").bind(id).locked();
        let _: Option<ConnectionId> = select.fetch_optional(&mut transaction).await?;
        let deleted = delete(&mut transaction, id).await?;
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
        upsert.bind(document).bind(connection).execute(self.database.writer()).await?;
        Ok(())
    }

    /// What was kept by [`Store::put_step_ups`]; it goes with its connection.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn step_ups(&self, connection: ConnectionId) -> Result<Option<String>, StoreError> {
        let select = query_scalar("SELECT document FROM step_ups WHERE connection_id = ?").bind(connection);
        Ok(select.fetch_optional(self.database.readers()).await?)
    }

    /// Runs a statement about one connection; if it hit, everybody learns of it.
    pub(super) async fn change_connection(&self, id: ConnectionId, statement: Query<'_>) -> Result<bool, StoreError> {
        let mut transaction = self.database.transaction().await?;
        let changed = statement.execute(&mut transaction).await?.rows_affected() > 0;
        if changed {
            transaction.record(Change::ConnectionChanged(id));
        }
        transaction.commit().await?;
        Ok(changed)
    }
}

impl FromRow for HeldConnection {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self {
            row: Connection::from_row(row)?,
            title: row.try_get("title")?,
            refresh_at: row.try_get("refresh_at")?,
            last_used_at: row.try_get("last_used_at")?,
        })
    }
}

/// Adds a connection, or replaces the tokens of the one that there is. The id in force.
async fn insert(transaction: &mut Transaction, connection: &Connection) -> Result<ConnectionId, StoreError> {
    let upsert = query_scalar(
        "INSERT INTO connections (id, user_id, authority, account, state, sealed, personal, scope, expires_at,
             refresh_at, version, refreshing_since, last_error, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (user_id, authority, account) DO UPDATE SET state = excluded.state, sealed = excluded.sealed,
             personal = excluded.personal, scope = excluded.scope, expires_at = excluded.expires_at,
             refresh_at = excluded.refresh_at, version = connections.version + 1, fence = connections.fence + 1,
             lease_holder = NULL, lease_until = NULL, refreshing_since = excluded.refreshing_since,
             refreshing_token = NULL, last_error = excluded.last_error, updated_at = excluded.updated_at
         RETURNING id",
    );
    let upsert = upsert
        .bind(connection.id)
        .bind(connection.user)
        .bind(&connection.authority)
        .bind(&connection.account)
        .bind(connection.state)
        .bind(&connection.sealed)
        .bind(&connection.personal)
        .bind(&connection.scope)
        .bind(connection.expires_at)
        .bind(connection.expires_at.map(|end| refreshes::due(connection.id, connection.updated_at, end)))
        .bind(connection.version)
        .bind(connection.refreshing_since)
        .bind(&connection.last_error)
        .bind(connection.created_at)
        .bind(connection.updated_at);
    Ok(upsert.fetch_one(transaction).await?)
}

/// Deletes a connection that the transaction has locked; `false` when there is none.
async fn delete(transaction: &mut Transaction, id: ConnectionId) -> Result<bool, StoreError> {
    query(services::PART_FROM_ONE).bind(id).execute(&mut *transaction).await?;
    let delete = query("DELETE FROM connections WHERE id = ?").bind(id);
    let deleted = delete.execute(&mut *transaction).await?.rows_affected() > 0;
    if deleted {
        transaction.record(Change::ConnectionChanged(id));
    }
    Ok(deleted)
}
