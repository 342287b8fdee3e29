//! The keys that sign access tokens.

use super::records::{KeyState, Moment, NewSigningKey, SigningKey};
use super::{Actor, Administration, Page, Refused};
use crate::config;
use crate::error::Fault;
use crate::store;
use crate::tokens::{self, Rotation, states};
use crate::vault::Vault;

/// What new keys are made with.
pub struct Signing {
    /// What seals them.
    pub vault: Vault,
    /// What they sign with unless somebody says otherwise, and how long.
    pub config: config::Tokens,
}

impl Administration {
    /// The keys, in the order in which they sign.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn signing_keys(&self) -> Result<Page<SigningKey>, Refused> {
        Ok(Page::whole(self.all_signing_keys().await?))
    }

    /// Publishes a new key, which signs a day later; or lets it take the place of all others at once, after a leak.
    ///
    /// # Errors
    /// [`Refused::Invalid`] when one is published already and waits.
    pub async fn rotate_signing_keys(&self, actor: &Actor, new: &NewSigningKey) -> Result<SigningKey, Refused> {
        let locked = || Fault::gateway("a signing key cannot be made without the key of the vault");
        let Signing { vault, config } = self.signing.as_ref().ok_or_else(locked)?;
        let mut config = *config;
        if let Some(algorithm) = new.algorithm {
            config.signing_algorithm = algorithm.into();
        }
        let rotation =
            Rotation { store: &self.store, vault, random: &self.random, now: self.clock.now(), config: &config };
        let made = if new.at_once { rotation.replace_all().await? } else { rotation.publish().await? };
        self.record(actor, if new.at_once { "keys.replaced" } else { "key.published" }, &made.kid);
        let gone = || Fault::gateway("a signing key was removed as soon as it was made");
        Ok(self.all_signing_keys().await?.into_iter().find(|key| key.kid == made.kid).ok_or_else(gone)?)
    }

    async fn all_signing_keys(&self) -> Result<Vec<SigningKey>, Refused> {
        let keys = self.store.signing_keys().await?;
        let states = states(&keys, self.clock.now());
        Ok(keys.into_iter().zip(states).map(|(key, state)| record(key, state)).collect())
    }
}

fn record(key: store::SigningKey, state: tokens::KeyState) -> SigningKey {
    let (state, verifies_until) = match state {
        tokens::KeyState::Published => (KeyState::Published, None),
        tokens::KeyState::Signing => (KeyState::Signing, None),
        tokens::KeyState::Verifying { until } => (KeyState::Verifying, Some(Moment(until))),
        tokens::KeyState::Spent => (KeyState::Spent, None),
    };
    SigningKey {
        kid: key.kid,
        algorithm: key.algorithm.into(),
        state,
        published_at: Moment(key.created_at),
        signs_from: Moment(key.active_from),
        verifies_until,
    }
}
