//! Token exchange (RFC 8693): a service that was called with a person's token gets one of its own that says who acts for
//! whom. It is never for more, nor for longer, than the token that it is given for, and it lives under a grant derived from
//! that token's: whatever ends the person's consent ends it, and so does the end of the service's client.

use super::refresh::narrowed;
use super::within_its_own;
use crate::ids::GrantId;
use crate::issuer::Issuer;
use crate::issuer::parameters::Parameters;
use crate::issuer::reply::Refused;
use crate::issuer::token::{Exchanged, Issue, LivingGrant, TokenRequest};
use crate::oauth::error::Code;
use crate::oauth::resource;
use crate::oauth::scope::Scopes;
use crate::store::{Grant, User};
use crate::tokens::{AccessToken, Unverified};
use std::sync::Arc;

/// The only type of token that is issued (§3).
pub(in crate::issuer) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Our access tokens are this, too.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Exchanges an access token of the same realm.
pub(in crate::issuer) async fn exchange(issuer: &Issuer, request: &TokenRequest<'_>) -> Result<Issue, Refused> {
    if !request.client.has_proved_itself {
        return Err(Refused::because(Code::UnauthorizedClient, "only a confidential client may exchange tokens"));
    }
    check_types(request.form)?;
    let subject = subject(issuer, request).await?;
    let (parent, user) = issuer.in_force(subject.grant()).await?.ok_or_else(bad_subject)?;
    if !issuer.permits(request.realm, user.id).await? {
        return Err(bad_subject());
    }
    let resource = target(&subject, request.form)?;
    let most = within_its_own(request, &Scopes::lenient(subject.scope.split(' ')));
    let scope = narrowed(request.form.get("scope"), &most.to_string())?;
    let living = derived(issuer, request, parent, user).await?;
    Ok(Issue {
        living,
        scope,
        refresh_token: None,
        exchanged: Some(Exchanged { resource, ends_at: subject.expires_at() }),
    })
}

/// What is offered and what is wanted (§2.1). Who acts is the client itself, so it has no need of an actor token.
fn check_types(form: &Parameters) -> Result<(), Refused> {
    let refused = |description| Err(Refused::because(Code::InvalidRequest, description));
    if form.get("actor_token").is_some() || form.get("actor_token_type").is_some() {
        return refused("actor_token is not supported: the client itself is who acts");
    }
    if ![ACCESS_TOKEN, JWT].contains(&form.require("subject_token_type")?) {
        return refused("subject_token_type must be that of an access token");
    }
    match form.get("requested_token_type") {
        None | Some(ACCESS_TOKEN) => Ok(()),
        Some(_) => refused("requested_token_type must be that of an access token"),
    }
}

/// The token that is offered. One that was exchanged already is refused: whoever acts for somebody does so directly. One that
/// is bound to a key (RFC 9449) is good for requests with that key alone, and so is what comes out of it.
async fn subject(issuer: &Issuer, request: &TokenRequest<'_>) -> Result<Arc<AccessToken>, Refused> {
    let offered = request.form.require("subject_token")?;
    let subject = issuer.tokens.verified(offered).await.map_err(|unverified| match unverified {
        Unverified::Invalid => bad_subject(),
        Unverified::Outdated(outdated) => outdated.into(),
    })?;
    if *subject.issuer != issuer.site.issuer(request.realm) {
        return Err(bad_subject());
    }
    if subject.actor.is_some() {
        return Err(Refused::because(Code::InvalidRequest, "subject_token has been exchanged before"));
    }
    request.check_binding(issuer, subject.confirmation.as_deref())?;
    Ok(subject)
}

/// The audience of the new token: that of the old one, or a resource below it. Both parameters may name it (§2.1); services
/// of the broker would be further targets of `audience`.
fn target(subject: &AccessToken, form: &Parameters) -> Result<String, Refused> {
    let mut named = ["resource", "audience"].into_iter().filter_map(|name| form.get(name));
    let Some(target) = named.next() else { return Ok(subject.audience.to_string()) };
    let unlike = named.next().is_some_and(|other| other != target);
    if unlike || !resource::covers(&subject.audience, target) {
        let description = "the target is neither the audience of subject_token nor a resource below it";
        return Err(Refused::because(Code::InvalidTarget, description));
    }
    Ok(target.to_owned())
}

/// The client's own grant under the person's. There is one however often it asks.
async fn derived(
    issuer: &Issuer,
    request: &TokenRequest<'_>,
    parent: Grant,
    user: User,
) -> Result<LivingGrant, Refused> {
    let client = request.client;
    let grant = Grant {
        id: GrantId::random(&issuer.random),
        client_id: client.id.clone(),
        client_name: client.name().to_owned(),
        created_at: issuer.clock.now(),
        ..parent.clone()
    };
    let id = issuer.store.derive_grant(parent.id, &grant).await?.ok_or_else(bad_subject)?;
    if id == grant.id {
        let subject = format!("{} for {} at {}", grant.client_name, user.name, grant.resource);
        issuer.audit.record(&client.id, "grant.derived", &subject, Some(request.address));
    }
    Ok(LivingGrant::of((Grant { id, ..grant }, user)))
}

/// RFC 8693 §2.2.2 wants `invalid_request` here.
fn bad_subject() -> Refused {
    Refused::because(Code::InvalidRequest, "subject_token is not a valid access token of this authorization server")
}
