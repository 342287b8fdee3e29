//! The second step: may this caller use this upstream? The answer is a [`Permit`], and nothing goes on without one.

use super::reply::{Refusal, TokenError};
use super::route::Target;
use crate::connect::ConnectionKey;
use crate::hostname::Realm;
use crate::oauth::scheme::Scheme;
use crate::paths;
use crate::ratelimit::RateLimits;
use crate::tokens::{AccessToken, AccessTokens, Purpose, Unproven, Unverified};
use http::{HeaderMap, header};
use pingora::http::RequestHeader;
use std::sync::Arc;

/// Proof that a request carries a valid token for the hostname it was sent to, and is within its limits.
pub(super) struct Permit {
    token: Arc<AccessToken>,
    key: ConnectionKey,
}

impl Permit {
    /// The token behind it.
    pub(super) fn token(&self) -> &Arc<AccessToken> {
        &self.token
    }

    /// Which connection the request uses.
    pub(super) fn key(&self) -> &ConnectionKey {
        &self.key
    }
}

/// Proof that a request carries a valid token for where it was sent to, one of our own MCP servers, and is within its limits.
pub(super) struct Entry {
    token: Arc<AccessToken>,
    realm: Realm,
}

impl Entry {
    /// The token behind it.
    pub(super) fn token(&self) -> &Arc<AccessToken> {
        &self.token
    }

    /// Where it leads.
    pub(super) fn realm(&self) -> &Realm {
        &self.realm
    }
}

/// Admits a request (RFC 6750 §2.1: the header only; RFC 8707: the audience decides; RFC 9449 §7: a bound token comes with a
/// proof, and only such a token does).
///
/// # Errors
/// The challenge, or the limit, to answer with.
pub(super) async fn admit(
    tokens: &AccessTokens,
    limits: &RateLimits,
    target: &Target,
    request: &RequestHeader,
) -> Result<Permit, Refusal> {
    let shown = presented(&request.headers)?;
    let token = verified(tokens, shown.1).await?;
    if &*token.issuer != target.origin.as_str() || !target.is_audience(&token.audience) {
        return Err(Refusal::Unauthorized(TokenError::Invalid));
    }
    if !target.is_usable() {
        // Approval comes with the authorization flow; a token that is older than a withdrawn approval leads there again.
        return Err(Refusal::Unauthorized(TokenError::Invalid));
    }
    if !target.upstream.access.admits(token.user) {
        return Err(Refusal::NotPermitted);
    }
    limits
        .check_user(token.user)
        .and_then(|()| limits.check_user_upstream(token.user, &target.upstream.authority))
        .and_then(|()| limits.check_client(&token.client_id))
        .map_err(Refusal::Limited)?;
    possesses(tokens, &target.origin, request, (shown, &token)).await?;
    let key = ConnectionKey::upstream(token.user, target.upstream.authority.clone(), target.label.account.clone());
    Ok(Permit { token, key })
}

/// The same for an MCP hostname whose server is a program of ours: nothing is forwarded.
///
/// # Errors
/// As [`admit`].
pub(super) async fn admit_to_one(
    tokens: &AccessTokens,
    limits: &RateLimits,
    target: &Target,
    request: &RequestHeader,
) -> Result<Entry, Refusal> {
    let permit = admit(tokens, limits, target, request).await?;
    Ok(Entry { token: permit.token, realm: Realm::Mcp(target.label.clone()) })
}

/// The same for the unified endpoint of the root domain, whose origin this is. It is for everybody; what a person may not use is not in it.
///
/// # Errors
/// As [`admit`].
pub(super) async fn admit_to_all(
    tokens: &AccessTokens,
    limits: &RateLimits,
    origin: &str,
    request: &RequestHeader,
) -> Result<Entry, Refusal> {
    let shown = presented(&request.headers)?;
    let token = verified(tokens, shown.1).await?;
    // Not the whole origin: a token for the admin API is worth nothing here.
    let is_audience = token.audience.strip_prefix(origin).is_some_and(paths::is_unified);
    if &*token.issuer != origin || !is_audience {
        return Err(Refusal::Unauthorized(TokenError::Invalid));
    }
    limits.check_user(token.user).and_then(|()| limits.check_client(&token.client_id)).map_err(Refusal::Limited)?;
    possesses(tokens, origin, request, (shown, &token)).await?;
    Ok(Entry { token, realm: Realm::Root })
}

async fn verified(tokens: &AccessTokens, presented: &str) -> Result<Arc<AccessToken>, Refusal> {
    tokens.verified(presented).await.map_err(|unverified| match unverified {
        Unverified::Invalid => Refusal::Unauthorized(TokenError::Invalid),
        Unverified::Outdated(outdated) => Refusal::Outdated(outdated),
    })
}

/// Whether a token that is bound to a key came with a proof of it, and only such a token did.
async fn possesses(
    tokens: &AccessTokens,
    origin: &str,
    request: &RequestHeader,
    ((scheme, presented), token): ((Scheme, &str), &AccessToken),
) -> Result<(), Refusal> {
    match (scheme, token.confirmation.as_deref()) {
        (Scheme::Bearer, None) => Ok(()),
        (Scheme::Bearer, Some(_)) => Err(Refusal::Unauthorized(TokenError::Bound)),
        (Scheme::Dpop, None) => Err(Refusal::Unauthorized(TokenError::Invalid)),
        (Scheme::Dpop, Some(key)) => Box::pin(prove(tokens, origin, request, (presented, key))).await,
    }
}

/// Whether the caller has the key that its token is bound to. Comes last: a proof is used up by looking at it.
async fn prove(
    tokens: &AccessTokens,
    origin: &str,
    request: &RequestHeader,
    token: (&str, &str),
) -> Result<(), Refusal> {
    let url = format!("{origin}{}", request.uri.path());
    let purpose = Purpose { method: request.method.as_str(), url: &url, token: Some(token) };
    let unproven = match tokens.proofs().check(&request.headers, &purpose).await {
        Ok(Some(_)) => return Ok(()),
        Ok(None) => tokens.proofs().missing(),
        Err(unproven) => unproven,
    };
    Err(match unproven {
        Unproven::Refused { code, why, nonce } => Refusal::Unproven { error: code.as_str(), why, nonce },
        Unproven::Failed(fault) => {
            tracing::error!(%fault, "a proof of possession could not be checked");
            Refusal::Internal
        }
    })
}

/// The one token of a request.
fn presented(headers: &HeaderMap) -> Result<(Scheme, &str), Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Unauthorized(TokenError::Missing))?;
    if values.next().is_some() {
        return Err(Refusal::BadRequest("more than one Authorization header"));
    }
    let text = value.to_str().map_err(|_| Refusal::Unauthorized(TokenError::Invalid))?;
    Scheme::of(text).ok_or(Refusal::Unauthorized(TokenError::Missing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_one_token_in_the_header_counts() {
        assert_eq!(presented(&headers(&["Bearer abc"])).ok(), Some((Scheme::Bearer, "abc")));
        assert_eq!(presented(&headers(&["bEARER  abc"])).ok(), Some((Scheme::Bearer, "abc")));
        assert_eq!(presented(&headers(&["DPoP abc"])).ok(), Some((Scheme::Dpop, "abc")));
        assert!(matches!(presented(&headers(&[])), Err(Refusal::Unauthorized(TokenError::Missing))));
        assert!(matches!(presented(&headers(&["Basic abc"])), Err(Refusal::Unauthorized(TokenError::Missing))));
        assert!(matches!(presented(&headers(&["Bearer"])), Err(Refusal::Unauthorized(TokenError::Missing))));
        assert!(matches!(presented(&headers(&["Bearer a", "Bearer b"])), Err(Refusal::BadRequest(_))));
    }
}
