//! What our authorization server keeps: clients, grants, codes, refresh tokens, flows, signing keys.

use super::*;
use crate::clock::Timestamp;
use crate::ids::*;
use std::time::Duration;

impl Store {
    pub async fn insert_client(&self, client: &Client) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn client(&self, realm: &str, id: &str) -> Result<Option<Client>, StoreError> {
        todo!()
    }
    pub async fn clients(&self) -> Result<Vec<Client>, StoreError> {
        todo!()
    }
    pub async fn touch_client(&self, realm: &str, id: &str, now: Timestamp) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn delete_client(&self, realm: &str, id: &str) -> Result<bool, StoreError> {
        todo!()
    }
    pub async fn put_client_document(&self, document: &ClientDocument) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn client_document(&self, url: &str) -> Result<Option<ClientDocument>, StoreError> {
        todo!()
    }
    /// both or neither
    pub async fn insert_grant(&self, grant: &Grant, code: &AuthorizationCode) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        todo!()
    }
    /// newest first, revoked ones not
    pub async fn grants_of(&self, user: UserId) -> Result<Vec<Grant>, StoreError> {
        todo!()
    }
    /// false when it was revoked or unknown; ends its refresh tokens and codes
    pub async fn revoke_grant(&self, id: GrantId, now: Timestamp) -> Result<bool, StoreError> {
        todo!()
    }
    pub async fn revoke_grants_of_client(
        &self,
        realm: &str,
        client_id: &str,
        now: Timestamp,
    ) -> Result<Vec<GrantId>, StoreError> {
        todo!()
    }
    pub async fn revoke_grants_of_user(&self, user: UserId, now: Timestamp) -> Result<Vec<GrantId>, StoreError> {
        todo!()
    }
    pub async fn grants_revoked_since(&self, since: Timestamp) -> Result<Vec<GrantId>, StoreError> {
        todo!()
    }
    pub async fn code(&self, code: &Digest) -> Result<Option<AuthorizationCode>, StoreError> {
        todo!()
    }
    /// exactly one caller ever gets true
    pub async fn consume_code(&self, code: &Digest, now: Timestamp) -> Result<bool, StoreError> {
        todo!()
    }
    pub async fn insert_refresh_token(&self, token: &RefreshToken) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn refresh_token(&self, token: &Digest) -> Result<Option<RefreshToken>, StoreError> {
        todo!()
    }
    /// atomic; marks old.first_used_at too; false when `old` has a successor already
    pub async fn rotate_refresh_token(
        &self,
        old: &Digest,
        successor: &Successor,
        new: &RefreshToken,
    ) -> Result<bool, StoreError> {
        todo!()
    }
    /// first use only
    pub async fn mark_refresh_token_used(&self, token: &Digest, now: Timestamp) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn insert_flow(&self, flow: &Flow) -> Result<(), StoreError> {
        todo!()
    }
    /// never an expired one
    pub async fn flow(&self, id: &Digest, now: Timestamp) -> Result<Option<Flow>, StoreError> {
        todo!()
    }
    pub async fn update_flow(&self, id: &Digest, data: &str) -> Result<(), StoreError> {
        todo!()
    }
    /// exactly one caller gets it
    pub async fn take_flow(&self, id: &Digest, now: Timestamp) -> Result<Option<Flow>, StoreError> {
        todo!()
    }
    pub async fn insert_signing_key(&self, key: &SigningKey) -> Result<(), StoreError> {
        todo!()
    }
    /// oldest first
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        todo!()
    }
    pub async fn retire_signing_key(&self, kid: &str, now: Timestamp) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn delete_signing_key(&self, kid: &str) -> Result<(), StoreError> {
        todo!()
    }
}
