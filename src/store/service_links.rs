//! What the token broker goes by: the links that send one person to connect one service, and whose an e-mail address is.

use super::columns::reading;
use super::database::{query, query_as};
use super::*;
use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, Digest, UserId};

/// To which address a service sends the person back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkCallback {
    /// To the service's own.
    Service,
    /// To the one that all services share.
    Shared,
}

/// A link by which a program sends one person to connect one service.
#[derive(Clone, Debug)]
pub struct ServiceLink {
    /// Digest of the secret in the link.
    pub id: Digest,
    /// Whose key asked for it; the link goes with the key.
    pub api_key: ApiKeyId,
    /// For whom it is.
    pub user: UserId,
    /// The service's name.
    pub service: String,
    /// What is asked for, space-separated; empty for the service's default.
    pub scope: String,
    /// Where the service's answer goes.
    pub callback: LinkCallback,
    /// Where the person goes on afterwards.
    pub return_to: Option<String>,
    /// When it ends, if nobody uses it.
    pub expires_at: Timestamp,
}

impl Store {
    /// Keeps a link.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of that digest; [`StoreError::Database`], also when the person or the
    /// key has gone meanwhile.
    pub async fn insert_service_link(&self, link: &ServiceLink) -> Result<(), StoreError> {
        let insert = query(
            "INSERT INTO service_links (id, api_key, user_id, service, scope, callback, return_to, expires_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        );
        insert
            .bind(link.id)
            .bind(link.api_key)
            .bind(link.user)
            .bind(&link.service)
            .bind(&link.scope)
            .bind(link.callback)
            .bind(&link.return_to)
            .bind(link.expires_at)
            .execute(self.database.writer())
            .await
            .map_err(inserting("that link"))?;
        Ok(())
    }

    /// A link that has not expired.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn service_link(&self, id: &Digest, now: Timestamp) -> Result<Option<ServiceLink>, StoreError> {
        let select = query_as("SELECT * FROM service_links WHERE id = ? AND expires_at > ?").bind(*id).bind(now);
        select.fetch_optional(self.database.readers()).await.map_err(reading::<ServiceLink>)
    }

    /// Uses a link up, for the person that it is for: of several callers exactly one gets `true`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn use_service_link(&self, id: &Digest, user: UserId, now: Timestamp) -> Result<bool, StoreError> {
        let delete = query("DELETE FROM service_links WHERE id = ? AND user_id = ? AND expires_at > ?");
        let delete = delete.bind(*id).bind(user).bind(now);
        Ok(delete.execute(self.database.writer()).await?.rows_affected() > 0)
    }

    /// Everybody who has this e-mail address, in whatever letter case: it was verified by a provider at which they sign in,
    /// or an administrator says so. Whoever wants to know one person by it must find exactly one here.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn users_with_email(&self, email: &str) -> Result<Vec<User>, StoreError> {
        let select = query_as(
            "SELECT * FROM users WHERE lower(email) = ?
                 OR id IN (SELECT user_id FROM identities WHERE lower(email) = ?)",
        );
        let email = email.to_ascii_lowercase();
        select.bind(&email).bind(&email).fetch_all(self.database.readers()).await.map_err(reading::<User>)
    }
}
