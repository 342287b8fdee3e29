//! Managing a registration with its registration access token (RFC 7592).

use super::Issuer;
use super::register::{self, Secrets, bearer, information, unauthorized};
use super::reply::{self, Refused};
use crate::hostname::Realm;
use crate::ids::Digest;
use crate::oauth::error::Code;
use crate::oauth::registration::ClientMetadata;
use crate::request::Arrival;
use crate::store::Client;
use axum::Extension;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use zeroize::Zeroizing;

/// `GET /register/{client_id}` (§2.1). The secret is not repeated: we do not have it any more. The registration access
/// token is the one of the request: it changes only with the registration itself.
pub(super) async fn read(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let (client, registration_token) = authorized(&issuer, &arrival.realm, &id, &headers).await?;
    let metadata = serde_json::from_str(&client.metadata).unwrap_or_default();
    let secrets = Secrets { registration_token, secret: None };
    Ok(reply::json(StatusCode::OK, &information(&issuer, &arrival.realm, &client, secrets, metadata)))
}

/// `PUT /register/{client_id}` (§2.2): other metadata in the place of all that there were, as good as a registration
/// made now. What people granted stays.
pub(super) async fn replace(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Response> {
    let (client, registration_token) = authorized(&issuer, &arrival.realm, &id, &headers).await?;
    let sent = body.as_ref().map(|body| Identity::of(body)).unwrap_or_default();
    let metadata = register::metadata(&issuer, body)
        .and_then(|metadata| sent.check(&client).map(|()| metadata))
        .map_err(IntoResponse::into_response)?;
    let (client, issued) = replaced(&issuer, client, &metadata);
    match issuer.store.update_client(&client).await {
        Ok(true) => {}
        Ok(false) => return Err(unauthorized(WRONG, true)),
        Err(error) => return Err(Refused::from(error).into_response()),
    }
    issuer.audit.record(&client.id, "client.updated", &arrival.realm.to_string(), Some(arrival.client));
    let kept = sent.secret.filter(|_| client.secret.is_some());
    let secret = issued.as_ref().or(kept.as_ref()).map(|text| text.as_str());
    let secrets = Secrets { registration_token, secret };
    let information = information(&issuer, &arrival.realm, &client, secrets, metadata.to_json());
    Ok(reply::json(StatusCode::OK, &information))
}

/// `DELETE /register/{client_id}` (§2.3): everything that was issued to the client ends with it.
pub(super) async fn delete(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let (client, _) = authorized(&issuer, &arrival.realm, &id, &headers).await?;
    let removed = issuer.revocations.client(Some(&client.realm), &client.id).await;
    removed.map_err(|error| Refused::from(error).into_response())?;
    issuer.audit.record(&client.id, "client.deleted", &arrival.realm.to_string(), Some(arrival.client));
    Ok(reply::no_content())
}

const WRONG: &str = "the registration access token is wrong, or the client does not exist";

/// The client and the token, if the request carries its registration access token; an unknown client and a wrong token
/// look the same.
async fn authorized<'a>(
    issuer: &Issuer,
    realm: &Realm,
    id: &str,
    headers: &'a HeaderMap,
) -> Result<(Client, &'a str), Response> {
    let found = issuer.store.client(&realm.key(), id).await;
    let client = found.map_err(|error| Refused::from(error).into_response())?;
    let client = client.filter(|client| client.expires_at.is_none_or(|end| end > issuer.clock.now()));
    let token = bearer(headers);
    match (client, token) {
        (Some(client), Some(token)) if client.registration_token.matches(&Digest::of(token)) => Ok((client, token)),
        _ => Err(unauthorized(WRONG, token.is_some())),
    }
}

/// Who a replacement says it is of.
#[derive(Default)]
struct Identity {
    id: Option<String>,
    secret: Option<Zeroizing<String>>,
}

impl Identity {
    fn of(body: &[u8]) -> Self {
        let members: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        Self { id: text("client_id"), secret: text("client_secret").map(Zeroizing::new) }
    }

    fn check(&self, client: &Client) -> Result<(), Refused> {
        let refused = |why| Err(Refused::because(Code::InvalidClientMetadata, why));
        if self.id.as_deref() != Some(client.id.as_str()) {
            return refused("client_id must be there, and be that of the registration");
        }
        match (&self.secret, &client.secret) {
            (Some(sent), Some(expected)) if !expected.matches(&Digest::of(sent.as_bytes())) => {
                refused("client_secret differs from the one that was issued: leave it out, or send that")
            }
            (Some(_), None) => refused("the client has no client_secret: leave it out"),
            _ => Ok(()),
        }
    }
}

/// The row with other metadata, and the secret, where the client needs one now and had none.
fn replaced(issuer: &Issuer, old: Client, metadata: &ClientMetadata) -> (Client, Option<Zeroizing<String>>) {
    let issued = (metadata.auth_method.has_secret() && old.secret.is_none()).then(|| issuer.random.token());
    let kept = old.secret.filter(|_| metadata.auth_method.has_secret());
    let client = Client {
        metadata: Value::Object(metadata.to_json()).to_string(),
        secret: issued.as_ref().map(|secret| Digest::of(secret.as_bytes())).or(kept),
        expires_at: issuer.registration.client_ttl.map(|ttl| issuer.clock.now().after(ttl)),
        ..old
    };
    (client, issued)
}
