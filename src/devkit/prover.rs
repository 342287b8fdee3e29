//! A client's key, with which it proves for every request that it has it (RFC 9449), rightly or wrongly.

use crate::clock::Timestamp;
use crate::error::Fault;
use crate::ids::{Digest, Random};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

/// An ES256 key.
pub struct Prover {
    pair: EcdsaKeyPair,
    random: Random,
}

impl Prover {
    /// With a key of its own.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self, Fault> {
        let random = Random::default();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::generate_pkcs8(algorithm, random.source())
            .ok()
            .and_then(|pkcs8| EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), random.source()).ok());
        Ok(Self { pair: pair.ok_or_else(|| Fault::gateway("ring could not generate a key"))?, random })
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> Value {
        let (x, y) = self.coordinates();
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
    }

    /// Its SHA-256 thumbprint (RFC 7638), the `jkt`.
    pub fn thumbprint(&self) -> String {
        let (x, y) = self.coordinates();
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        BASE64URL_NOPAD.encode(&Digest::of(members).0)
    }

    /// A proof for one request; at a resource with the token that comes with it.
    pub fn proof(&self, method: &str, url: &str, token: Option<&str>, now: Timestamp) -> String {
        self.sign(&self.header(), &self.claims(method, url, token, now))
    }

    /// The header of a proof.
    pub fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()})
    }

    /// The claims of a proof, with an identifier that was never used.
    pub fn claims(&self, method: &str, url: &str, token: Option<&str>, now: Timestamp) -> Value {
        let jti = HEXLOWER.encode(&self.random.bytes::<16>());
        let mut claims = json!({"jti": jti, "htm": method, "htu": url, "iat": now.seconds()});
        if let Some(token) = token {
            claims["ath"] = json!(BASE64URL_NOPAD.encode(&Digest::of(token).0));
        }
        claims
    }

    /// Whatever header and claims, correctly signed.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// Whatever stands in the place of header and claims, correctly signed.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let encoded = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let input = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.pair.sign(self.random.source(), input.as_bytes());
        let signature = signature.map(|signature| BASE64URL_NOPAD.encode(signature.as_ref())).unwrap_or_default();
        format!("{input}.{signature}")
    }

    fn coordinates(&self) -> (String, String) {
        // An uncompressed point: 0x04, then both coordinates (SEC 1 §2.3.3).
        let point = self.pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at_checked(32).unwrap_or_default();
        (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y))
    }
}
