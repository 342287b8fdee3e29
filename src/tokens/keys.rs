//! The signing keys: made on first start, sealed in the store, published as a JWK set (RFC 7517).

use crate::clock::Clock;
use crate::error::Fault;
use crate::ids::Random;
use crate::jose;
use crate::store::{self, Store};
use crate::vault::{Place, Vault};
use arc_swap::ArcSwap;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// The keys in force.
pub struct SigningKeys {
    store: Store,
    vault: Vault,
    ring: ArcSwap<KeyRing>,
}

/// One key: what signs, what verifies, and what is published.
pub(super) struct Key {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
    jwk: Value,
}

struct KeyRing {
    signing: Arc<Key>,
    by_kid: HashMap<String, Arc<Key>>,
}

impl SigningKeys {
    /// Loads the keys, making the first one (ES256).
    ///
    /// # Errors
    /// When the store fails or the vault cannot open a key.
    pub async fn load(store: Store, vault: Vault, clock: Clock, random: Random) -> Result<Self, Fault> {
        jose::install();
        if store.signing_keys().await?.iter().all(|key| key.retired_at.is_some()) {
            make_first(&store, &vault, &clock, &random).await?;
        }
        let ring = ArcSwap::from_pointee(read(&store, &vault).await?);
        Ok(Self { store, vault, ring })
    }

    /// Loads again, after [`crate::store::Change::KeysChanged`].
    ///
    /// # Errors
    /// As [`SigningKeys::load`].
    pub async fn reload(&self) -> Result<(), Fault> {
        self.ring.store(Arc::new(read(&self.store, &self.vault).await?));
        Ok(())
    }

    /// The public keys as a JWK set.
    pub fn jwks(&self) -> serde_json::Value {
        let ring = self.ring.load();
        let mut keys: Vec<_> = ring.by_kid.values().collect();
        keys.sort_by_key(|key| (key.kid != ring.signing.kid, &key.kid));
        json!({ "keys": keys.iter().map(|key| &key.jwk).collect::<Vec<_>>() })
    }

    pub(super) fn signing(&self) -> Arc<Key> {
        self.ring.load().signing.clone()
    }

    pub(super) fn find(&self, kid: &str) -> Option<Arc<Key>> {
        self.ring.load().by_kid.get(kid).cloned()
    }
}

/// Two processes that start at once on an empty database both get here and both insert. That does no harm: both keys
/// verify everywhere, and both processes sign with the older one as soon as they know of it.
async fn make_first(store: &Store, vault: &Vault, clock: &Clock, random: &Random) -> Result<(), Fault> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random.source())
        .map_err(|_| Fault::gateway("ring could not generate a signing key"))?;
    let kid = Key::from_pkcs8(Algorithm::ES256, pkcs8.as_ref())?.kid;
    let sealed = vault.seal(&place(&kid), pkcs8.as_ref());
    let row =
        store::SigningKey { kid, algorithm: "ES256".to_owned(), sealed, created_at: clock.now(), retired_at: None };
    Ok(store.insert_signing_key(&row).await?)
}

async fn read(store: &Store, vault: &Vault) -> Result<KeyRing, Fault> {
    let mut rows = store.signing_keys().await?;
    rows.sort_by(|a, b| (a.created_at, &a.kid).cmp(&(b.created_at, &b.kid)));
    let mut by_kid = HashMap::new();
    let mut signing = None;
    for row in rows {
        let key = Arc::new(open(vault, &row)?);
        if row.retired_at.is_none() && signing.is_none() {
            signing = Some(key.clone());
        }
        by_kid.insert(row.kid, key);
    }
    let signing = signing.ok_or_else(|| Fault::gateway("every signing key is retired: restart to make a new one"))?;
    Ok(KeyRing { signing, by_kid })
}

fn open(vault: &Vault, row: &store::SigningKey) -> Result<Key, Fault> {
    let pkcs8 = vault
        .open(&place(&row.kid), &row.sealed)
        .map_err(|error| Fault::gateway(format_args!("signing key {}: {error}", row.kid)))?;
    let algorithm = match row.algorithm.as_str() {
        "ES256" => Algorithm::ES256,
        "EdDSA" => Algorithm::EdDSA,
        other => return Err(Fault::gateway(format_args!("signing key {}: unknown algorithm {other}", row.kid))),
    };
    let key = Key::from_pkcs8(algorithm, &pkcs8)?;
    if key.kid != row.kid {
        return Err(Fault::gateway(format_args!("signing key {} is stored under the wrong name", row.kid)));
    }
    Ok(key)
}

fn place(kid: &str) -> Place<'_> {
    Place { table: "signing_keys", row: kid, column: "sealed", person: "", upstream: "" }
}

impl Key {
    pub(super) fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, Fault> {
        let damaged = |_| Fault::gateway("a signing key is damaged");
        let (encoding, public) = if algorithm == Algorithm::EdDSA {
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(damaged)?;
            (EncodingKey::from_ed_der(pkcs8), pair.public_key().as_ref().to_vec())
        } else {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new())
                .map_err(damaged)?;
            (EncodingKey::from_ec_der(pkcs8), pair.public_key().as_ref().to_vec())
        };
        let (thumbprint_input, members) = public_members(algorithm, &public);
        let kid = thumbprint(&thumbprint_input);
        let decoding = match algorithm {
            Algorithm::EdDSA => DecodingKey::from_ed_der(&public),
            _ => DecodingKey::from_ec_der(&public),
        };
        let mut jwk = members;
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(if algorithm == Algorithm::EdDSA { "EdDSA" } else { "ES256" });
        Ok(Self { kid, algorithm, encoding, decoding, jwk })
    }
}

/// The required members of the public key, once as RFC 7638 §3 wants them for the thumbprint, once for the JWK.
fn public_members(algorithm: Algorithm, public: &[u8]) -> (String, Value) {
    if algorithm == Algorithm::EdDSA {
        let x = BASE64URL_NOPAD.encode(public);
        return (
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
            json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
        );
    }
    // An uncompressed point: 0x04, then both coordinates (SEC 1 §2.3.3).
    let (x, y) = public.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
    let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
    (
        format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}),
    )
}

fn thumbprint(members: &str) -> String {
    BASE64URL_NOPAD.encode(&crate::ids::Digest::of(members).0)
}
