//! People's authorizations at upstreams, and the durable steps of a refresh (decision 3).

use super::*;
use crate::clock::Timestamp;
use crate::ids::*;
use std::time::Duration;

impl Store {
    /// by (user, authority, account): renewed consent replaces tokens, keeps the id that is there, increments version and returns the id in force
    pub async fn put_connection(&self, connection: &Connection) -> Result<ConnectionId, StoreError> {
        todo!()
    }
    pub async fn connection(
        &self,
        user: UserId,
        authority: &str,
        account: &str,
    ) -> Result<Option<Connection>, StoreError> {
        todo!()
    }
    pub async fn connection_by_id(&self, id: ConnectionId) -> Result<Option<Connection>, StoreError> {
        todo!()
    }
    pub async fn connections_of(&self, user: UserId) -> Result<Vec<Connection>, StoreError> {
        todo!()
    }
    pub async fn connections(&self) -> Result<Vec<Connection>, StoreError> {
        todo!()
    }
    /// Active ones with an expiry
    pub async fn connections_expiring_before(&self, before: Timestamp) -> Result<Vec<Connection>, StoreError> {
        todo!()
    }
    /// durable intent; false when the version has moved on
    pub async fn begin_refresh(&self, id: ConnectionId, version: i64, now: Timestamp) -> Result<bool, StoreError> {
        todo!()
    }
    /// version + 1; clears refreshing_since and last_error; false when the version has moved on
    pub async fn finish_refresh(
        &self,
        id: ConnectionId,
        version: i64,
        renewed: &RenewedTokens,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        todo!()
    }
    /// keeps tokens and version; clears refreshing_since
    pub async fn fail_refresh(
        &self,
        id: ConnectionId,
        version: i64,
        state: ConnectionState,
        error: &str,
    ) -> Result<bool, StoreError> {
        todo!()
    }
    pub async fn delete_connection(&self, id: ConnectionId) -> Result<bool, StoreError> {
        todo!()
    }
}
