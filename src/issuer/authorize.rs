//! The authorization endpoint (OAuth 2.1 §4.1): requests come in, decisions come in, `steps` says what comes next.

use super::answer::ReturnAddress;
use super::metadata::authorize_path;
use super::parameters::Parameters;
use super::pending::PendingAuthorization;
use super::steps::{self, Place, Visit, cancellation};
use super::{Issuer, clients::NoClient, pages, remembered, reply, resource};
use crate::error::Fault;
use crate::hostname::{Label, Realm};
use crate::oauth::error::{Code, OauthError};
use crate::request::Arrival;
use crate::session::SignedIn;
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use std::net::IpAddr;
use std::sync::Arc;

/// `/authorize` on an MCP hostname: people only ever see the root domain.
pub(super) async fn to_root(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}{}{query}", issuer.site.root_origin(), authorize_path(&arrival.realm));
    reply::redirect(StatusCode::FOUND, &location)
}

/// `GET /authorize[/{label}]`: a new request, or `flow`, one that goes on.
pub(super) async fn get(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    label: Option<Path<String>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, pages::FaultPage> {
    let Some(place) = place(&issuer, label) else { return Ok(pages::no_such_server()) };
    let query = uri.query().unwrap_or_default();
    let parameters = Parameters::parse(query.as_bytes());
    let return_to = format!("{}?{query}", authorize_path(&place.realm));
    let Some(flow) = parameters.get("flow").filter(|_| parameters.get("client_id").is_none()) else {
        let signed_in = issuer.sessions.find(&headers).await?;
        let opening =
            Opening { parameters: &parameters, headers: &headers, return_to: &return_to, address: arrival.client };
        return Ok(begin(&issuer, &place, &opening, signed_in).await?);
    };
    let Some(signed_in) = issuer.sessions.find(&headers).await? else { return Ok(steps::to_login(&return_to)) };
    let Some(pending) = PendingAuthorization::find(&issuer, flow, &signed_in, &place.realm).await? else {
        return Ok(pages::flow_is_gone());
    };
    let visit = Visit { place: &place, pending: &pending, signed_in: &signed_in, flow, address: arrival.client };
    match parameters.get("cancel") {
        None => Ok(steps::go_on(&issuer, &visit).await?),
        Some(reason) => Ok(steps::refuse(&issuer, &visit, cancellation(reason)).await?),
    }
}

/// `POST /authorize[/{label}]`: a decision. `decide` in the query says which of the two pages the person was looking at,
/// so that an answer to the one is never taken for an answer to the other.
pub(super) async fn post(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    label: Option<Path<String>>,
    (RawQuery(query), headers): (RawQuery, HeaderMap),
    body: Bytes,
) -> Result<Response, pages::FaultPage> {
    let Some(place) = place(&issuer, label) else { return Ok(pages::no_such_server()) };
    let (form, query) = (Parameters::parse(&body), Parameters::parse(query.unwrap_or_default().as_bytes()));
    let flow = form.get("flow").unwrap_or_default();
    let resume = format!("{}?flow={}", authorize_path(&place.realm), steps::escaped(flow));
    let Some(signed_in) = issuer.sessions.find(&headers).await? else { return Ok(steps::to_login(&resume)) };
    if crate::csrf::check(&issuer.site, &headers, &signed_in.csrf_token, form.get("csrf_token")).is_err() {
        return Ok(pages::forged(&resume));
    }
    let Some(pending) = PendingAuthorization::find(&issuer, flow, &signed_in, &place.realm).await? else {
        return Ok(pages::flow_is_gone());
    };
    let visit = Visit { place: &place, pending: &pending, signed_in: &signed_in, flow, address: arrival.client };
    let is_allowed = match (query.get("decide"), form.get("decision")) {
        (Some("client"), Some("approve")) => {
            let remember = form.get("remember").is_some();
            pending.clone().consent(&issuer, flow, remember).await.map(|()| true)?
        }
        (Some("upstream"), Some("approve")) => steps::decide_upstream(&issuer, &visit, true).await?,
        (Some("upstream"), Some("deny")) if !steps::decide_upstream(&issuer, &visit, false).await? => false,
        (Some("client" | "upstream"), Some("deny")) => {
            return Ok(steps::refuse(&issuer, &visit, cancellation("denied")).await?);
        }
        _ => return Ok(pages::no_decision(&resume)),
    };
    if is_allowed { Ok(reply::redirect(StatusCode::SEE_OTHER, &resume)) } else { Ok(pages::not_approved(&visit)) }
}

/// A new request, as it came.
struct Opening<'a> {
    parameters: &'a Parameters,
    headers: &'a HeaderMap,
    /// Where it can be made again.
    return_to: &'a str,
    address: IpAddr,
}

/// Client and redirect URI first: while they are in doubt, nothing is sent anywhere (RFC 6749 §4.1.2.1).
async fn begin(
    issuer: &Issuer,
    place: &Place,
    opening: &Opening<'_>,
    signed_in: Option<SignedIn>,
) -> Result<Response, Fault> {
    let Opening { parameters, headers, return_to, address } = *opening;
    let Some(client_id) = parameters.get("client_id") else {
        return Ok(pages::bad_request("The application did not say who it is (client_id is missing)."));
    };
    let client = match issuer.client(&place.realm, client_id).await {
        Ok(client) => client,
        Err(NoClient::Failed(fault)) => return Err(fault),
        Err(why) => return Ok(pages::no_client(&why)),
    };
    let (back, redirect) = match ReturnAddress::check(parameters, &client, issuer.site.issuer(&place.realm)) {
        Ok(checked) => checked,
        Err(why) => return Ok(pages::bad_request(why)),
    };
    let default = resource::default(&back.issuer, place.upstream.as_deref());
    let pending = match PendingAuthorization::check(parameters, &client, (&back, redirect), &place.realm, default) {
        Ok(pending) => pending,
        Err(error) => return Ok(steps::answer(&back.with_error(&error))),
    };
    let silent = parameters.get("prompt") == Some("none");
    let Some(signed_in) = signed_in else {
        let nobody = OauthError::new(Code::LoginRequired, "nobody is signed in");
        return Ok(if silent { steps::answer(&back.with_error(&nobody)) } else { steps::to_login(return_to) });
    };
    let memorable = remembered::host(parameters, (&client, redirect), headers);
    let pending = PendingAuthorization { memorable, ..stepped_up(issuer, place, pending, &signed_in).await? };
    let flow = pending.keep(issuer, &signed_in).await?;
    let visit = Visit { place, pending: &pending, signed_in: &signed_in, flow: &flow, address };
    if silent { steps::go_on_silently(issuer, &visit).await } else { steps::go_on(issuer, &visit).await }
}

/// A client that an upstream's demand for more scope sent here is to get that scope, whether it names it or not.
pub(super) async fn stepped_up(
    issuer: &Issuer,
    place: &Place,
    pending: PendingAuthorization,
    signed_in: &SignedIn,
) -> Result<PendingAuthorization, Fault> {
    let Some(key) = issuer.connection_of(&place.realm, signed_in.user.id) else { return Ok(pending) };
    Ok(match issuer.connections.stepped_up(&key).await? {
        Some(scopes) => pending.with_scopes(&scopes),
        None => pending,
    })
}

/// Where a path leads: the root, or an upstream that may be used or approved.
fn place(issuer: &Issuer, label: Option<Path<String>>) -> Option<Place> {
    let realm = match label {
        None => Realm::Root,
        Some(Path(label)) => Realm::Mcp(Label::parse(&label).ok()?),
    };
    place_of(issuer, realm)
}

/// The same from a realm.
pub(super) fn place_of(issuer: &Issuer, realm: Realm) -> Option<Place> {
    let upstream = match &realm {
        Realm::Root => None,
        Realm::Mcp(label) => Some(issuer.registry.find(label)?),
    };
    Some(Place { realm, upstream })
}
