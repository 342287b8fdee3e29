//! Access tokens of ours (decision 1): minted, verified, and cut off when their grant ends.

mod keys;
mod lives;
mod mint;
mod ring_provider;
#[cfg(test)]
mod tests;
mod verify;

pub use keys::SigningKeys;
pub use lives::GrantLives;
pub use mint::NewToken;
pub use verify::{AccessToken, InvalidToken};

use crate::clock::Clock;
use crate::ids::{Digest, Random};
use crate::store::{Store, StoreError};
use moka::sync::Cache;
use std::sync::Arc;
use std::time::Duration;

/// Mints and verifies access tokens. Shared behind an `Arc`.
pub struct AccessTokens {
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) lives: Arc<GrantLives>,
    pub(crate) clock: Clock,
    random: Random,
    verified: Cache<Digest, Arc<AccessToken>>,
}

impl AccessTokens {
    /// Nothing is remembered yet; call [`AccessTokens::recall_revocations`] before the first [`AccessTokens::verify`].
    pub fn new(keys: Arc<SigningKeys>, lives: Arc<GrantLives>, clock: Clock, random: Random) -> Self {
        Self { keys, lives, verified: verify::cache(clock.clone()), clock, random }
    }

    /// The public keys as a JWK set (RFC 7517 §5).
    pub fn jwks(&self) -> serde_json::Value {
        self.keys.jwks()
    }

    /// Learns from the store which grants were revoked while a token of theirs, living for `access_ttl`, may still be
    /// unexpired: so that a restart revives nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recall_revocations(&self, store: &Store, access_ttl: Duration) -> Result<(), StoreError> {
        let revoked = store.grants_revoked_since(self.clock.now().before(access_ttl)).await?;
        revoked.into_iter().for_each(|grant| self.lives.end(grant));
        Ok(())
    }
}
