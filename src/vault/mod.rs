//! The vault: every secret that we must be able to use again is sealed before it reaches the database (decision 5).
//!
//! A sealed value, format 2:
//!
//! | bytes | what | authenticated with it |
//! |---|---|---|
//! | 1 | format | |
//! | 8 | id of the vault key | |
//! | 12 + 32 + 16 | data key of this value, wrapped by the vault key: nonce, ciphertext, tag | format, key id, [`Place`] |
//! | 12 + n + 16 | the value, sealed by the data key: nonce, ciphertext, tag | format, [`Place`] |
//!
//! Both layers are AES-256-GCM. Another vault key takes over by wrapping the data key; the value's own ciphertext stays.
//! Format 1, which is read and no longer written, authenticated the key id in both layers.

mod envelope;
mod key_id;
mod marks;
mod pin;
mod pkcs11;
mod places;
mod rewrap;
mod sources;
#[cfg(test)]
mod tests;
mod wrapped;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use envelope::HEAD_LEN;
pub use key_id::{KeyId, NotAKeyId};
pub use marks::Usage;
pub use pkcs11::Pkcs11;
pub use rewrap::{Damaged, Progress, Rewrapped};

use crate::error::Fault;
use crate::ids::Random;
use crate::secret::Secret;
use arc_swap::ArcSwap;
use data_encoding::BASE64;
use envelope::{Envelope, KEY_LEN, MARK_LEN, VaultKey};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Where a sealed value lives. It is authenticated together with the value, so that a row moved elsewhere, or given to
/// another person, does not open. Every table and column that is named in one is listed in `vault/places.rs`.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a str,
    /// The row's key, as text.
    pub row: &'a str,
    /// The column.
    pub column: &'a str,
    /// The person's id as text, empty when the value is nobody's.
    pub person: &'a str,
    /// The upstream's authority (or issuer), empty when there is none.
    pub upstream: &'a str,
}

/// Why a sealed value does not open. Says nothing about the content.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum VaultError {
    /// No key of that id in the keyring.
    #[error("sealed with the vault key {0}, which is not configured: add it to vault.previous_key_files")]
    UnknownKey(KeyId),
    /// Damaged, moved, or sealed for something else.
    #[error("a sealed value is damaged or does not belong where it was found")]
    Rejected,
}

/// The keyring and what it can do. Clones share the keys, also those that are installed later.
#[derive(Clone)]
pub struct Vault(Arc<ArcSwap<Keyring>>);

struct Keyring {
    current: VaultKey,
    previous: Vec<VaultKey>,
    random: Random,
}

impl Vault {
    /// A keyring of base64 keys (32 bytes each, on one line; surrounding white space is ignored). The first seals.
    ///
    /// # Errors
    /// When a key is not 32 bytes of base64; names the fix, never the key.
    pub fn new(current: &Secret, previous: &[Secret]) -> Result<Self, Fault> {
        let current = parse_key(current, "vault.key_file")?;
        let previous: Vec<VaultKey> =
            previous.iter().map(|key| parse_key(key, "vault.previous_key_files")).collect::<Result<_, _>>()?;
        let random = Random::default();
        Ok(Self(Arc::new(ArcSwap::from_pointee(Keyring { current, previous, random }))))
    }

    /// A fresh key in the form that [`Vault::new`] takes.
    pub fn generate_key(random: &Random) -> Secret {
        let key = Zeroizing::new(random.bytes::<KEY_LEN>());
        Secret::new(BASE64.encode(key.as_ref()))
    }

    /// Puts the keys of another vault in the place of these, for all clones; `false` when they are the same.
    pub fn install(&self, other: &Vault) -> bool {
        let other = other.0.load_full();
        let is_same = self.0.load().ids().eq(other.ids());
        self.0.store(other);
        !is_same
    }

    /// The id of the key that seals.
    pub fn current_key(&self) -> KeyId {
        self.0.load().current.id()
    }

    /// Whether there is a key of this id.
    pub fn has_key(&self, id: KeyId) -> bool {
        self.0.load().find(id).is_some()
    }

    /// Seals a value for its place: a fresh data key, wrapped by the current key, AES-256-GCM both.
    pub fn seal(&self, place: &Place<'_>, value: &[u8]) -> Vec<u8> {
        let ring = self.0.load();
        envelope::seal(&ring.current, &ring.random, place, value)
    }

    /// Opens what [`Vault::seal`] made for the same place.
    ///
    /// # Errors
    /// When it was made for another place, with an unknown key, or is damaged.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let ring = self.0.load();
        let envelope = Envelope::parse(sealed).ok_or(VaultError::Rejected)?;
        let key = ring.find(envelope.key_id()).ok_or(VaultError::UnknownKey(envelope.key_id()))?;
        envelope.open(key, place).ok_or(VaultError::Rejected)
    }

    /// What [`Vault::seal`] made for the same place, under the current key and in the format of today. The value itself
    /// is not opened.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn rewrap(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let ring = self.0.load();
        let envelope = Envelope::parse(sealed).ok_or(VaultError::Rejected)?;
        let key = ring.find(envelope.key_id()).ok_or(VaultError::UnknownKey(envelope.key_id()))?;
        envelope.rewrap(key, &ring.current, &ring.random, place).ok_or(VaultError::Rejected)
    }
}

impl Vault {
    /// A mark on a value that is given out and comes back (HMAC-SHA-256 with a key derived from the current one): the value is
    /// no secret, but must be ours. Any number may be made, unlike sealed values, whose nonces are random.
    pub fn mark(&self, purpose: &str, value: &[u8]) -> [u8; MARK_LEN] {
        self.0.load().current.mark(purpose, value)
    }

    /// Whether [`Vault::mark`] made this for the same purpose, here or in a process with the same key.
    pub fn has_marked(&self, purpose: &str, value: &[u8], mark: &[u8]) -> bool {
        self.0.load().keys().any(|key| key.has_marked(purpose, value, mark))
    }
}

impl Keyring {
    fn keys(&self) -> impl Iterator<Item = &VaultKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys().map(VaultKey::id)
    }

    /// Key ids are public: they need no constant time.
    fn find(&self, id: KeyId) -> Option<&VaultKey> {
        self.keys().find(|key| key.id() == id)
    }
}

fn parse_key(text: &Secret, setting: &str) -> Result<VaultKey, Fault> {
    let bytes = BASE64.decode(text.expose().trim().as_bytes()).map(Zeroizing::new).ok();
    bytes.and_then(|bytes| VaultKey::new(&bytes)).ok_or_else(|| {
        Fault::gateway(format!(
            "{setting}: a vault key is 32 bytes in base64 on one line; `portcullis vault keygen` prints one"
        ))
    })
}
