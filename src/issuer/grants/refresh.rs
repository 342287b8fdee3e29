//! `refresh_token` (decision 2): tokens rotate, and a client that lost our answer gets the same answer again.

use crate::error::Fault;
use crate::ids::{Digest, GrantId};
use crate::issuer::Issuer;
use crate::issuer::reply::Refused;
use crate::issuer::token::{Issue, LivingGrant, TokenRequest};
use crate::oauth::error::Code;
use crate::oauth::scope::{OFFLINE_ACCESS, Scopes};
use crate::store::{RefreshToken, Successor};
use crate::vault::Place;
use data_encoding::HEXLOWER;

/// The first refresh token of a grant.
pub(super) async fn first(issuer: &Issuer, request: &TokenRequest<'_>, grant: GrantId) -> Result<String, Refused> {
    let token = issuer.random.token().to_string();
    let row = RefreshToken { dpop_jkt: request.binds_refresh_token_to(), ..row(issuer, &token, grant) };
    issuer.store.insert_refresh_token(&row).await?;
    Ok(token)
}

/// Exchanges a refresh token.
pub(in crate::issuer) async fn exchange(issuer: &Issuer, request: &TokenRequest<'_>) -> Result<Issue, Refused> {
    let digest = Digest::of(request.form.require("refresh_token")?);
    let old = issuer.store.refresh_token(&digest).await?.ok_or_else(unknown)?;
    let living = issuer.living_grant(request, old.grant).await?;
    if old.expires_at <= issuer.clock.now() {
        return Err(unknown());
    }
    request.check_binding(issuer, old.dpop_jkt.as_deref())?;
    if issuer.lacks_connection(request, &living).await? {
        return Err(Refused::because(
            Code::InvalidGrant,
            "the connection to the upstream has ended: run the authorization flow again",
        ));
    }
    let scope = narrowed(request.form.get("scope"), &living.grant().scope)?;
    let refresh_token = match &old.successor {
        Some(successor) => again(issuer, &living, &old, successor).await?,
        None => rotate(issuer, request, &living, &old).await?,
    };
    Ok(Issue { living, scope, refresh_token: Some(refresh_token), exchanged: None })
}

async fn rotate(
    issuer: &Issuer,
    request: &TokenRequest<'_>,
    living: &LivingGrant,
    old: &RefreshToken,
) -> Result<String, Refused> {
    let token = issuer.random.token().to_string();
    // Once bound, always bound; a client that begins to send proofs is bound from then on.
    let dpop_jkt = old.dpop_jkt.clone().or_else(|| request.binds_refresh_token_to());
    let new = RefreshToken { dpop_jkt, ..row(issuer, &token, old.grant) };
    let sealed = sealed_at(living, old, |place| issuer.vault.seal(place, token.as_bytes()));
    let successor = Successor { token: new.token, sealed, rotated_at: new.issued_at };
    if issuer.store.rotate_refresh_token(&old.token, &successor, &new).await? {
        return Ok(token);
    }
    // Another request with the same token was faster: both get its successor.
    match issuer.store.refresh_token(&old.token).await?.and_then(|row| row.successor) {
        Some(successor) => again(issuer, living, old, &successor).await,
        None => Err(unknown()),
    }
}

/// The same successor, within the grace or until it was first used. After that two parties have the family, and it ends
/// (RFC 9700 §4.14.2).
async fn again(
    issuer: &Issuer,
    living: &LivingGrant,
    old: &RefreshToken,
    successor: &Successor,
) -> Result<String, Refused> {
    let in_grace = issuer.clock.now().since(successor.rotated_at) <= issuer.lifetimes.rotation_grace;
    let next = issuer.store.refresh_token(&successor.token).await?;
    if !in_grace && next.is_none_or(|next| next.first_used_at.is_some()) {
        tracing::warn!(grant = %old.grant, "a rotated refresh token was presented again: its grant ends");
        issuer.revocations.grant(old.grant).await?;
        return Err(Refused::because(
            Code::InvalidGrant,
            "the refresh token was used before: the authorization has ended",
        ));
    }
    let opened = sealed_at(living, old, |place| issuer.vault.open(place, &successor.sealed));
    let token = opened.map_err(|error| Fault::gateway(format_args!("the successor of a refresh token: {error}")))?;
    let token =
        std::str::from_utf8(&token).map_err(|_| Fault::gateway("the successor of a refresh token is not text"))?;
    Ok(token.to_owned())
}

/// Less scope than the grant's for this access token; never more. Whether `offline_access` is repeated does not matter:
/// it is the refresh token itself.
pub(super) fn narrowed(requested: Option<&str>, granted: &str) -> Result<String, Refused> {
    let Some(requested) = requested else { return Ok(granted.to_owned()) };
    let beyond = || Refused::because(Code::InvalidScope, "the scope goes beyond what was granted");
    let (requested, granted) = (Scopes::parse(requested).map_err(|_| beyond())?, Scopes::lenient(granted.split(' ')));
    let requested = if granted.contains(OFFLINE_ACCESS) { requested } else { requested.without(OFFLINE_ACCESS) };
    if requested.is_subset(&granted) { Ok(requested.to_string()) } else { Err(beyond()) }
}

fn row(issuer: &Issuer, token: &str, grant: GrantId) -> RefreshToken {
    let now = issuer.clock.now();
    RefreshToken {
        token: Digest::of(token),
        grant,
        issued_at: now,
        expires_at: now.after(issuer.lifetimes.refresh_ttl),
        successor: None,
        first_used_at: None,
        dpop_jkt: None,
    }
}

/// The successor's place in the vault: the row of the token that it follows.
fn sealed_at<T>(living: &LivingGrant, old: &RefreshToken, at: impl FnOnce(&Place<'_>) -> T) -> T {
    let (row, person) = (HEXLOWER.encode(&old.token.0), living.grant().user.to_string());
    at(&Place { table: "refresh_tokens", row: &row, column: "successor", person: &person, upstream: "" })
}

fn unknown() -> Refused {
    Refused::because(Code::InvalidGrant, "the refresh token is unknown or has expired")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b25_scope_only_ever_shrinks() {
        assert_eq!(narrowed(None, "a b").unwrap(), "a b");
        assert_eq!(narrowed(Some("b"), "a b").unwrap(), "b");
        assert_eq!(narrowed(Some("b offline_access"), "a b").unwrap(), "b");
        for beyond in ["c", "a c", "\"", "A"] {
            assert_eq!(narrowed(Some(beyond), "a b").unwrap_err().error.error, Code::InvalidScope);
        }
        assert!(narrowed(Some("a"), "").is_err());
    }
}
