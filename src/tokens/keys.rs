//! The signing keys: made on first start, sealed in the store, published as a JWK set (RFC 7517).

use crate::clock::Clock;
use crate::error::Fault;
use crate::ids::Random;
use crate::store::Store;
use crate::vault::Vault;

/// The keys in force.
pub struct SigningKeys {}

impl SigningKeys {
    /// Loads the keys, making the first one (ES256).
    ///
    /// # Errors
    /// When the store fails or the vault cannot open a key.
    pub async fn load(store: Store, vault: Vault, clock: Clock, random: Random) -> Result<Self, Fault> {
        let _ = (store, vault, clock, random);
        todo!()
    }

    /// Loads again, after [`crate::store::Change::KeysChanged`].
    ///
    /// # Errors
    /// As [`SigningKeys::load`].
    pub async fn reload(&self) -> Result<(), Fault> {
        todo!()
    }

    /// The public keys as a JWK set.
    pub fn jwks(&self) -> serde_json::Value {
        todo!()
    }
}
