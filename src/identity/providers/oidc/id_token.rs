//! What an ID token must say once its signature is good (OpenID Connect Core §3.1.3.7).

use crate::clock::Timestamp;
use crate::jose::{self, Signed};
use data_encoding::BASE64URL_NOPAD;
use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use serde_json::{Map, Value};
use std::time::Duration;

/// How far two clocks may be apart.
const LEEWAY: Duration = Duration::from_secs(60);
/// The longest subject (Core §2).
const LONGEST_SUBJECT: usize = 255;

/// What the token must fit.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// What came with it.
    pub(super) access_token: &'a str,
}

/// The subject of an ID token that is meant for us and for this very sign-in; else what is wrong with it.
pub(super) fn check(
    token: &str,
    signed: &Signed<Map<String, Value>>,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<String, &'static str> {
    let claims = &signed.claims;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    // A logout token or an access token of the same issuer is signed with the same keys (RFC 8725 §3.11).
    if signed.typ.as_deref().is_some_and(|typ| typ.to_ascii_lowercase().ends_with("+jwt")) {
        return Err("typ is that of another kind of token");
    }
    if text("iss") != Some(expected.issuer) {
        return Err("iss is another issuer");
    }
    check_audience(claims, expected.client_id)?;
    let time = |name: &str| claims.get(name).and_then(Value::as_f64).map(|seconds| Timestamp(seconds as i64));
    if time("exp").ok_or("exp is missing")?.after(LEEWAY) <= now {
        return Err("it has expired");
    }
    if time("iat").ok_or("iat is missing")? > now.after(LEEWAY) {
        return Err("iat is in the future");
    }
    if time("nbf").is_some_and(|nbf| nbf > now.after(LEEWAY)) {
        return Err("nbf is in the future");
    }
    if text("nonce") != Some(expected.nonce) {
        return Err("nonce is not that of this sign-in");
    }
    if let Some(at_hash) = claims.get("at_hash") {
        check_access_token(token, at_hash, expected.access_token)?;
    }
    let subject = text("sub").filter(|sub| !sub.is_empty() && sub.len() <= LONGEST_SUBJECT);
    subject.map(str::to_owned).ok_or("sub is missing or too long")
}

/// We are in `aud`; where others are too, `azp` says that it is for us; and `azp` is nobody else (§3.1.3.7, 3 to 5).
fn check_audience(claims: &Map<String, Value>, client_id: &str) -> Result<(), &'static str> {
    let (for_us, alone) = match claims.get("aud") {
        Some(Value::String(audience)) => (audience == client_id, true),
        Some(Value::Array(list)) => (list.iter().any(|audience| audience == client_id), list.len() == 1),
        _ => (false, false),
    };
    match claims.get("azp") {
        _ if !for_us => Err("aud is another client"),
        Some(azp) if azp != client_id => Err("azp is another client"),
        None if !alone => Err("aud has others in it, and azp is missing"),
        _ => Ok(()),
    }
}

/// §3.1.3.8: the left half of the hash of the access token, with the hash function of the signature.
fn check_access_token(token: &str, at_hash: &Value, access_token: &str) -> Result<(), &'static str> {
    let header = jose::header(token).map_err(|_| "its header cannot be read")?;
    let function: &'static Algorithm = match header.get("alg").and_then(Value::as_str) {
        Some("ES384") => &SHA384,
        Some("EdDSA" | "Ed25519") => &SHA512,
        _ => &SHA256,
    };
    let hash = digest(function, access_token.as_bytes());
    let half = &hash.as_ref()[..hash.as_ref().len() / 2];
    let fits = at_hash.as_str().is_some_and(|at_hash| at_hash == BASE64URL_NOPAD.encode(half));
    if fits { Ok(()) } else { Err("at_hash is not that of the access token") }
}
