//! Verifying an access token: once per token, then from memory.

use super::AccessTokens;
use super::mint::{Claims, TYPE};
use crate::clock::{Clock, Timestamp};
use crate::freshness::Outdated;
use crate::ids::{Digest, GrantId, UserId};
use crate::life::Life;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, Validation};
use moka::Expiry;
use moka::sync::Cache;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer texts are not tokens of ours; they are not even hashed.
const MAX_LENGTH: usize = 16 * 1024;
/// How many verified tokens are remembered.
const CACHE_ENTRIES: u64 = 100_000;
/// How far the clock of another node may be ahead of ours when it mints.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// A verified token. Its existence is the proof; fields are for reading.
#[derive(Debug)]
pub struct AccessToken {
    /// `iss`: the issuer identifier of a realm of ours.
    pub issuer: Box<str>,
    /// `aud`: one resource.
    pub audience: Box<str>,
    /// `sub`.
    pub user: UserId,
    /// `username`.
    pub username: Box<str>,
    /// `client_id`.
    pub client_id: Box<str>,
    /// `scope`, space-separated.
    pub scope: Box<str>,
    /// The grant.
    pub grant: GrantId,
    /// `exp`.
    pub expires_at: Timestamp,
    /// `act`: the client that acts for the person, where the token was exchanged for the person's.
    pub actor: Option<Box<str>>,
    /// `cnf.jkt`: the key that must prove itself beside the token (RFC 9449).
    pub confirmation: Option<Box<str>>,
    /// Ends when the grant is revoked.
    pub life: Arc<Life>,
}

/// Why a token was not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// It is not a valid token of ours: wrong signature, wrong type, expired, revoked. Callers learn no more than that.
    #[error("the access token is invalid, expired or revoked")]
    Invalid,
    /// Nothing is wrong with the token as far as anybody knows, but what was revoked lately cannot be known: the answer is 503
    /// and never 401, which would make clients throw good tokens away.
    #[error(transparent)]
    Outdated(#[from] Outdated),
}

impl AccessTokens {
    /// [`AccessTokens::verify`], which waits for a moment where memory is not current.
    ///
    /// # Errors
    /// [`Unverified`].
    pub async fn verified(&self, token: &str) -> Result<Arc<AccessToken>, Unverified> {
        match self.verify(token) {
            Err(Unverified::Outdated(_)) => {
                // On the heap: nearly no request ever waits here.
                Box::pin(self.freshness.regained()).await?;
                self.verify_as_known(token)
            }
            known => known,
        }
    }

    /// Verifies signature, type (`at+jwt`), times and the grant's life. The result is remembered under the SHA-256 of
    /// the whole token for as long as the token lives. Issuer and audience are the caller's to compare.
    ///
    /// # Errors
    /// [`Unverified::Invalid`], whatever the reason; [`Unverified::Outdated`] when it cannot be known whether it is revoked.
    pub fn verify(&self, token: &str) -> Result<Arc<AccessToken>, Unverified> {
        if token.len() > MAX_LENGTH {
            return Err(Unverified::Invalid);
        }
        // A signature may be that of a key, a grant one that ended, of which only the journal would tell.
        if !self.freshness.is_current() {
            return Err(Outdated.into());
        }
        self.verify_as_known(token)
    }

    /// The same by what is in memory, which the caller knows to be good enough.
    fn verify_as_known(&self, token: &str) -> Result<Arc<AccessToken>, Unverified> {
        let digest = Digest::of(token);
        let known = match self.verified.get(&digest) {
            Some(known) if !self.is_interrupted(&known) => known,
            _ => {
                let new = Arc::new(self.verify_anew(token)?);
                self.verified.insert(digest, new.clone());
                new
            }
        };
        if known.expires_at <= self.clock.now() || known.life.has_ended() {
            return Err(Unverified::Invalid);
        }
        Ok(known)
    }

    /// Whether the life that a token was verified with has ended, and its grant has not.
    fn is_interrupted(&self, known: &AccessToken) -> bool {
        known.life.has_ended() && !self.lives.has_ended(known.grant)
    }

    fn verify_anew(&self, token: &str) -> Result<AccessToken, Unverified> {
        let header = Header::of(token).ok_or(Unverified::Invalid)?;
        let key = self.keys.find(&header.kid).ok_or(Unverified::Invalid)?;
        let is_access_token = [TYPE, "application/at+jwt"].iter().any(|typ| header.typ.eq_ignore_ascii_case(typ));
        if !is_access_token || header.alg != key.algorithm {
            return Err(Unverified::Invalid);
        }
        let data = jsonwebtoken::decode::<Claims>(token, &key.decoding, &signature_only(key.algorithm));
        let claims = data.map_err(|_| Unverified::Invalid)?.claims;
        if claims.exp <= claims.iat || claims.iat > self.clock.now().after(CLOCK_SKEW).seconds() {
            return Err(Unverified::Invalid);
        }
        let expires_at = Timestamp(claims.exp).min(Timestamp(claims.iat).after(self.longest_ttl()));
        // Whoever gets hold of a retired key cannot make its tokens live longer than the last true one.
        let expires_at = key.spent_at.map_or(expires_at, |spent_at| expires_at.min(spent_at));
        if expires_at <= self.clock.now() {
            return Err(Unverified::Invalid);
        }
        let grant = claims.gid.parse().map_err(|_| Unverified::Invalid)?;
        let life = self.lives.of(grant);
        // Asked again once there is a life: a key that is taken away at this moment ends it.
        self.keys.find(&header.kid).ok_or(Unverified::Invalid)?;
        Ok(AccessToken {
            user: claims.sub.parse().map_err(|_| Unverified::Invalid)?,
            issuer: claims.iss,
            audience: claims.aud,
            username: claims.username,
            client_id: claims.client_id,
            scope: claims.scope,
            grant,
            expires_at,
            actor: claims.act.map(|actor| actor.sub),
            confirmation: claims.cnf.map(|confirmation| confirmation.jkt),
            life,
        })
    }
}

/// The header of a token of ours: these three members and no other. `jku`, `jwk`, `x5u`, `crit` and whatever else could
/// lead a verifier astray make a text that we did not sign (RFC 8725 §3.10).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    typ: String,
    alg: Algorithm,
    kid: String,
}

impl Header {
    fn of(token: &str) -> Option<Self> {
        let (encoded, _) = token.split_once('.')?;
        serde_json::from_slice(&BASE64URL_NOPAD.decode(encoded.as_bytes()).ok()?).ok()
    }
}

/// Times are compared with our own clock, issuer and audience by the caller.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

/// What has been verified, by the SHA-256 of the whole token.
pub(super) fn cache(clock: Clock) -> Cache<Digest, Arc<AccessToken>> {
    Cache::builder().max_capacity(CACHE_ENTRIES).expire_after(UntilExpiry(clock)).build()
}

/// Gives the memory back when the token has expired. That an expired token is refused does not depend on it.
struct UntilExpiry(Clock);

impl Expiry<Digest, Arc<AccessToken>> for UntilExpiry {
    fn expire_after_create(&self, _: &Digest, token: &Arc<AccessToken>, _: Instant) -> Option<Duration> {
        Some(token.expires_at.since(self.0.now()))
    }
}
