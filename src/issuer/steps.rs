//! The steps of a sign-in. [`next_step`] looks at the facts and says what comes next; every step leads back to it, so
//! that none can be skipped and there is no dead end.

use super::metadata::authorize_path;
use super::pending::PendingAuthorization;
use super::{Issuer, pages, reply, resource};
use crate::connect::{Begin, ConnectError, Request};
use crate::error::Fault;
use crate::hostname::Realm;
use crate::ids::{Digest, GrantId};
use crate::oauth::error::{Code, OauthError};
use crate::oauth::scope::{OFFLINE_ACCESS, Scopes};
use crate::session::SignedIn;
use crate::store::{self, AuthorizationCode, Decision, Grant, Role};
use crate::upstream::{Standing, Upstream};
use axum::response::Response;
use http::StatusCode;
use std::net::IpAddr;
use std::sync::Arc;

/// What comes next for a person who wants to let a client in.
enum Step {
    /// Sign in.
    Login,
    /// Somebody else has to approve the upstream.
    NotApproved,
    /// Decide about the upstream.
    Approve,
    /// Ask an administrator for the permission to use it.
    NotPermitted,
    /// Decide about the client.
    Consent,
    /// Give consent at the upstream, there.
    Connect(String),
    /// Nothing: the client gets its code.
    Issue,
}

/// The realm that a path leads to, with its upstream.
pub(super) struct Place {
    pub(super) realm: Realm,
    pub(super) upstream: Option<Arc<Upstream>>,
}

/// A request on its way through the steps.
pub(super) struct Visit<'a> {
    pub(super) place: &'a Place,
    pub(super) pending: &'a PendingAuthorization,
    pub(super) signed_in: &'a SignedIn,
    /// The handle of the flow.
    pub(super) flow: &'a str,
    /// Where the browser is.
    pub(super) address: IpAddr,
}

impl Visit<'_> {
    /// Where this visit goes on, a path on the root domain.
    pub(super) fn resume(&self) -> String {
        format!("{}?flow={}", authorize_path(&self.place.realm), self.flow)
    }
}

/// Takes the next step.
pub(super) async fn go_on(issuer: &Issuer, visit: &Visit<'_>) -> Result<Response, Fault> {
    let permitted = issuer.permits(&visit.place.realm, visit.signed_in.user.id).await?;
    match next_step(issuer, visit, permitted).await {
        Ok(Step::Login) => Ok(to_login(&visit.resume())),
        Ok(Step::NotApproved) => Ok(pages::not_approved(visit)),
        Ok(Step::Approve) => Ok(pages::approval(visit)),
        Ok(Step::NotPermitted) => Ok(pages::not_permitted(visit)),
        Ok(Step::Consent) => Ok(pages::consent(visit)),
        Ok(Step::Connect(url)) => Ok(reply::redirect(StatusCode::SEE_OTHER, &url)),
        Ok(Step::Issue) => issue(issuer, visit).await,
        Err(error) if error.denied => refuse(issuer, visit, cancellation("denied")).await,
        Err(error) => {
            tracing::warn!(step = error.step, error = %error.fault, "an upstream could not be connected");
            Ok(pages::connect_failed(visit, &error))
        }
    }
}

/// What is missing, in the order in which it may be asked for: the upstream is not contacted before an administrator
/// has approved it and permitted it to this person, and the person is not sent there before consenting to the client (confused deputy).
async fn next_step(issuer: &Issuer, visit: &Visit<'_>, permitted: bool) -> Result<Step, ConnectError> {
    let Visit { place, pending, signed_in, .. } = visit;
    if signed_in.user.disabled {
        return Ok(Step::Login);
    }
    if place.upstream.as_ref().is_some_and(|upstream| upstream.standing == Standing::AwaitingApproval) {
        let may_approve = signed_in.user.role == Role::Administrator;
        return Ok(if may_approve { Step::Approve } else { Step::NotApproved });
    }
    if !permitted {
        return Ok(Step::NotPermitted);
    }
    if !pending.consented {
        return Ok(Step::Consent);
    }
    let Some(key) = issuer.connection_of(&place.realm, signed_in.user.id) else { return Ok(Step::Issue) };
    let path = resource::path(&pending.resource);
    let request = Request {
        key: &key,
        path: path.as_deref(),
        // Whether the client may stay signed in here says nothing about the upstream.
        scopes: &Scopes::lenient(pending.scope.split(' ')).without(OFFLINE_ACCESS),
        session: signed_in.session,
        return_to: &visit.resume(),
        renew: false,
    };
    match issuer.connections.begin(request).await? {
        Begin::Redirect(url) => Ok(Step::Connect(url)),
        Begin::Connected => Ok(Step::Issue),
    }
}

/// Grant and code in one, then back to the client.
async fn issue(issuer: &Issuer, visit: &Visit<'_>) -> Result<Response, Fault> {
    let taken = PendingAuthorization::take(issuer, visit.flow, visit.signed_in, &visit.place.realm).await?;
    let Some(pending) = taken.filter(|pending| pending.consented) else { return Ok(pages::flow_is_gone()) };
    // The registration may have been replaced or deleted since the person began.
    let client = issuer.client(&visit.place.realm, &pending.client_id).await;
    if !client.is_ok_and(|client| client.metadata.redirect_uri(&pending.back.redirect_uri).is_some()) {
        return Ok(pages::bad_request(
            "The application has changed its registration meanwhile: go back to it and begin again.",
        ));
    }
    let (now, secret) = (issuer.clock.now(), issuer.random.token());
    let grant = Grant {
        id: GrantId::random(&issuer.random),
        user: visit.signed_in.user.id,
        client_id: pending.client_id,
        client_name: pending.client_name,
        realm: pending.realm,
        resource: pending.resource,
        scope: pending.scope,
        created_at: now,
        revoked_at: None,
    };
    let code = AuthorizationCode {
        code: Digest::of(secret.as_bytes()),
        grant: grant.id,
        redirect_uri: pending.back.redirect_uri.clone(),
        code_challenge: pending.code_challenge,
        expires_at: PendingAuthorization::code_expiry(now),
        used_at: None,
        dpop_jkt: pending.dpop_jkt,
    };
    issuer.store.insert_grant(&grant, Some(&code)).await?;
    let subject = format!("{} at {}", grant.client_name, grant.resource);
    issuer.audit.record(&visit.signed_in.user.name, "grant.created", &subject, Some(visit.address));
    Ok(answer(&pending.back.with(&[("code", secret.as_str())])))
}

/// Gives up: the client learns why.
pub(super) async fn refuse(issuer: &Issuer, visit: &Visit<'_>, error: OauthError) -> Result<Response, Fault> {
    match PendingAuthorization::take(issuer, visit.flow, visit.signed_in, &visit.place.realm).await? {
        Some(pending) => Ok(answer(&pending.back.with_error(&error))),
        None => Ok(pages::flow_is_gone()),
    }
}

/// Records an administrator's decision about the upstream; false when the person is none.
pub(super) async fn decide_upstream(issuer: &Issuer, visit: &Visit<'_>, approved: bool) -> Result<bool, Fault> {
    let (user, Some(upstream)) = (&visit.signed_in.user, &visit.place.upstream) else { return Ok(false) };
    if user.role != Role::Administrator {
        return Ok(false);
    }
    if upstream.standing == Standing::Allowed {
        return Ok(true);
    }
    let (decision, action) = match approved {
        true => (Decision::Approved, "upstream.approved"),
        false => (Decision::Denied, "upstream.denied"),
    };
    let row = store::Upstream {
        authority: upstream.authority.to_string(),
        decision,
        alias: None,
        name: None,
        decided_by: Some(user.id),
        decided_at: issuer.clock.now(),
    };
    issuer.revocations.decide(&row).await?;
    issuer.audit.record(&user.name, action, upstream.authority.as_str(), Some(visit.address));
    Ok(true)
}

/// What the client is told when a person gives up: `denied` by the person, `forbidden` by an administrator, or `failed` at
/// the upstream.
pub(super) fn cancellation(reason: &str) -> OauthError {
    match reason {
        "failed" => OauthError::new(Code::ServerError, "the upstream server could not be connected"),
        "forbidden" => OauthError::new(Code::AccessDenied, "the person may not use this server"),
        _ => OauthError::new(Code::AccessDenied, "the person refused"),
    }
}

pub(super) fn answer(location: &str) -> Response {
    reply::redirect(StatusCode::SEE_OTHER, location)
}

pub(super) fn to_login(return_to: &str) -> Response {
    reply::redirect(StatusCode::SEE_OTHER, &format!("/login?return_to={}", escaped(return_to)))
}

pub(super) fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
