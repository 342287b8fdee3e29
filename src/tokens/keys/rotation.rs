//! New keys take over from old ones: by schedule, by command, and at once when a key has leaked.

use super::line::{KeyState, PUBLISH_AHEAD};
use super::{key, place, states};
use crate::clock::Timestamp;
use crate::config;
use crate::error::Fault;
use crate::ids::Random;
use crate::store::{SigningKey, Store};
use crate::vault::Vault;
use std::time::Duration;

/// A key stays in the database this much longer than its tokens live, for processes whose clocks are behind.
const MARGIN: Duration = Duration::from_secs(3600);

/// What it takes to make keys.
pub struct Rotation<'a> {
    /// Where they are kept.
    pub store: &'a Store,
    /// What seals them.
    pub vault: &'a Vault,
    /// What they are made of.
    pub random: &'a Random,
    /// When this happens.
    pub now: Timestamp,
    /// What the new key signs with, how long its tokens live, and how long it signs.
    pub config: &'a config::Tokens,
}

impl Rotation<'_> {
    /// Publishes a new key, which signs from [`PUBLISH_AHEAD`] on; the very first one does at once.
    ///
    /// # Errors
    /// When a key waits already, somebody else publishes one at this moment, or the store fails.
    pub async fn publish(&self) -> Result<SigningKey, Fault> {
        let keys = self.store.signing_keys().await?;
        if let Some(waiting) = keys.last().filter(|key| key.active_from > self.now) {
            let why =
                "is published already and signs soon: see `portcullis keys list`; --now replaces every key at once";
            return Err(Fault::caller(format!("the key {} {why}", waiting.kid)));
        }
        let key = self.make(if keys.is_empty() { self.now } else { self.now.after(PUBLISH_AHEAD) })?;
        match self.store.append_signing_key(&key, keys.last().map(|key| key.kid.as_str())).await? {
            true => Ok(key),
            false => Err(Fault::caller("another process published a key just now: see `portcullis keys list`")),
        }
    }

    /// A new key takes the place of all others at once: whatever they signed is worth nothing any more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn replace_all(&self) -> Result<SigningKey, Fault> {
        let key = self.make(self.now)?;
        self.store.replace_signing_keys(&key).await?;
        Ok(key)
    }

    /// Makes the first key of a database that has none.
    pub(super) async fn make_first(&self) -> Result<(), Fault> {
        if self.store.signing_keys().await?.is_empty() {
            // Of processes that start at once on an empty database one gets here first, and its key is everybody's.
            self.store.append_signing_key(&self.make(self.now)?, None).await?;
        }
        Ok(())
    }

    /// Publishes the next key when the last one has signed nearly as long as it may; its `kid`.
    pub(super) async fn publish_if_due(&self) -> Result<Option<String>, Fault> {
        let Some(every) = self.config.key_rotation else { return Ok(None) };
        let keys = self.store.signing_keys().await?;
        let Some(last) = keys.last() else { return Ok(None) };
        // One that waits for its turn is not near its end: no configuration has keys that sign for less than two days.
        if self.now.after(PUBLISH_AHEAD) < last.active_from.after(every) {
            return Ok(None);
        }
        let key = self.make(self.now.after(PUBLISH_AHEAD))?;
        // Somebody else may have been faster, which is as good.
        Ok(self.store.append_signing_key(&key, Some(&last.kid)).await?.then_some(key.kid))
    }

    pub(super) async fn remove_spent(&self) -> Result<(), Fault> {
        let keys = self.store.signing_keys().await?;
        for (key, state) in keys.iter().zip(states(&keys, self.now.before(MARGIN))) {
            if state == KeyState::Spent {
                self.store.delete_signing_key(&key.kid).await?;
            }
        }
        Ok(())
    }

    fn make(&self, active_from: Timestamp) -> Result<SigningKey, Fault> {
        let algorithm = self.config.signing_algorithm;
        let (kid, pkcs8) = key::generate(algorithm, self.random)?;
        let sealed = self.vault.seal(&place(&kid), &pkcs8);
        let token_ttl = i64::try_from(self.config.access_ttl.as_secs()).unwrap_or(i64::MAX);
        Ok(SigningKey { kid, algorithm, sealed, created_at: self.now, active_from, token_ttl })
    }
}
