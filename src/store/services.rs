//! What services need besides connections: personal access tokens, and authorizations that are to be given back.

use super::columns::reading;
use super::database::{Lock, query, query_as};
use super::*;
use crate::clock::Timestamp;
use crate::ids::{ConnectionId, UserId};

/// Before a connection that works is deleted. What people gave us by hand no provider takes back.
pub(super) const PART_FROM_ONE: &str = "
    INSERT INTO partings (id, user_id, authority, account, sealed, attempts, due_at)
    SELECT id, user_id, authority, account, sealed, 0, 0 FROM connections
    WHERE id = ? AND state = 'active' AND personal IS NULL
    ON CONFLICT (id) DO NOTHING";

/// Before all connections of a person are.
pub(super) const PART_FROM_ALL: &str = "
    INSERT INTO partings (id, user_id, authority, account, sealed, attempts, due_at)
    SELECT id, user_id, authority, account, sealed, 0, 0 FROM connections
    WHERE user_id = ? AND state = 'active' AND personal IS NULL
    ON CONFLICT (id) DO NOTHING";

/// A personal access token, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePat {
    /// Whose.
    pub user: UserId,
    /// For which service.
    pub service: String,
    /// The token.
    pub sealed: Vec<u8>,
    /// When the person left it here.
    pub created_at: Timestamp,
}

/// An authorization that ended here and is still to be given back to the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// Of the connection that it was.
    pub id: ConnectionId,
    /// Whose. The person may be gone.
    pub user: UserId,
    /// Where, as in [`Connection::authority`].
    pub authority: String,
    /// As in [`Connection::account`].
    pub account: String,
    /// As in [`Connection::sealed`].
    pub sealed: Vec<u8>,
    /// How often that was tried.
    pub attempts: i64,
}

impl Store {
    /// Keeps a person's personal access token in place of an earlier one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn put_service_pat(&self, pat: &ServicePat) -> Result<(), StoreError> {
        let upsert = query(
            "INSERT INTO service_pats (user_id, service, sealed, created_at) VALUES (?, ?, ?, ?)
             ON CONFLICT (user_id, service) DO UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at",
        );
        let upsert = upsert.bind(pat.user).bind(&pat.service).bind(&pat.sealed).bind(pat.created_at);
        upsert.execute(self.database.writer()).await?;
        Ok(())
    }

    /// A person's personal access token for a service.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn service_pat(&self, user: UserId, service: &str) -> Result<Option<ServicePat>, StoreError> {
        let select = query_as("SELECT * FROM service_pats WHERE user_id = ? AND service = ?").bind(user).bind(service);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<ServicePat>)
    }

    /// A person's personal access tokens, by service.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn service_pats(&self, user: UserId) -> Result<Vec<ServicePat>, StoreError> {
        let select = query_as("SELECT * FROM service_pats WHERE user_id = ? ORDER BY service").bind(user);
        select.fetch_all(self.database.readers()).await.map_err(reading::<ServicePat>)
    }

    /// Forgets a personal access token; `false` when there was none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_service_pat(&self, user: UserId, service: &str) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM service_pats WHERE user_id = ? AND service = ?").bind(user).bind(service);
        Ok(delete.execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// Authorizations that are to be given back by now, the oldest first. Whoever takes one is the only one until
    /// `again_at`.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn take_partings(&self, now: Timestamp, again_at: Timestamp) -> Result<Vec<Parting>, StoreError> {
        let update = query_as(
            "UPDATE partings SET attempts = attempts + 1, due_at = ?
             WHERE id IN (SELECT id FROM partings WHERE due_at <= ? ORDER BY due_at LIMIT 100) AND due_at <= ?
             RETURNING *",
        );
        // Alone: two that take the same ones in another order would wait for each other.
        let mut transaction = self.database.transaction_alone(Lock::Partings).await?;
        let update = update.bind(again_at).bind(now).bind(now);
        let taken = update.fetch_all(&mut transaction).await.map_err(reading::<Parting>)?;
        transaction.commit().await?;
        Ok(taken)
    }

    /// Forgets an authorization that was given back, or could not be.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_parting(&self, id: ConnectionId) -> Result<(), StoreError> {
        query("DELETE FROM partings WHERE id = ?").bind(id).execute(self.database.writer()).await?;
        Ok(())
    }
}
