//! The steps of a sign-in. [`next_step`] looks at the facts and says what comes next; every step leads back to it, so
//! that none can be skipped and there is no dead end.

use super::answer::{AnswerTo, ToClient};
use super::metadata::authorize_path;
use super::pending::PendingAuthorization;
use super::{Issuer, pages, remembered, reply, resource};
use crate::connect::{Begin, ConnectError, Request};
use crate::error::Fault;
use crate::hostname::Realm;
use crate::ids::{Digest, GrantId};
use crate::oauth::error::{Code, OauthError};
use crate::oauth::scope::{OFFLINE_ACCESS, Scopes};
use crate::session::SignedIn;
use crate::store::{self, AuthorizationCode, Decision, Grant, RememberedConsent, Role, UpstreamRequest};
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
    /// Only an administrator can let the client in.
    NotAdministrator,
    /// Decide about the client.
    Consent,
    /// Give consent at the upstream, there.
    Connect(String),
    /// Nothing: the client gets its code, or the device its tokens.
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
    match next_step(issuer, visit).await {
        Ok(Step::Login) => Ok(to_login(&visit.resume())),
        Ok(Step::NotApproved) => {
            remember_wish(issuer, visit).await?;
            Ok(pages::not_approved(visit))
        }
        Ok(Step::Approve) => Ok(pages::approval(visit)),
        Ok(Step::NotPermitted) => Ok(pages::not_permitted(visit)),
        Ok(Step::NotAdministrator) => Ok(pages::not_administrator(visit)),
        Ok(Step::Consent) => Ok(pages::consent(visit)),
        Ok(Step::Connect(url)) => Ok(reply::redirect(StatusCode::SEE_OTHER, &url)),
        Ok(Step::Issue) => issue(issuer, visit).await,
        Err(error) => {
            tracing::warn!(step = error.step, error = %error.fault, "an upstream could not be connected");
            Ok(pages::connect_failed(visit, &error))
        }
    }
}

/// The same for a client that wants no page to be shown (OpenID Connect Core §3.1.2.1, `prompt=none`).
pub(super) async fn go_on_silently(issuer: &Issuer, visit: &Visit<'_>) -> Result<Response, Fault> {
    match next_step(issuer, visit).await {
        Ok(Step::Issue) => issue(issuer, visit).await,
        Ok(_) => {
            let error = OauthError::new(Code::InteractionRequired, "the person has to be asked");
            refuse(issuer, visit, error).await
        }
        Err(error) => {
            tracing::warn!(step = error.step, error = %error.fault, "an upstream could not be connected");
            refuse(issuer, visit, cancellation("failed")).await
        }
    }
}

/// What is missing, in the order in which it may be asked for: the upstream is not contacted before an administrator
/// has approved it and permitted it to this person, and the person is not sent there before consenting to the client
/// (confused deputy).
async fn next_step(issuer: &Issuer, visit: &Visit<'_>) -> Result<Step, ConnectError> {
    let Visit { place, pending, signed_in, .. } = visit;
    if signed_in.user.disabled {
        return Ok(Step::Login);
    }
    if place.upstream.as_ref().is_some_and(|upstream| upstream.standing == Standing::AwaitingApproval) {
        let may_approve = signed_in.user.role == Role::Administrator;
        return Ok(if may_approve { Step::Approve } else { Step::NotApproved });
    }
    let permitted = issuer.permits(&place.realm, signed_in.user.id).await;
    if !permitted.map_err(|fault| ConnectError::at("store", fault))? {
        return Ok(Step::NotPermitted);
    }
    if pending.wants_administration() && signed_in.user.role != Role::Administrator {
        return Ok(Step::NotAdministrator);
    }
    if agreement(issuer, pending, signed_in).await.map_err(|fault| ConnectError::at("store", fault))?.is_none() {
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

/// Administrators see in their queue who waits for them.
async fn remember_wish(issuer: &Issuer, visit: &Visit<'_>) -> Result<(), Fault> {
    let Some(upstream) = &visit.place.upstream else { return Ok(()) };
    let wish = UpstreamRequest {
        authority: upstream.authority.to_string(),
        user: visit.signed_in.user.id,
        client: visit.pending.client_name.chars().take(200).collect(),
        asked_at: issuer.clock.now(),
    };
    Ok(issuer.store.request_upstream(&wish).await?)
}

/// That the person has agreed that the client gets access.
enum Agreement {
    /// A moment ago.
    Given,
    /// Some time ago, and did not want to be asked again.
    Remembered(RememberedConsent),
}

async fn agreement(
    issuer: &Issuer,
    pending: &PendingAuthorization,
    signed_in: &SignedIn,
) -> Result<Option<Agreement>, Fault> {
    if pending.consented {
        return Ok(Some(Agreement::Given));
    }
    Ok(remembered::find(issuer, pending, &signed_in.user).await?.map(Agreement::Remembered))
}

/// The grant, and what becomes of it: a code that goes back to the client, or a device that has been let in.
async fn issue(issuer: &Issuer, visit: &Visit<'_>) -> Result<Response, Fault> {
    let taken = PendingAuthorization::take(issuer, visit.flow, visit.signed_in, &visit.place.realm).await?;
    let Some(pending) = taken else { return Ok(pages::flow_is_gone()) };
    let agreement = agreement(issuer, &pending, visit.signed_in).await?;
    let Some(agreement) = agreement else { return Ok(pages::flow_is_gone()) };
    // The registration may have been replaced or deleted since the person began.
    let client = issuer.client(&visit.place.realm, &pending.client_id).await;
    if !client.is_ok_and(|client| pending.answer.fits(&client)) {
        return Ok(pages::bad_request(
            "The application has changed its registration meanwhile: go back to it and begin again.",
        ));
    }
    let (now, user) = (issuer.clock.now(), &visit.signed_in.user);
    let grant = Grant {
        id: GrantId::random(&issuer.random),
        user: user.id,
        client_id: pending.client_id.clone(),
        client_name: pending.client_name.clone(),
        realm: pending.realm.clone(),
        resource: pending.resource.clone(),
        scope: pending.scope.clone(),
        created_at: now,
        revoked_at: None,
    };
    let answer = match &pending.answer {
        AnswerTo::Client(client) => with_code(issuer, client, &grant).await?,
        AnswerTo::Device(device) => match issuer.store.approve_device_code(&device.code()?, &grant, now).await? {
            true => pages::device_let_in(&grant.client_name),
            false => return Ok(pages::device_is_gone()),
        },
    };
    match agreement {
        Agreement::Given if pending.remember => remembered::keep(issuer, &pending, (user, visit.address)).await?,
        Agreement::Given => {}
        Agreement::Remembered(consent) => remembered::prolong(issuer, &consent).await?,
    }
    let subject = format!("{} at {}", grant.client_name, grant.resource);
    issuer.audit.record(&user.name, "grant.created", &subject, Some(visit.address));
    Ok(answer)
}

/// Keeps the grant with a code for it, which goes back to the client.
async fn with_code(issuer: &Issuer, client: &ToClient, grant: &Grant) -> Result<Response, Fault> {
    let secret = issuer.random.token();
    let code = AuthorizationCode {
        code: Digest::of(secret.as_bytes()),
        grant: grant.id,
        redirect_uri: client.back.redirect_uri.clone(),
        code_challenge: client.code_challenge.clone(),
        expires_at: PendingAuthorization::code_expiry(grant.created_at),
        used_at: None,
        dpop_jkt: client.dpop_jkt.clone(),
    };
    issuer.store.insert_grant(grant, Some(&code)).await?;
    Ok(answer(&client.back.with(&[("code", secret.as_str())])))
}

/// Gives up: whoever waits learns why.
pub(super) async fn refuse(issuer: &Issuer, visit: &Visit<'_>, error: OauthError) -> Result<Response, Fault> {
    let taken = PendingAuthorization::take(issuer, visit.flow, visit.signed_in, &visit.place.realm).await?;
    let Some(pending) = taken else { return Ok(pages::flow_is_gone()) };
    match &pending.answer {
        AnswerTo::Client(client) => Ok(answer(&client.back.with_error(&error))),
        AnswerTo::Device(device) => {
            let user = &visit.signed_in.user;
            issuer.store.deny_device_code(&device.code()?, user.id).await?;
            let subject = format!("{} at {}", pending.client_name, pending.resource);
            issuer.audit.record(&user.name, "device.denied", &subject, Some(visit.address));
            Ok(pages::device_kept_out(&pending.client_name))
        }
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

/// What the client is told when a person gives up: `denied` by the person, `forbidden` by an administrator, `failed` at the
/// upstream, or not allowed to let it in.
pub(super) fn cancellation(reason: &str) -> OauthError {
    match reason {
        "administrator" => OauthError::new(Code::AccessDenied, "only an administrator can grant the scope admin"),
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
