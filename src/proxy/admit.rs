//! The second step: may this caller use this upstream? The answer is a [`Permit`], and nothing goes on without one.

use super::reply::{Refusal, TokenError};
use super::route::Target;
use crate::connect::ConnectionKey;
use crate::ratelimit::RateLimits;
use crate::tokens::{AccessToken, AccessTokens};
use http::{HeaderMap, header};
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

/// Admits a request (RFC 6750 §2.1: the header only; RFC 8707: the audience decides).
///
/// # Errors
/// The challenge, or the limit, to answer with.
pub(super) fn admit(
    tokens: &AccessTokens,
    limits: &RateLimits,
    target: &Target,
    headers: &HeaderMap,
) -> Result<Permit, Refusal> {
    let bearer = bearer(headers)?;
    let token = tokens.verify(bearer).map_err(|_| Refusal::Unauthorized(TokenError::Invalid))?;
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
    let key = ConnectionKey {
        user: token.user,
        authority: target.upstream.authority.clone(),
        account: target.label.account.clone(),
    };
    Ok(Permit { token, key })
}

/// The one bearer token of a request.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Unauthorized(TokenError::Missing))?;
    if values.next().is_some() {
        return Err(Refusal::BadRequest("more than one Authorization header"));
    }
    let text = value.to_str().map_err(|_| Refusal::Unauthorized(TokenError::Invalid))?;
    match text.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer ") => Ok(token.trim_start_matches(' ')),
        _ => Err(Refusal::Unauthorized(TokenError::Missing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_one_bearer_token_in_the_header_counts() {
        assert_eq!(bearer(&headers(&["Bearer abc"])).ok(), Some("abc"));
        assert_eq!(bearer(&headers(&["bEARER  abc"])).ok(), Some("abc"));
        assert!(matches!(bearer(&headers(&[])), Err(Refusal::Unauthorized(TokenError::Missing))));
        assert!(matches!(bearer(&headers(&["Basic abc"])), Err(Refusal::Unauthorized(TokenError::Missing))));
        assert!(matches!(bearer(&headers(&["Bearer"])), Err(Refusal::Unauthorized(TokenError::Missing))));
        assert!(matches!(bearer(&headers(&["Bearer a", "Bearer b"])), Err(Refusal::BadRequest(_))));
    }
}
