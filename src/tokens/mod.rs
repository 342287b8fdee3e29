//! Access tokens of ours (decision 1): minted, verified, and cut off when their grant ends.

mod keys;
mod lives;
mod mint;
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
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Mints and verifies access tokens. Shared behind an `Arc`.
pub struct AccessTokens {
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) lives: Arc<GrantLives>,
    pub(crate) clock: Clock,
    random: Random,
    verified: Cache<Digest, Arc<AccessToken>>,
    /// How long revocations are remembered, in seconds: tokens that have lived longer are refused, whatever they say.
    longest_ttl: AtomicU64,
}

impl AccessTokens {
    /// Nothing is remembered yet; call [`AccessTokens::recall_revocations`] before the first [`AccessTokens::verify`].
    pub fn new(keys: Arc<SigningKeys>, lives: Arc<GrantLives>, clock: Clock, random: Random) -> Self {
        Self { keys, lives, verified: verify::cache(clock.clone()), clock, random, longest_ttl: AtomicU64::new(0) }
    }

    /// The public keys as a JWK set (RFC 7517 §5).
    pub fn jwks(&self) -> serde_json::Value {
        self.keys.jwks()
    }

    /// Learns from the store which grants were revoked while a token of theirs, living for `access_ttl`, may still be
    /// unexpired: so that a restart revives nothing. Tokens that were minted to live longer live no longer than that.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recall_revocations(&self, store: &Store, access_ttl: Duration) -> Result<(), StoreError> {
        let revoked = store.grants_revoked_since(self.clock.now().before(access_ttl)).await?;
        revoked.into_iter().for_each(|grant| self.lives.end(grant));
        self.outlast(access_ttl);
        Ok(())
    }

    /// From now on tokens are minted that live for `access_ttl`.
    pub fn outlast(&self, access_ttl: Duration) {
        self.longest_ttl.fetch_max(access_ttl.as_secs(), Ordering::Relaxed);
    }

    /// How long a token may have lived, and a revocation must be remembered.
    pub fn longest_ttl(&self) -> Duration {
        Duration::from_secs(self.longest_ttl.load(Ordering::Relaxed))
    }
}
