//! Settings, the audit log, and the sweeping of what has expired.

use super::*;
use crate::clock::Timestamp;
use crate::ids::*;
use std::time::Duration;

impl Store {
    pub async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        todo!()
    }
    pub async fn put_setting(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn put_setting_if_absent(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        todo!()
    }
    pub async fn delete_setting(&self, name: &str) -> Result<bool, StoreError> {
        todo!()
    }
    pub async fn append_audit(&self, event: &AuditEvent) -> Result<(), StoreError> {
        todo!()
    }
    /// newest first
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditEvent>, StoreError> {
        todo!()
    }
    /// expired sessions, flows, codes, refresh tokens, grants revoked longer ago than keep_revoked, clients never used within 24 h of registration
    pub async fn sweep(&self, now: Timestamp, keep_revoked: Duration) -> Result<(), StoreError> {
        todo!()
    }
    /// The number of the newest change; a process reads it before it loads anything into memory.
    pub async fn latest_change(&self) -> Result<i64, StoreError> {
        todo!()
    }
    /// Every change after number `after`, oldest first. The methods that revoke grants, touch connections, upstreams
    /// and signing keys append theirs in the same transaction.
    pub async fn changes_after(&self, after: i64) -> Result<Vec<(i64, Change)>, StoreError> {
        todo!()
    }
}
