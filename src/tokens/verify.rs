//! Verifying an access token: once per token, then from memory.

use super::{AccessTokens, GrantLife};
use crate::clock::Timestamp;
use crate::ids::{GrantId, UserId};
use std::sync::Arc;

/// A verified token. Its existence is the proof; fields are for reading.
#[derive(Debug)]
pub struct AccessToken {
    /// `iss`: the issuer identifier of a realm of ours.
    pub issuer: Box<str>,
    /// `aud`: one resource.
    pub audience: Box<str>,
    /// `sub`.
    pub user: UserId,
    /// `username`.
    pub username: Box<str>,
    /// `client_id`.
    pub client_id: Box<str>,
    /// `scope`, space-separated.
    pub scope: Box<str>,
    /// The grant.
    pub grant: GrantId,
    /// `exp`.
    pub expires_at: Timestamp,
    /// Ends when the grant is revoked.
    pub life: Arc<GrantLife>,
}

/// Not a valid token of ours: wrong signature, wrong type, expired, revoked. Callers learn no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access token is invalid, expired or revoked")]
pub struct InvalidToken;

impl AccessTokens {
    /// Verifies signature, type (`at+jwt`), times and the grant's life. The result is remembered under the SHA-256 of
    /// the whole token for as long as the token lives. Issuer and audience are the caller's to compare.
    ///
    /// # Errors
    /// [`InvalidToken`], whatever the reason.
    pub fn verify(&self, token: &str) -> Result<Arc<AccessToken>, InvalidToken> {
        let _ = token;
        todo!()
    }
}
