//! Signatures: what we sign with, and what others sign: key sets (RFC 7517) and compact signatures (RFC 7515) with claims
//! (RFC 7519). Whose keys they are, when a token expires and for whom it is meant is the caller's to know.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod party;
mod ring_provider;
#[cfg(test)]
mod tests;

pub(crate) use ring_provider::install;

use crate::ids::Digest;
use crate::json;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The algorithms that we accept of others, by their registered names: asymmetric ones only (RFC 8725 §3.1).
pub const ALGORITHMS: [&str; 5] = ["ES256", "ES384", "EdDSA", "RS256", "PS256"];

/// What we sign with ourselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SigningAlgorithm {
    /// ECDSA with P-256 and SHA-256 (RFC 7518 §3.4), which every library verifies.
    #[default]
    Es256,
    /// Ed25519 (RFC 8037).
    EdDsa,
}

impl SigningAlgorithm {
    /// The registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            SigningAlgorithm::Es256 => "ES256",
            SigningAlgorithm::EdDsa => "EdDSA",
        }
    }
}

impl std::str::FromStr for SigningAlgorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Es256, Self::EdDsa].into_iter().find(|algorithm| algorithm.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is not an algorithm that we sign with: write \"ES256\" or \"EdDSA\""))
    }
}

/// Longer texts are not even decoded.
const MAX_LENGTH: usize = 16 * 1024;
/// More keys than this are not looked at.
const MAX_KEYS: usize = 64;

/// The public keys of one party.
#[derive(Clone)]
pub struct KeySet {
    keys: Vec<PublicKey>,
}

/// One public key, and what it may be used for.
#[derive(Clone)]
pub struct PublicKey {
    kid: Option<String>,
    /// The only algorithm, where the key names one.
    algorithm: Option<Algorithm>,
    decoding: DecodingKey,
    thumbprint: String,
}

/// A signed text whose signature has been verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed<T> {
    /// `typ` as it was written (RFC 8725 §3.11 wants it compared).
    pub typ: Option<String>,
    /// What was signed.
    pub claims: T,
}

/// Why a signed text is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Not a compact JWS with a JSON payload of the right shape, or with a critical extension.
    #[error("it is not a signed JWT with the members that are needed")]
    Malformed,
    /// `none`, a symmetric algorithm, or one that we do not know.
    #[error("its algorithm is not one of ES256, ES384, EdDSA, RS256, PS256")]
    Algorithm,
    /// No key of the set fits: it may be newer than our copy of the set.
    #[error("it is signed with a key that is not in the key set")]
    UnknownKey,
    /// The signature is not that of a key in the set.
    #[error("its signature is wrong")]
    Signature,
}

/// Not a JWK, or a JWK set without members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JWK set with public keys that we can use")]
pub struct InvalidKeys;

impl KeySet {
    /// Parses a JWK set. Keys of kinds that we do not know, and keys for encryption, are passed over (RFC 7517 §5).
    ///
    /// # Errors
    /// When it is no JWK set, has a private or symmetric key in it, or no key that we can use.
    pub fn parse(document: &Value) -> Result<Self, InvalidKeys> {
        let listed = document.get("keys").and_then(Value::as_array).ok_or(InvalidKeys)?;
        if listed.iter().any(is_secret) {
            return Err(InvalidKeys);
        }
        let keys: Vec<_> = listed.iter().take(MAX_KEYS).filter_map(|key| PublicKey::parse(key).ok()).collect();
        if keys.is_empty() { Err(InvalidKeys) } else { Ok(Self { keys }) }
    }

    /// The claims of `token`, if a key of the set signed it. Without `kid` every key of the right kind is tried.
    ///
    /// # Errors
    /// [`Untrusted`].
    pub fn verify<T: DeserializeOwned>(&self, token: &str) -> Result<Signed<T>, Untrusted> {
        let head = Head::of(token)?;
        let algorithm = head.algorithm()?;
        let fits = |key: &&PublicKey| {
            (head.kid.is_none() || key.kid.is_none() || key.kid == head.kid) && key.can_verify(algorithm)
        };
        let mut last = Untrusted::UnknownKey;
        for key in self.keys.iter().filter(fits) {
            match key.check(token, &head, algorithm) {
                Ok(signed) => return Ok(signed),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl PublicKey {
    /// Parses a JWK.
    ///
    /// # Errors
    /// When it is private, symmetric, of a kind that we do not know, or not for signatures.
    pub fn parse(jwk: &Value) -> Result<Self, InvalidKeys> {
        let members = jwk.as_object().ok_or(InvalidKeys)?;
        if is_secret(jwk) || members.get("use").is_some_and(|usage| usage != "sig") {
            return Err(InvalidKeys);
        }
        let algorithm = match members.get("alg").and_then(Value::as_str) {
            Some(name) => Some(algorithm(name).ok_or(InvalidKeys)?),
            None => None,
        };
        // Only what the key is made of: other members may have forms that the library does not know.
        let thumbprint = thumbprint(members).ok_or(InvalidKeys)?;
        let essence = ["kty", "crv", "x", "y", "n", "e"].into_iter();
        let essence: Map<_, _> =
            essence.filter_map(|name| Some((name.to_owned(), members.get(name)?.clone()))).collect();
        let jwk: Jwk = serde_json::from_value(Value::Object(essence)).map_err(|_| InvalidKeys)?;
        let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| InvalidKeys)?;
        let kid = members.get("kid").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { kid, algorithm, decoding, thumbprint })
    }

    /// The SHA-256 thumbprint in base64url (RFC 7638).
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The claims of `token`, if this key signed it, whatever `kid` says.
    ///
    /// # Errors
    /// [`Untrusted`].
    pub fn verify<T: DeserializeOwned>(&self, token: &str) -> Result<Signed<T>, Untrusted> {
        let head = Head::of(token)?;
        let algorithm = head.algorithm()?;
        if self.can_verify(algorithm) { self.check(token, &head, algorithm) } else { Err(Untrusted::UnknownKey) }
    }

    fn can_verify(&self, algorithm: Algorithm) -> bool {
        self.decoding.family() == algorithm.family() && self.algorithm.is_none_or(|only| only == algorithm)
    }

    fn check<T: DeserializeOwned>(
        &self,
        token: &str,
        head: &Head,
        algorithm: Algorithm,
    ) -> Result<Signed<T>, Untrusted> {
        install();
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let data = jsonwebtoken::decode::<T>(token, &self.decoding, &validation);
        let claims = data.map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => Untrusted::Signature,
            _ => Untrusted::Malformed,
        })?;
        Ok(Signed { typ: head.typ.clone(), claims: claims.claims })
    }
}

/// Whether `token` is worth looking for a key: a compact JWS with an algorithm that we accept.
///
/// # Errors
/// [`Untrusted::Malformed`], [`Untrusted::Algorithm`].
pub fn check_form(token: &str) -> Result<(), Untrusted> {
    Head::of(token)?.algorithm().map(drop)
}

/// The header of a compact JWS, unverified: for those who must find the key first.
///
/// # Errors
/// [`Untrusted::Malformed`].
pub fn header(token: &str) -> Result<Map<String, Value>, Untrusted> {
    if token.len() > MAX_LENGTH {
        return Err(Untrusted::Malformed);
    }
    part(token, 0)
}

/// The claims of a compact JWS, unverified: for those who must find out whose key to use.
///
/// # Errors
/// [`Untrusted::Malformed`].
pub fn unverified_claims<T: DeserializeOwned>(token: &str) -> Result<T, Untrusted> {
    if token.len() > MAX_LENGTH {
        return Err(Untrusted::Malformed);
    }
    part(token, 1)
}

fn part<T: DeserializeOwned>(token: &str, index: usize) -> Result<T, Untrusted> {
    let encoded = token.split('.').nth(index).ok_or(Untrusted::Malformed)?;
    let decoded = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| Untrusted::Malformed)?;
    json::object(&decoded).map_err(|_| Untrusted::Malformed)
}

/// What a header says that we act upon. `jku`, `jwk` and `x5u` are never followed (RFC 8725 §3.10).
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

impl Head {
    fn of(token: &str) -> Result<Self, Untrusted> {
        if token.len() > MAX_LENGTH || token.split('.').count() != 3 {
            return Err(Untrusted::Malformed);
        }
        let head: Self = part(token, 0)?;
        // We understand no extension, so none may be critical (RFC 7515 §4.1.11).
        if head.crit.is_some() { Err(Untrusted::Malformed) } else { Ok(head) }
    }

    fn algorithm(&self) -> Result<Algorithm, Untrusted> {
        algorithm(&self.alg).ok_or(Untrusted::Algorithm)
    }
}

fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "ES256" => Some(Algorithm::ES256),
        "ES384" => Some(Algorithm::ES384),
        // RFC 9864 calls the same by the name of its curve.
        "EdDSA" | "Ed25519" => Some(Algorithm::EdDSA),
        "RS256" => Some(Algorithm::RS256),
        "PS256" => Some(Algorithm::PS256),
        _ => None,
    }
}

fn is_secret(jwk: &Value) -> bool {
    ["d", "k", "p", "q"].into_iter().any(|member| jwk.get(member).is_some())
}

/// RFC 7638 §3: the required members of the kind of key, in the order of their names.
fn thumbprint(members: &Map<String, Value>) -> Option<String> {
    let names: &[&str] = match members.get("kty")?.as_str()? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let texts: Option<Vec<_>> =
        names.iter().map(|name| Some(format!("\"{name}\":{}", Value::from(members.get(*name)?.as_str()?)))).collect();
    Some(BASE64URL_NOPAD.encode(&Digest::of(format!("{{{}}}", texts?.join(","))).0))
}
