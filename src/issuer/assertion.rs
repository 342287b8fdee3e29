//! Client authentication by a signed assertion, `private_key_jwt` (RFC 7523 §3): the client's own key, our audience, a short
//! life, used once.

use super::Issuer;
use super::clients::KnownClient;
use super::reply::Refused;
use super::resource;
use crate::clock::Timestamp;
use crate::hostname::Realm;
use crate::ids::Digest;
use crate::jose::{self, KeySet, Signed, Untrusted};
use crate::jwks::NotVerified;
use crate::oauth::error::{Code, OauthError};
use crate::oauth::registration::ClientKeys;
use serde::Deserialize;
use std::time::Duration;

/// The value of `client_assertion_type`.
pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How far ahead an assertion may expire: it is remembered for that long.
const LONGEST_LIFE: Duration = Duration::from_secs(15 * 60);
/// How far the client's clock may be off.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    nbf: Option<i64>,
    iat: Option<i64>,
    jti: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Whom an assertion claims to be about: nothing is verified yet.
pub(super) fn subject(assertion: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Subject {
        sub: String,
    }
    jose::unverified_claims::<Subject>(assertion).ok().map(|claims| claims.sub)
}

/// Believes an assertion, once.
///
/// # Errors
/// `invalid_client`; `temporarily_unavailable` while the client's keys cannot be fetched.
pub(super) async fn verify(
    issuer: &Issuer,
    realm: &Realm,
    client: &KnownClient,
    assertion: &str,
) -> Result<(), Refused> {
    check_algorithm(client, assertion)?;
    let Signed { typ, claims } = signed(issuer, client, assertion).await?;
    if !typ.as_deref().is_none_or(is_assertion) {
        return Err(wrong("its typ is that of another kind of token"));
    }
    let us = issuer.site.issuer(realm);
    check_claims(&claims, &client.id, &us, issuer.clock.now())?;
    // By what was signed, where it has no name of its own: its signature could be written in more than one way.
    let name = claims.jti.as_deref().or_else(|| assertion.rsplit_once('.').map(|(signed, _)| signed));
    let name = Digest::of(format!("client assertion\n{us}\n{}\n{}", client.id, name.unwrap_or_default()));
    match issuer.store.use_once(&name, Timestamp(claims.exp).after(CLOCK_SKEW)).await? {
        true => Ok(()),
        false => Err(wrong("it was used before")),
    }
}

async fn signed(issuer: &Issuer, client: &KnownClient, assertion: &str) -> Result<Signed<Claims>, Refused> {
    let verified = match &client.metadata.keys {
        Some(ClientKeys::Inline(set)) => {
            let set = KeySet::parse(set).map_err(|_| wrong("the client has no keys"))?;
            set.verify(assertion).map_err(NotVerified::Untrusted)
        }
        Some(ClientKeys::Remote(url)) => {
            issuer.remote_keys.verify(url, issuer.allow_private_documents, assertion).await
        }
        None => return Err(wrong("the client has no keys")),
    };
    verified.map_err(|error| match error {
        NotVerified::Untrusted(why) => wrong(&why.to_string()),
        NotVerified::NoKeys(_) => {
            Refused::because(Code::TemporarilyUnavailable, "the client's key set cannot be fetched at the moment")
        }
    })
}

/// `token_endpoint_auth_signing_alg`, where the client registered one.
fn check_algorithm(client: &KnownClient, assertion: &str) -> Result<(), Refused> {
    let Some(only) = &client.metadata.signing_alg else { return Ok(()) };
    let head = jose::header(assertion).map_err(|_| wrong(&Untrusted::Malformed.to_string()))?;
    // RFC 9864 gives EdDSA on that curve a name of its own.
    let usual = |name: &str| if name == "Ed25519" { "EdDSA".to_owned() } else { name.to_owned() };
    match head.get("alg").and_then(|name| name.as_str()) {
        Some(name) if usual(name) == usual(only) => Ok(()),
        _ => Err(wrong("it is not signed with the registered token_endpoint_auth_signing_alg")),
    }
}

/// So that a token which the client signed for another purpose is not taken for this (RFC 8725 §3.11).
fn is_assertion(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "client-authentication+jwt")
}

fn check_claims(claims: &Claims, client: &str, issuer: &str, now: Timestamp) -> Result<(), Refused> {
    if claims.iss != client || claims.sub != client {
        return Err(wrong("iss and sub must be the client_id"));
    }
    // Also in a list every member must be us: what others may use as well, others can replay here.
    let token_endpoint = format!("{issuer}/token");
    let is_us = |audience: &String| resource::same(audience, issuer) || *audience == token_endpoint;
    let for_us = match &claims.aud {
        Audience::One(audience) => is_us(audience),
        Audience::Several(audiences) => !audiences.is_empty() && audiences.iter().all(is_us),
    };
    if !for_us {
        return Err(wrong("aud must be the issuer or the token endpoint, and nothing else"));
    }
    if Timestamp(claims.exp).after(CLOCK_SKEW) <= now {
        return Err(wrong("it has expired"));
    }
    if Timestamp(claims.exp) > now.after(LONGEST_LIFE + CLOCK_SKEW) {
        return Err(wrong("exp must not be more than 15 minutes ahead"));
    }
    let is_ahead = |at: Option<i64>| at.is_some_and(|at| Timestamp(at) > now.after(CLOCK_SKEW));
    if is_ahead(claims.nbf) || is_ahead(claims.iat) {
        return Err(wrong("it is not valid yet"));
    }
    Ok(())
}

fn wrong(why: &str) -> Refused {
    OauthError::new(Code::InvalidClient, format!("the client assertion is refused: {why}")).into()
}
