//! Upstreams that an administrator decided about, what discovery found, and our registrations there.

use super::*;
use crate::clock::Timestamp;
use crate::ids::*;
use std::time::Duration;

impl Store {
    /// Conflict when the alias belongs to another
    pub async fn put_upstream(&self, upstream: &Upstream) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn upstream(&self, authority: &str) -> Result<Option<Upstream>, StoreError> {
        todo!()
    }
    pub async fn upstreams(&self) -> Result<Vec<Upstream>, StoreError> {
        todo!()
    }
    pub async fn delete_upstream(&self, authority: &str) -> Result<bool, StoreError> {
        todo!()
    }
    pub async fn put_discovery(&self, discovery: &Discovery) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn discovery(&self, authority: &str) -> Result<Option<Discovery>, StoreError> {
        todo!()
    }
    pub async fn put_upstream_client(&self, client: &UpstreamClient) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn upstream_client(
        &self,
        issuer: &str,
        redirect_uri: &str,
    ) -> Result<Option<UpstreamClient>, StoreError> {
        todo!()
    }
    pub async fn delete_upstream_client(&self, issuer: &str, redirect_uri: &str) -> Result<bool, StoreError> {
        todo!()
    }
}
