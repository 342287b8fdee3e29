//! `authorization_code` (OAuth 2.1 §4.1.3): everything is checked before the code is consumed, and consumed once.

use super::refresh;
use crate::ids::Digest;
use crate::issuer::Issuer;
use crate::issuer::reply::Refused;
use crate::issuer::token::{Issue, TokenRequest};
use crate::oauth::error::Code;
use crate::oauth::grant_type::GrantType;
use crate::oauth::pkce::Challenge;
use crate::store::AuthorizationCode;

/// Exchanges a code.
pub(in crate::issuer) async fn exchange(issuer: &Issuer, request: &TokenRequest<'_>) -> Result<Issue, Refused> {
    let digest = Digest::of(request.form.require("code")?);
    let verifier = request.form.require("code_verifier")?;
    let code = issuer.store.code(&digest).await?.ok_or_else(unknown)?;
    let living = issuer.living_grant(request, code.grant).await?;
    if code.used_at.is_some() {
        return Err(replayed(issuer, &code).await);
    }
    if code.expires_at <= issuer.clock.now() {
        return Err(unknown());
    }
    // OAuth 2.1 has no redirect_uri here any more; a client that sends one must send the right one.
    if request.form.get("redirect_uri").is_some_and(|uri| uri != code.redirect_uri) {
        return Err(Refused::because(Code::InvalidGrant, "redirect_uri differs from the authorization request"));
    }
    request.check_binding(issuer, code.dpop_jkt.as_deref())?;
    if !Challenge::parse(&code.code_challenge).is_some_and(|challenge| challenge.is_answered_by(verifier)) {
        return Err(Refused::because(Code::InvalidGrant, "code_verifier does not answer the code_challenge"));
    }
    if !issuer.store.consume_code(&digest, issuer.clock.now()).await? {
        return Err(replayed(issuer, &code).await);
    }
    let refresh_token = match request.client.metadata.allows(GrantType::RefreshToken) {
        true => Some(refresh::first(issuer, request, code.grant).await?),
        false => None,
    };
    let scope = living.grant().scope.clone();
    Ok(Issue { living, scope, refresh_token, exchanged: None })
}

fn unknown() -> Refused {
    Refused::because(Code::InvalidGrant, "the code is unknown or has expired")
}

/// Two parties have the code, and we cannot know which is the right one (RFC 6749 §4.1.2).
async fn replayed(issuer: &Issuer, code: &AuthorizationCode) -> Refused {
    tracing::warn!(grant = %code.grant, "an authorization code was presented twice: its grant ends");
    match issuer.revocations.grant(code.grant).await {
        Ok(_) => Refused::because(Code::InvalidGrant, "the code was used before: the authorization has ended"),
        Err(error) => error.into(),
    }
}
