//! The vault: every secret that we must be able to use again is sealed before it reaches the database (decision 5).
//!
//! A sealed value, format 1:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | format |
//! | 8 | id of the vault key |
//! | 12 + 32 + 16 | data key of this value, wrapped by the vault key: nonce, ciphertext, tag |
//! | 12 + n + 16 | the value, sealed by the data key: nonce, ciphertext, tag |
//!
//! Both layers are AES-256-GCM and authenticate the same context: format, key id and [`Place`].

mod envelope;
#[cfg(test)]
mod tests;

use crate::error::Fault;
use crate::ids::Random;
use crate::secret::Secret;
use crate::store::Store;
use data_encoding::BASE64;
use envelope::{Envelope, KEY_LEN, MARK_LEN, VaultKey};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Where a sealed value lives. It is authenticated together with the value, so that a row moved elsewhere, or given to
/// another person, does not open.
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
    #[error("sealed with a vault key that is not configured: add it to vault.previous_key_files")]
    UnknownKey,
    /// Damaged, moved, or sealed for something else.
    #[error("a sealed value is damaged or does not belong where it was found")]
    Rejected,
}

/// The keyring and what it can do. Cloning shares the keys.
#[derive(Clone)]
pub struct Vault(Arc<Keyring>);

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
        Ok(Self(Arc::new(Keyring {
            current: parse_key(current, "vault.key_file")?,
            previous: previous
                .iter()
                .map(|key| parse_key(key, "vault.previous_key_files"))
                .collect::<Result<_, _>>()?,
            random: Random::default(),
        })))
    }

    /// A fresh key in the form that [`Vault::new`] takes.
    pub fn generate_key(random: &Random) -> Secret {
        let key = Zeroizing::new(random.bytes::<KEY_LEN>());
        Secret::new(BASE64.encode(key.as_ref()))
    }

    /// Refuses a database that was sealed with other keys; marks a new one with ours.
    ///
    /// # Errors
    /// When the keyring does not fit the database.
    pub async fn check(&self, store: &Store) -> Result<(), Fault> {
        store.put_setting_if_absent(CHECK.row, &self.seal(&CHECK, CHECK_VALUE)).await?;
        let mark = store.setting(CHECK.row).await?.unwrap_or_default();
        // A mark that opens with a previous key is not renewed here: while that key is needed for other rows, its loss
        // must keep the gateway from starting.
        match self.open(&CHECK, &mark) {
            Ok(value) if *value == CHECK_VALUE => Ok(()),
            _ => Err(Fault::gateway(
                "the vault key does not fit this database: vault.key_file must hold the key that the database was made \
                 with, or vault.previous_key_files must list it beside the new one",
            )),
        }
    }

    /// Seals a value for its place: a fresh data key, wrapped by the current key, AES-256-GCM both.
    pub fn seal(&self, place: &Place<'_>, value: &[u8]) -> Vec<u8> {
        envelope::seal(&self.0.current, &self.0.random, place, value)
    }

    /// Opens what [`Vault::seal`] made for the same place.
    ///
    /// # Errors
    /// When it was made for another place, with an unknown key, or is damaged.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let envelope = Envelope::parse(sealed).ok_or(VaultError::Rejected)?;
        let mut keys = std::iter::once(&self.0.current).chain(&self.0.previous);
        let key = keys.find(|key| envelope.is_sealed_with(key)).ok_or(VaultError::UnknownKey)?;
        envelope.open(key, place).ok_or(VaultError::Rejected)
    }
}

impl Vault {
    /// A mark on a value that is given out and comes back (HMAC-SHA-256 with a key derived from the current one): the value is
    /// no secret, but must be ours. Any number may be made, unlike sealed values, whose nonces are random.
    pub fn mark(&self, purpose: &str, value: &[u8]) -> [u8; MARK_LEN] {
        self.0.current.mark(purpose, value)
    }

    /// Whether [`Vault::mark`] made this for the same purpose, here or in a process with the same key.
    pub fn has_marked(&self, purpose: &str, value: &[u8], mark: &[u8]) -> bool {
        std::iter::once(&self.0.current).chain(&self.0.previous).any(|key| key.has_marked(purpose, value, mark))
    }
}

/// The setting that only the right keyring opens.
const CHECK: Place<'static> =
    Place { table: "settings", row: "vault.check", column: "value", person: "", upstream: "" };
const CHECK_VALUE: &[u8] = b"portcullis";

fn parse_key(text: &Secret, setting: &str) -> Result<VaultKey, Fault> {
    let bytes = BASE64.decode(text.expose().trim().as_bytes()).map(Zeroizing::new).ok();
    bytes.and_then(|bytes| VaultKey::new(&bytes)).ok_or_else(|| {
        Fault::gateway(format!(
            "{setting}: a vault key is 32 bytes in base64 on one line; `portcullis vault keygen` prints one"
        ))
    })
}
