//! Verifying an access token: once per token, then from memory.

use super::AccessTokens;
use super::keys::Key;
use super::mint::{Actor, Confirmation, TYPE};
use super::token::{AccessToken, Terms};
use crate::clock::Timestamp;
use crate::freshness::Outdated;
use crate::ids::{GrantId, Random};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::Algorithm;
use ring::digest;
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Longer texts are not tokens of ours; they are not even hashed.
pub(super) const MAX_LENGTH: usize = 16 * 1024;
/// How many verified tokens are remembered. Beyond that one gives way for each new one, and is verified once more when it comes
/// again. Only valid tokens get here, so whoever wants to crowd out others' needs that many of ours.
pub(super) const REMEMBERED: usize = 1 << 20;
/// How far the clock of another node may be ahead of ours when it mints.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

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

    /// Verifies signature, type (`at+jwt`), times and the grant's life. The result is remembered under a keyed digest of the
    /// whole token for as long as the token lives. Issuer and audience are the caller's to compare.
    ///
    /// A token that is seen for the first time is verified right here, on the thread that serves others too: 70 µs are about
    /// two requests, and handing it to another thread and back would cost the same thread a third of that and two wake-ups.
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

    /// Gives the memory of tokens back that are worth nothing any more. That they are refused does not depend on it.
    pub fn sweep(&self) {
        let now = self.clock.now();
        self.verified.retain(|token| now < token.expires_at() && !token.life.has_ended());
        self.terms.sweep();
    }

    /// The same by what is in memory, which the caller knows to be good enough.
    fn verify_as_known(&self, token: &str) -> Result<Arc<AccessToken>, Unverified> {
        let mark = self.marks.of(token);
        let known = match self.verified.find(mark.hash(), |known| known.mark == mark) {
            Some(known) if !self.is_interrupted(&known) => known,
            _ => {
                let new = Arc::new(AccessToken { mark, ..self.verify_anew(token)? });
                self.verified.insert(new.clone(), |known| known.mark == mark);
                new
            }
        };
        if known.expires_at() <= self.clock.now() || known.life.has_ended() {
            return Err(Unverified::Invalid);
        }
        Ok(known)
    }

    /// Whether the life that a token was verified with has ended, and its grant has not.
    fn is_interrupted(&self, known: &AccessToken) -> bool {
        known.life.has_ended() && !self.lives.has_ended(known.grant())
    }

    fn verify_anew(&self, token: &str) -> Result<AccessToken, Unverified> {
        let (message, signature) = token.rsplit_once('.').ok_or(Unverified::Invalid)?;
        let (header, payload) = message.split_once('.').ok_or(Unverified::Invalid)?;
        let key = self.key_of(header).ok_or(Unverified::Invalid)?;
        let is_signed = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.decoding, key.algorithm);
        if !is_signed.unwrap_or(false) {
            return Err(Unverified::Invalid);
        }
        let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).map_err(|_| Unverified::Invalid)?;
        let claims: Claims<'_> = serde_json::from_slice(&payload).map_err(|_| Unverified::Invalid)?;
        if claims.exp <= claims.iat || claims.iat > self.clock.now().after(CLOCK_SKEW).seconds() {
            return Err(Unverified::Invalid);
        }
        let expires_at = Timestamp(claims.exp).min(Timestamp(claims.iat).after(self.longest_ttl()));
        // Whoever gets hold of a retired key cannot make its tokens live longer than the last true one.
        let expires_at = key.spent_at.map_or(expires_at, |spent_at| expires_at.min(spent_at));
        if expires_at <= self.clock.now() {
            return Err(Unverified::Invalid);
        }
        let grant: GrantId = claims.gid.parse().map_err(|_| Unverified::Invalid)?;
        let user = claims.sub.parse().map_err(|_| Unverified::Invalid)?;
        let life = self.lives.of(grant);
        // Asked again once there is a life: a key that is taken away at this moment ends it.
        self.keys.find(&key.kid).ok_or(Unverified::Invalid)?;
        let terms = Terms {
            issuer: claims.iss.into(),
            audience: claims.aud.into(),
            client_id: claims.client_id.into(),
            scope: claims.scope.into(),
            actor: claims.act.map(|actor| actor.sub),
            confirmation: claims.cnf.map(|confirmation| confirmation.jkt),
        };
        Ok(AccessToken::new((user, &*claims.username), self.terms.of(terms), life, expires_at))
    }

    /// The key of a token by its encoded header. Those that we write are compared as they are; the same header in another
    /// spelling is read.
    fn key_of(&self, encoded: &str) -> Option<Arc<Key>> {
        if let Some(key) = self.keys.find_by_header(encoded) {
            return Some(key);
        }
        let header: Header = serde_json::from_slice(&BASE64URL_NOPAD.decode(encoded.as_bytes()).ok()?).ok()?;
        let is_access_token = [TYPE, "application/at+jwt"].iter().any(|typ| header.typ.eq_ignore_ascii_case(typ));
        self.keys.find(&header.kid).filter(|key| is_access_token && header.alg == key.algorithm)
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

/// The claims of our tokens as they are read, which copies as little as it can; `mint.rs` writes them.
#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    iss: Cow<'a, str>,
    #[serde(borrow)]
    aud: Cow<'a, str>,
    #[serde(borrow)]
    sub: Cow<'a, str>,
    #[serde(borrow)]
    username: Cow<'a, str>,
    #[serde(borrow)]
    client_id: Cow<'a, str>,
    #[serde(borrow, default)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    gid: Cow<'a, str>,
    /// We write it into every token.
    #[serde(rename = "jti", borrow)]
    _jti: Cow<'a, str>,
    iat: i64,
    exp: i64,
    #[serde(default)]
    act: Option<Actor>,
    #[serde(default)]
    cnf: Option<Confirmation>,
}

/// What a token is found by: 96 bits of a keyed digest of all of it. Only this process knows the key, so nobody can look for two
/// texts with the same one elsewhere; here every attempt is a request, and has one chance in 2⁷⁶ with a million tokens.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark([u8; 12]);

impl Mark {
    pub(super) fn hash(&self) -> u64 {
        self.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

/// Makes marks: SHA-256, begun with a block of secret bytes.
pub(super) struct Marks(digest::Context);

impl Marks {
    pub(super) fn new(random: &Random) -> Self {
        let mut keyed = digest::Context::new(&digest::SHA256);
        keyed.update(&random.bytes::<64>());
        Self(keyed)
    }

    fn of(&self, token: &str) -> Mark {
        let mut context = self.0.clone();
        context.update(token.as_bytes());
        context.finish().as_ref().first_chunk().map_or_else(Mark::default, |first| Mark(*first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_of_the_whole_text_and_means_nothing_elsewhere() {
        let (here, there) = (Marks::new(&Random::default()), Marks::new(&Random::default()));
        let text = "x".repeat(400);
        assert!(here.of(&text) == here.of(&text));
        for other in [&text[1..], &format!("{text}x"), &format!("{}y", &text[1..]), &format!("y{}", &text[1..])] {
            assert!(here.of(other) != here.of(&text), "{other}");
        }
        assert!(here.of(&text) != there.of(&text));
    }
}
