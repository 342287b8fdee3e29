//! Dynamic client registration (RFC 7591), and reading and deleting a registration (RFC 7592).

use super::Issuer;
use super::reply::{self, Refused};
use crate::hostname::Realm;
use crate::ids::Digest;
use crate::oauth::challenge::BearerChallenge;
use crate::oauth::error::{Code, OauthError};
use crate::oauth::registration::{AuthMethod, ClientMetadata};
use crate::request::Arrival;
use crate::store::Client;
use axum::Extension;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// `POST /register`
pub(super) async fn register(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let too_large = |_| Refused::because(Code::InvalidClientMetadata, "client metadata must not be larger than 64 KiB");
    let metadata = ClientMetadata::from_registration(&body.map_err(too_large)?)?;
    let (secret, registration_token) = (issuer.random.token(), issuer.random.token());
    let is_confidential = metadata.auth_method != AuthMethod::None;
    let client = Client {
        realm: arrival.realm.key(),
        id: HEXLOWER.encode(&issuer.random.bytes::<16>()),
        metadata: Value::Object(metadata.to_json()).to_string(),
        secret: is_confidential.then(|| Digest::of(secret.as_bytes())),
        registration_token: Digest::of(registration_token.as_bytes()),
        created_at: issuer.clock.now(),
        last_used_at: None,
    };
    issuer.store.insert_client(&client).await?;
    issuer.audit.record(&client.id, "client.registered", &arrival.realm.to_string(), Some(arrival.client));
    let mut answer = information(&issuer, &arrival.realm, &client, metadata.to_json());
    answer.insert("registration_access_token".into(), json!(registration_token.as_str()));
    if is_confidential {
        answer.insert("client_secret".into(), json!(secret.as_str()));
        answer.insert("client_secret_expires_at".into(), json!(0));
    }
    Ok(reply::json(StatusCode::CREATED, &answer))
}

/// `GET /register/{client_id}` (RFC 7592 §2.1). The secret is not repeated: we do not have it any more.
pub(super) async fn read(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let client = authorized(&issuer, &arrival.realm, &id, &headers).await?;
    let metadata = serde_json::from_str(&client.metadata).unwrap_or_default();
    Ok(reply::json(StatusCode::OK, &information(&issuer, &arrival.realm, &client, metadata)))
}

/// `DELETE /register/{client_id}` (RFC 7592 §2.3): everything that was issued to the client ends with it.
pub(super) async fn delete(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let client = authorized(&issuer, &arrival.realm, &id, &headers).await?;
    let removed = issuer.revocations.client(Some(&client.realm), &client.id).await;
    removed.map_err(|error| Refused::from(error).into_response())?;
    issuer.audit.record(&client.id, "client.deleted", &arrival.realm.to_string(), Some(arrival.client));
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The client, if the request carries its registration access token; an unknown client and a wrong token look the same.
async fn authorized(issuer: &Issuer, realm: &Realm, id: &str, headers: &HeaderMap) -> Result<Client, Response> {
    let found = issuer.store.client(&realm.key(), id).await;
    let client = found.map_err(|error| Refused::from(error).into_response())?;
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| Digest::of(token.trim()));
    match (client, token) {
        (Some(client), Some(token)) if client.registration_token.matches(&token) => Ok(client),
        _ => Err(unauthorized()),
    }
}

fn unauthorized() -> Response {
    let description = "the registration access token is wrong, or the client does not exist";
    let error = OauthError::new(Code::InvalidToken, description);
    let challenge = BearerChallenge { error: Some(error.error.as_str().into()), ..Default::default() };
    let challenge = HeaderValue::from_str(&challenge.to_string()).ok();
    Refused { status: StatusCode::UNAUTHORIZED, challenge, ..Refused::new(error) }.into_response()
}

/// The client information response (RFC 7591 §3.2.1): the metadata in force, and where to manage them.
fn information(issuer: &Issuer, realm: &Realm, client: &Client, metadata: Map<String, Value>) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("client_id".into(), json!(client.id));
    members.insert("client_id_issued_at".into(), json!(client.created_at.seconds()));
    let uri = format!("{}/register/{}", issuer.site.issuer(realm), client.id);
    members.insert("registration_client_uri".into(), json!(uri));
    members.extend(metadata);
    members
}
