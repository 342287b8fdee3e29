//! One key: what signs, what verifies, and what is published.

use crate::clock::Timestamp;
use crate::error::Fault;
use crate::ids::{Digest, Random};
use crate::jose::SigningAlgorithm;
use crate::tokens::mint::TYPE;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// A key and its time.
pub(in crate::tokens) struct Key {
    pub(in crate::tokens) kid: String,
    pub(in crate::tokens) algorithm: Algorithm,
    /// The header of its tokens.
    pub(in crate::tokens) header: Header,
    /// The same as it stands in them.
    pub(super) encoded_header: String,
    pub(in crate::tokens) encoding: EncodingKey,
    pub(in crate::tokens) decoding: DecodingKey,
    pub(super) signs_with: SigningAlgorithm,
    pub(super) jwk: Value,
    pub(super) active_from: Timestamp,
    /// When the last token that it signed has expired, once that is known.
    pub(in crate::tokens) spent_at: Option<Timestamp>,
}

impl Key {
    pub(super) fn from_pkcs8(signs_with: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, Fault> {
        let damaged = |_| Fault::gateway("a signing key is damaged");
        let (encoding, public) = match signs_with {
            SigningAlgorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(damaged)?;
                (EncodingKey::from_ed_der(pkcs8), pair.public_key().as_ref().to_vec())
            }
            SigningAlgorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new());
                (EncodingKey::from_ec_der(pkcs8), pair.map_err(damaged)?.public_key().as_ref().to_vec())
            }
        };
        let (algorithm, decoding) = match signs_with {
            SigningAlgorithm::EdDsa => (Algorithm::EdDSA, DecodingKey::from_ed_der(&public)),
            SigningAlgorithm::Es256 => (Algorithm::ES256, DecodingKey::from_ec_der(&public)),
        };
        let (thumbprint_input, mut jwk) = public_members(signs_with, &public);
        let kid = BASE64URL_NOPAD.encode(&Digest::of(thumbprint_input).0);
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(signs_with.as_str());
        let (typ, own) = (Some(TYPE.to_owned()), Some(kid.clone()));
        let header = Header { typ, kid: own, ..Header::new(algorithm) };
        let encoded = serde_json::to_vec(&header).map_err(Fault::gateway)?;
        Ok(Self {
            kid,
            algorithm,
            header,
            encoded_header: BASE64URL_NOPAD.encode(&encoded),
            encoding,
            decoding,
            signs_with,
            jwk,
            active_from: Timestamp(0),
            spent_at: None,
        })
    }

    pub(super) fn is_spent(&self, now: Timestamp) -> bool {
        self.spent_at.is_some_and(|at| at <= now)
    }
}

/// A new key in PKCS#8, and its `kid`: the thumbprint (RFC 7638).
pub(super) fn generate(algorithm: SigningAlgorithm, random: &Random) -> Result<(String, Zeroizing<Vec<u8>>), Fault> {
    let pkcs8 = match algorithm {
        SigningAlgorithm::EdDsa => Ed25519KeyPair::generate_pkcs8(random.source()),
        SigningAlgorithm::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random.source()),
    };
    let pkcs8 = pkcs8.map_err(|_| Fault::gateway("ring could not generate a signing key"))?;
    let pkcs8 = Zeroizing::new(pkcs8.as_ref().to_vec());
    Ok((Key::from_pkcs8(algorithm, &pkcs8)?.kid, pkcs8))
}

/// The required members of the public key, once as RFC 7638 §3 wants them for the thumbprint, once for the JWK.
fn public_members(algorithm: SigningAlgorithm, public: &[u8]) -> (String, Value) {
    if algorithm == SigningAlgorithm::EdDsa {
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
