//! The signing keys: made on first start, sealed in the store, published as a JWK set (RFC 7517). Which of them does what is a
//! matter of time alone (`line`), so that every process knows without being told; who makes the next one is in `rotation`.

mod key;
mod line;
mod rotation;
#[cfg(test)]
mod tests;

pub use line::{JWKS_MAX_AGE, KeyState, PUBLISH_AHEAD, states};
pub use rotation::Rotation;

use super::dpop::Proofs;
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::error::Fault;
use crate::ids::Random;
use crate::jose;
use crate::store::{self, Store};
use crate::vault::{Place, Vault};
use arc_swap::ArcSwap;
pub(super) use key::Key;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// The keys that there are.
pub struct SigningKeys {
    store: Store,
    vault: Vault,
    clock: Clock,
    random: Random,
    ring: ArcSwap<KeyRing>,
    /// The longest life that this process gives its tokens, in seconds. Every key that may sign has it in its row before a
    /// token is made with it.
    longest_here: AtomicU64,
    reloading: Mutex<()>,
}

struct KeyRing {
    /// In the order in which they sign; never empty.
    line: Vec<Arc<Key>>,
    by_kid: HashMap<Box<str>, Arc<Key>>,
    longest_ttl: Duration,
}

/// What became of the keys that were known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reloaded {
    /// Those that are gone had no living token.
    InTime,
    /// One is gone with living tokens, which are worth nothing from now on.
    Abandoned,
}

impl SigningKeys {
    /// Loads the keys, making the first one. From now on tokens are minted that live for `config.access_ttl`.
    ///
    /// # Errors
    /// When the store fails or the vault cannot open a key.
    pub async fn load(
        store: Store,
        vault: Vault,
        clock: Clock,
        random: Random,
        config: &config::Tokens,
    ) -> Result<Self, Fault> {
        jose::install();
        let rotation = Rotation { store: &store, vault: &vault, random: &random, now: clock.now(), config };
        rotation.make_first().await?;
        let longest_here = AtomicU64::new(config.access_ttl.as_secs());
        let rows = promised(&store, clock.now(), config.access_ttl).await?;
        let ring = ArcSwap::from_pointee(KeyRing::open(&vault, &rows)?);
        Ok(Self { store, vault, clock, random, ring, longest_here, reloading: Mutex::default() })
    }

    /// Loads again, after [`crate::store::Change::KeysChanged`].
    ///
    /// # Errors
    /// As [`SigningKeys::load`].
    pub(super) async fn reload(&self) -> Result<Reloaded, Fault> {
        // One at a time: an older reading must not replace a newer one.
        let _alone = self.reloading.lock().await;
        let longest_here = Duration::from_secs(self.longest_here.load(Ordering::Relaxed));
        let rows = promised(&self.store, self.clock.now(), longest_here).await?;
        let old = self.ring.swap(Arc::new(KeyRing::open(&self.vault, &rows)?));
        let now = self.clock.now();
        let is_abandoned = |key: &Arc<Key>| !key.is_spent(now) && rows.iter().all(|row| *row.kid != *key.kid);
        Ok(if old.line.iter().any(is_abandoned) { Reloaded::Abandoned } else { Reloaded::InTime })
    }

    /// From now on tokens are minted that live for `access_ttl`; shorter than before is no change, since such are out.
    ///
    /// # Errors
    /// When the store fails: then no such token may be minted.
    pub(super) async fn outlast(&self, access_ttl: Duration) -> Result<Reloaded, Fault> {
        self.longest_here.fetch_max(access_ttl.as_secs(), Ordering::Relaxed);
        self.reload().await
    }

    /// Publishes the next key when `config` says that it is time, and removes keys whose tokens have all expired. Every
    /// process may do this at any time: one alone publishes. The `kid` of a new key.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn maintain(&self, config: &config::Tokens) -> Result<Option<String>, Fault> {
        let (store, vault, random) = (&self.store, &self.vault, &self.random);
        let rotation = Rotation { store, vault, random, now: self.clock.now(), config };
        rotation.remove_spent().await?;
        rotation.publish_if_due().await
    }

    /// The same database and vault for proofs of possession.
    pub(super) fn proofs(&self) -> Proofs {
        Proofs::new(self.store.clone(), self.vault.clone(), self.clock.clone())
    }

    /// The public keys as a JWK set: the one that signs first.
    pub fn jwks(&self) -> serde_json::Value {
        let (ring, now) = (self.ring.load(), self.clock.now());
        let signing = ring.signing(now);
        let rest = ring.line.iter().filter(|key| key.kid != signing.kid && !key.is_spent(now));
        let keys: Vec<_> = std::iter::once(signing).chain(rest).map(|key| &key.jwk).collect();
        json!({ "keys": keys })
    }

    /// What a token may be signed with, by registered names: today and as far ahead as keys are published.
    pub fn algorithms(&self) -> Vec<String> {
        let (ring, now) = (self.ring.load(), self.clock.now());
        let mut algorithms: Vec<_> =
            ring.line.iter().filter(|key| !key.is_spent(now)).map(|key| key.signs_with).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        algorithms.into_iter().map(|algorithm| algorithm.as_str().to_owned()).collect()
    }

    /// How long a token lives at most that any of the keys signed.
    pub(super) fn longest_ttl(&self) -> Duration {
        self.ring.load().longest_ttl
    }

    pub(super) fn signing(&self) -> Arc<Key> {
        self.ring.load().signing(self.clock.now()).clone()
    }

    pub(super) fn find(&self, kid: &str) -> Option<Arc<Key>> {
        self.ring.load().by_kid.get(kid).cloned()
    }

    /// The key whose tokens have this header, byte for byte. There are two or three.
    pub(super) fn find_by_header(&self, encoded: &str) -> Option<Arc<Key>> {
        self.ring.load().line.iter().find(|key| key.encoded_header == encoded).cloned()
    }
}

impl KeyRing {
    fn open(vault: &Vault, rows: &[store::SigningKey]) -> Result<Self, Fault> {
        let mut line = Vec::with_capacity(rows.len());
        for (position, row) in rows.iter().enumerate() {
            line.push(Arc::new(open(vault, row, line::spent_at(rows, position))?));
        }
        if line.is_empty() {
            return Err(Fault::gateway("there is no signing key: restart to make a new one"));
        }
        let by_kid = line.iter().map(|key: &Arc<Key>| (key.kid.clone().into(), key.clone())).collect();
        let longest = rows.iter().map(line::token_ttl).max().unwrap_or_default();
        Ok(Self { line, by_kid, longest_ttl: longest })
    }

    /// The last one whose time has come. Where the clock is behind that of whoever made the first key, that one.
    fn signing(&self, now: Timestamp) -> &Arc<Key> {
        self.line.iter().rfind(|key| key.active_from <= now).unwrap_or(&self.line[0])
    }
}

/// The keys, after it was noted of each that may still sign that its tokens live for `ttl`.
async fn promised(store: &Store, now: Timestamp, ttl: Duration) -> Result<Vec<store::SigningKey>, Fault> {
    let mut rows = store.signing_keys().await?;
    let first = line::signing(&rows, now);
    for row in rows.iter_mut().skip(first).filter(|row| line::token_ttl(row) < ttl) {
        store.extend_signing_key(&row.kid, ttl).await?;
        row.token_ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    }
    Ok(rows)
}

fn open(vault: &Vault, row: &store::SigningKey, spent_at: Option<Timestamp>) -> Result<Key, Fault> {
    let pkcs8 = vault
        .open(&place(&row.kid), &row.sealed)
        .map_err(|error| Fault::gateway(format_args!("signing key {}: {error}", row.kid)))?;
    let key = Key::from_pkcs8(row.algorithm, &pkcs8)?;
    if key.kid != row.kid {
        return Err(Fault::gateway(format_args!("signing key {} is stored under the wrong name", row.kid)));
    }
    Ok(Key { active_from: row.active_from, spent_at, ..key })
}

fn place(kid: &str) -> Place<'_> {
    Place { table: "signing_keys", row: kid, column: "sealed", person: "", upstream: "" }
}
