//! The vault: every secret that we must be able to use again is sealed before it reaches the database (decision 5).

use crate::error::Fault;
use crate::secret::Secret;
use crate::store::Store;
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
pub struct Vault {}

impl Vault {
    /// A keyring of base64 keys (32 bytes each, on one line; surrounding white space is ignored). The first seals.
    ///
    /// # Errors
    /// When a key is not 32 bytes of base64; names the fix, never the key.
    pub fn new(current: &Secret, previous: &[Secret]) -> Result<Self, Fault> {
        let _ = (current, previous);
        todo!()
    }

    /// A fresh key in the form that [`Vault::new`] takes.
    pub fn generate_key(random: &crate::ids::Random) -> Secret {
        let _ = random;
        todo!()
    }

    /// Refuses a database that was sealed with other keys; marks a new one with ours.
    ///
    /// # Errors
    /// When the keyring does not fit the database.
    pub async fn check(&self, store: &Store) -> Result<(), Fault> {
        let _ = store;
        todo!()
    }

    /// Seals a value for its place: a fresh data key, wrapped by the current key, AES-256-GCM both.
    pub fn seal(&self, place: &Place<'_>, value: &[u8]) -> Vec<u8> {
        let _ = (place, value);
        todo!()
    }

    /// Opens what [`Vault::seal`] made for the same place.
    ///
    /// # Errors
    /// When it was made for another place, with an unknown key, or is damaged.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let _ = (place, sealed);
        todo!()
    }
}
