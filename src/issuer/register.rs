//! Dynamic client registration (RFC 7591): who may register, and what the answer says.

use super::Issuer;
use super::reply::{self, Refused};
use crate::clock::Timestamp;
use crate::config::RegistrationMode;
use crate::hostname::Realm;
use crate::http::check_url;
use crate::ids::Digest;
use crate::oauth::challenge::BearerChallenge;
use crate::oauth::error::{Code, OauthError};
use crate::oauth::registration::{ClientKeys, ClientMetadata};
use crate::oauth::scheme::Scheme;
use crate::request::Arrival;
use crate::secret::Secret;
use crate::store::{Client, Registered, RoomForClients};
use axum::Extension;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A client younger than this gives way to nobody: its person may be signing in, for which there are ten minutes. So
/// whoever floods us with registrations can neither push out those that are about to be used, nor, without keeping it up
/// from many addresses, keep others from registering.
const PROTECTED: Duration = Duration::from_secs(15 * 60);

/// `POST /register`
pub(super) async fn register(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Response> {
    match &issuer.registration.mode {
        RegistrationMode::Open => {}
        RegistrationMode::Token(expected) => check_initial_token(expected, &headers).map_err(|refused| *refused)?,
        RegistrationMode::Off => return Ok(reply::not_found().await),
    }
    let metadata = metadata(&issuer, body).map_err(IntoResponse::into_response)?;
    let (secret, registration_token, now) = (issuer.random.token(), issuer.random.token(), issuer.clock.now());
    let secret = metadata.auth_method.has_secret().then_some(secret);
    let client = Client {
        realm: arrival.realm.key(),
        id: HEXLOWER.encode(&issuer.random.bytes::<16>()),
        metadata: Value::Object(metadata.to_json()).to_string(),
        secret: secret.as_ref().map(|secret| Digest::of(secret.as_bytes())),
        registration_token: Digest::of(registration_token.as_bytes()),
        created_at: now,
        last_used_at: None,
        owner: None,
        expires_at: issuer.registration.client_ttl.map(|ttl| now.after(ttl)),
    };
    let room = RoomForClients { most: issuer.registration.max_clients, gives_way_before: now.before(PROTECTED) };
    let kept = issuer.store.register_client(&client, room).await;
    if let Registered::NoRoom(oldest) = kept.map_err(|error| Refused::from(error).into_response())? {
        return Err(no_room(oldest.after(PROTECTED).since(now)));
    }
    issuer.audit.record(&client.id, "client.registered", &arrival.realm.to_string(), Some(arrival.client));
    let secrets =
        Secrets { registration_token: &registration_token, secret: secret.as_ref().map(|text| text.as_str()) };
    Ok(reply::json(StatusCode::CREATED, &information(&issuer, &arrival.realm, &client, secrets, metadata.to_json())))
}

/// The metadata of a request, checked.
pub(super) fn metadata(issuer: &Issuer, body: Result<Bytes, BytesRejection>) -> Result<ClientMetadata, Refused> {
    let too_large = |_| Refused::because(Code::InvalidClientMetadata, "client metadata must not be larger than 64 KiB");
    let metadata = ClientMetadata::from_registration(&body.map_err(too_large)?)?;
    if let Some(ClientKeys::Remote(url)) = &metadata.keys {
        let forbidden = |_| Refused::because(Code::InvalidClientMetadata, "jwks_uri must be a public https address");
        check_url(url, issuer.allow_private_documents).map_err(forbidden)?;
    }
    Ok(metadata)
}

/// What an answer can say because the request, or this very moment, has it in clear; the store has digests only.
pub(super) struct Secrets<'a> {
    pub(super) registration_token: &'a str,
    pub(super) secret: Option<&'a str>,
}

/// The client information response (RFC 7591 §3.2.1, RFC 7592 §3): the metadata in force, and where to manage them.
pub(super) fn information(
    issuer: &Issuer,
    realm: &Realm,
    client: &Client,
    secrets: Secrets<'_>,
    metadata: Map<String, Value>,
) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("client_id".into(), json!(client.id));
    members.insert("client_id_issued_at".into(), json!(client.created_at.seconds()));
    if let Some(secret) = secrets.secret {
        members.insert("client_secret".into(), json!(secret));
    }
    if client.secret.is_some() {
        members.insert("client_secret_expires_at".into(), json!(client.expires_at.map_or(0, Timestamp::seconds)));
    }
    let uri = format!("{}/register/{}", issuer.site.issuer(realm), client.id);
    members.insert("registration_client_uri".into(), json!(uri));
    members.insert("registration_access_token".into(), json!(secrets.registration_token));
    members.extend(metadata);
    members
}

/// The token of a request, if it has one in the form of RFC 6750 §2.1.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = Scheme::of(headers.get(header::AUTHORIZATION)?.to_str().ok()?)?;
    (scheme == Scheme::Bearer).then(|| token.trim())
}

/// 401 with a challenge: bare when there was no token (RFC 6750 §3.1).
pub(super) fn unauthorized(description: &'static str, had_token: bool) -> Response {
    let error = OauthError::new(Code::InvalidToken, description);
    let named = had_token.then(|| error.error.as_str().into());
    let challenge = BearerChallenge { error: named, ..Default::default() };
    let challenge = HeaderValue::from_str(challenge.to_string().trim()).ok();
    Refused { status: StatusCode::UNAUTHORIZED, challenge, ..Refused::new(error) }.into_response()
}

fn check_initial_token(expected: &Secret, headers: &HeaderMap) -> Result<(), Box<Response>> {
    match bearer(headers) {
        Some(token) if Digest::of(expected.expose()).matches(&Digest::of(token)) => Ok(()),
        Some(_) => Err(unauthorized("the initial access token is wrong", true).into()),
        None => Err(unauthorized("registration needs an initial access token: ask the administrator", false).into()),
    }
}

fn no_room(wait: Duration) -> Response {
    let refused = Refused::because(Code::TemporarilyUnavailable, "too many new clients at the moment: see Retry-After");
    let mut response = Refused { status: StatusCode::TOO_MANY_REQUESTS, ..refused }.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    response
}
