//! People and their sessions.

use super::*;
use crate::clock::Timestamp;
use crate::ids::*;
use std::time::Duration;

impl Store {
    /// Conflict when the name is taken
    pub async fn create_user(&self, user: &User) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        todo!()
    }
    pub async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        todo!()
    }
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        todo!()
    }
    /// an enabled one
    pub async fn has_administrator(&self) -> Result<bool, StoreError> {
        todo!()
    }
    pub async fn set_password_hash(&self, id: UserId, hash: &str) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn set_user_disabled(&self, id: UserId, disabled: bool) -> Result<(), StoreError> {
        todo!()
    }
    /// with sessions, grants, connections; grants are marked revoked first
    pub async fn delete_user(&self, id: UserId) -> Result<bool, StoreError> {
        todo!()
    }
    pub async fn insert_session(&self, session: &Session) -> Result<(), StoreError> {
        todo!()
    }
    /// never an expired one
    pub async fn session(&self, token: &Digest, now: Timestamp) -> Result<Option<Session>, StoreError> {
        todo!()
    }
    pub async fn touch_session(&self, token: &Digest, now: Timestamp) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn delete_session(&self, token: &Digest) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn delete_sessions_of(&self, user: UserId) -> Result<u64, StoreError> {
        todo!()
    }
}
