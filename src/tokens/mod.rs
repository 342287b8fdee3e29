//! Access tokens of ours (decision 1): minted, verified, and cut off when their grant ends.

mod dpop;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod keys;
mod lives;
mod mint;
#[cfg(test)]
mod tests;
mod token;
mod verify;

pub use dpop::{DPOP, DPOP_NONCE, Proofs, Purpose, Unproven};
pub use keys::{JWKS_MAX_AGE, KeyState, PUBLISH_AHEAD, Rotation, SigningKeys, states};
pub use lives::GrantLives;
pub use mint::NewToken;
pub use token::{AccessToken, Name, Terms};
pub use verify::Unverified;

use crate::clock::{CLOCK_JUMP, Clock};
use crate::error::Fault;
use crate::freshness::Freshness;
use crate::ids::Random;
use crate::store::{Store, StoreError};
use crate::table::Table;
use keys::Reloaded;
use std::sync::Arc;
use std::time::Duration;
use token::SharedTerms;
use verify::{Marks, REMEMBERED};

/// Mints and verifies access tokens. Shared behind an `Arc`.
pub struct AccessTokens {
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) lives: Arc<GrantLives>,
    pub(crate) clock: Clock,
    random: Random,
    marks: Marks,
    verified: Table<AccessToken>,
    terms: SharedTerms,
    proofs: Proofs,
    freshness: Arc<Freshness>,
}

impl AccessTokens {
    /// Nothing is remembered yet; call [`AccessTokens::recall_revocations`] before the first [`AccessTokens::verify`].
    pub fn new(keys: Arc<SigningKeys>, lives: Arc<GrantLives>, clock: Clock, random: Random) -> Self {
        let (marks, proofs) = (Marks::new(&random), keys.proofs());
        let (verified, terms) = (Table::new(REMEMBERED), SharedTerms::new());
        Self { keys, lives, clock, random, marks, verified, terms, proofs, freshness: Arc::default() }
    }

    /// How far what is in memory may be trusted: no token is verified while it is not current.
    pub fn freshness(&self) -> &Arc<Freshness> {
        &self.freshness
    }

    /// What checks that whoever presents a bound token has its key (RFC 9449).
    pub fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// The public keys as a JWK set (RFC 7517 §5).
    pub fn jwks(&self) -> serde_json::Value {
        self.keys.jwks()
    }

    /// What tokens are signed with, by registered names.
    pub fn algorithms(&self) -> Vec<String> {
        self.keys.algorithms()
    }

    /// Learns from the store which grants were revoked while a token of theirs may still be unexpired: so that a restart
    /// revives nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recall_revocations(&self, store: &Store) -> Result<(), StoreError> {
        let revoked = store.grants_revoked_since(self.clock.now().before(self.memory())).await?;
        revoked.into_iter().for_each(|grant| self.lives.end(grant));
        Ok(())
    }

    /// From now on tokens are minted that live for `access_ttl`.
    ///
    /// # Errors
    /// When the store fails: then no token may be minted that lives so long.
    pub async fn outlast(&self, access_ttl: Duration) -> Result<(), Fault> {
        self.follow(self.keys.outlast(access_ttl).await?);
        Ok(())
    }

    /// Takes over which keys there are, after [`crate::store::Change::KeysChanged`]. When a key is gone whose tokens were
    /// alive, they are worth nothing any more and what is open with them ends.
    ///
    /// # Errors
    /// When the store fails or the vault cannot open a key.
    pub async fn reload_keys(&self) -> Result<(), Fault> {
        self.follow(self.keys.reload().await?);
        Ok(())
    }

    /// How long a revocation is remembered: as long as a token may live, by a clock that may be ahead for a while.
    pub fn memory(&self) -> Duration {
        self.longest_ttl() + CLOCK_JUMP
    }

    /// How long a token may have lived: as long as the longest token of any key, also of those that were minted before a restart, or
    /// by another process with another configuration.
    pub fn longest_ttl(&self) -> Duration {
        self.keys.longest_ttl()
    }

    fn follow(&self, reloaded: Reloaded) {
        if reloaded == Reloaded::Abandoned {
            tracing::warn!("a signing key was taken away: whatever it signed is refused from now on");
            self.lives.interrupt();
        }
    }
}
