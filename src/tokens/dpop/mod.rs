//! Proofs of possession (RFC 9449): whoever presents a bound token shows, for each request anew, that it has the key.
//!
//! A proof is good for one request. Which ones were used is in the database, so that none is good at a second process or after
//! a restart either, and no request has to be repeated for it: the price is one small write, which only those pay who send
//! proofs, after their limits were counted, and which many share that come at once (`claims`). A server's nonce is honoured and never asked for without a reason: every refusal
//! carries one, and a proof with it is judged by when we gave the nonce out, so that a client with a wrong clock can go on.

mod claims;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod target;
#[cfg(test)]
mod tests;

use crate::clock::{Clock, Timestamp};
use crate::error::Fault;
use crate::ids::Digest;
use crate::jose::{self, PublicKey};
use crate::oauth::error::Code;
use crate::store::Store;
use crate::vault::Vault;
use claims::Claims;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::{Number, Value};
use std::time::Duration;

/// The field that carries a proof (RFC 9449 §4.1).
pub const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The field that carries a nonce of ours (RFC 9449 §8).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// How far a client's clock may be off, to either side.
const WINDOW: Duration = Duration::from_secs(60);
/// How long a nonce of ours is good.
const NONCE_LIFE: Duration = Duration::from_secs(300);
/// How long a used proof is remembered: longer than any proof is accepted, by processes with different clocks.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Checks proofs.
pub struct Proofs {
    claims: Claims,
    vault: Vault,
    clock: Clock,
}

/// The request that a proof must be made for.
pub struct Purpose<'a> {
    /// The method, as it was sent.
    pub method: &'a str,
    /// The address under which the caller knows us; a query does not matter.
    pub url: &'a str,
    /// At a resource: the token that comes with the proof, and the thumbprint that it is bound to.
    pub token: Option<(&'a str, &'a str)>,
}

/// Why nobody believes that the caller has the key.
pub enum Unproven {
    /// The proof does not hold.
    Refused {
        /// `invalid_dpop_proof`, or `use_dpop_nonce` for one with a nonce that is not ours or not ours any more.
        code: Code,
        /// For the developer of the client.
        why: &'static str,
        /// A nonce for the next try: the `DPoP-Nonce` of the answer.
        nonce: String,
    },
    /// We could not find out.
    Failed(Fault),
}

/// What a proof says (RFC 9449 §4.2).
#[derive(Deserialize)]
struct Statement {
    jti: String,
    htm: String,
    htu: String,
    iat: Number,
    ath: Option<String>,
    nonce: Option<String>,
}

impl Proofs {
    pub(super) fn new(store: Store, vault: Vault, clock: Clock) -> Self {
        Self { claims: Claims::new(store), vault, clock }
    }

    /// The thumbprint of the key that sent this request, once it has proved that (RFC 9449 §4.3); `None` when there is no
    /// proof at all. A proof that was checked is used up: call this when nothing else can refuse the request.
    ///
    /// # Errors
    /// [`Unproven`].
    pub async fn check(&self, headers: &HeaderMap, purpose: &Purpose<'_>) -> Result<Option<String>, Unproven> {
        let Some((thumbprint, claims)) = self.judge(headers, purpose)? else { return Ok(None) };
        // Identifiers of one key say nothing about those of another.
        let id = Digest::of(format!("dpop {thumbprint}.{}", claims.jti));
        let expires_at = self.clock.now().after(REMEMBERED);
        match self.claims.claim(id, expires_at).await {
            Ok(true) => Ok(Some(thumbprint)),
            Ok(false) => Err(self.invalid("the proof was used before: make a new one for every request")),
            Err(fault) => Err(Unproven::Failed(fault)),
        }
    }

    /// The thumbprint of the key and what the proof says, when all of it holds but that it is used for the first time.
    fn judge(&self, headers: &HeaderMap, purpose: &Purpose<'_>) -> Result<Option<(String, Statement)>, Unproven> {
        let mut values = headers.get_all(DPOP).iter();
        let Some(proof) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(self.invalid("there is more than one DPoP header"));
        }
        let proof = proof.to_str().map_err(|_| self.invalid("the DPoP header is not a JWT"))?;
        let (thumbprint, claims) = signed(proof).map_err(|why| self.invalid(why))?;
        fits(&claims, &thumbprint, purpose).map_err(|why| self.invalid(why))?;
        self.is_fresh(&claims)?;
        Ok(Some((thumbprint, claims)))
    }

    /// For whoever asks for a proof that is not there.
    pub fn missing(&self) -> Unproven {
        self.invalid("a DPoP header is needed")
    }

    fn is_fresh(&self, claims: &Statement) -> Result<(), Unproven> {
        let now = self.clock.now();
        if let Some(nonce) = &claims.nonce {
            let given =
                self.given_at(nonce).filter(|given| *given <= now.after(WINDOW) && now.since(*given) <= NONCE_LIFE);
            return given.map(drop).ok_or_else(|| self.refused(Code::UseDpopNonce, "use the nonce of this answer"));
        }
        let made = seconds(&claims.iat).ok_or_else(|| self.invalid("iat is not a time"))?;
        if made < now.before(WINDOW) || made > now.after(WINDOW) {
            return Err(self.invalid("iat is too far from our time: use the nonce of this answer, or set the clock"));
        }
        Ok(())
    }

    fn invalid(&self, why: &'static str) -> Unproven {
        self.refused(Code::InvalidDpopProof, why)
    }

    fn refused(&self, code: Code, why: &'static str) -> Unproven {
        Unproven::Refused { code, why, nonce: self.nonce() }
    }

    /// A nonce says when it was given out, and every process of this deployment can see that it is ours.
    fn nonce(&self) -> String {
        let given = self.clock.now().seconds().to_be_bytes();
        BASE64URL_NOPAD.encode(&[&given[..], &self.vault.mark(NONCE, &given)].concat())
    }

    fn given_at(&self, nonce: &str) -> Option<Timestamp> {
        let decoded = BASE64URL_NOPAD.decode(nonce.as_bytes()).ok()?;
        let (given, mark) = decoded.split_first_chunk()?;
        self.vault.has_marked(NONCE, given, mark).then(|| Timestamp(i64::from_be_bytes(*given)))
    }
}

/// What the vault's mark on a nonce is for.
const NONCE: &str = "dpop nonce";

/// The thumbprint of the key that is in a proof, and what it says: the key has signed it.
fn signed(proof: &str) -> Result<(String, Statement), &'static str> {
    const NOT_A_PROOF: &str = "the DPoP header is not a JWT of the type dpop+jwt with its public key in jwk";
    let header = jose::header(proof).map_err(|_| NOT_A_PROOF)?;
    if !header.get("typ").and_then(Value::as_str).is_some_and(|typ| typ.eq_ignore_ascii_case("dpop+jwt")) {
        return Err(NOT_A_PROOF);
    }
    let key = PublicKey::parse(header.get("jwk").ok_or(NOT_A_PROOF)?);
    let key = key.map_err(|_| "jwk is not a public key for one of the algorithms that we support")?;
    let claims = key.verify(proof).map_err(|error| match error {
        jose::Untrusted::Malformed => "the proof lacks one of jti, htm, htu and iat, or is malformed",
        jose::Untrusted::Algorithm | jose::Untrusted::UnknownKey => {
            "alg is none that we support, or does not fit the key"
        }
        jose::Untrusted::Signature => "the signature is wrong",
    })?;
    Ok((key.thumbprint().to_owned(), claims.claims))
}

fn fits(claims: &Statement, thumbprint: &str, purpose: &Purpose<'_>) -> Result<(), &'static str> {
    if claims.jti.is_empty() {
        return Err("jti is empty");
    }
    if claims.htm != purpose.method {
        return Err("htm is not the method of this request");
    }
    if !target::same(&claims.htu, purpose.url) {
        return Err("htu is not the address of this request");
    }
    let Some((token, bound_to)) = purpose.token else { return Ok(()) };
    if claims.ath.as_deref() != Some(BASE64URL_NOPAD.encode(&Digest::of(token).0).as_str()) {
        return Err("ath is not the SHA-256 of the access token");
    }
    if thumbprint != bound_to {
        return Err("the access token is bound to another key");
    }
    Ok(())
}

/// A `NumericDate` (RFC 7519 §2), which may have a fraction.
fn seconds(date: &Number) -> Option<Timestamp> {
    // A float saturates; times so far away are refused anyway.
    #[allow(clippy::cast_possible_truncation)]
    date.as_i64().or_else(|| date.as_f64().map(|seconds| seconds as i64)).map(Timestamp)
}
