//! Token revocation (RFC 7009).

use super::Issuer;
use super::clients::KnownClient;
use super::parameters::Parameters;
use super::reply::{self, Refused};
use super::token;
use crate::hostname::Realm;
use crate::ids::{Digest, GrantId};
use crate::request::Arrival;
use crate::tokens::Unverified;
use axum::Extension;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use std::sync::Arc;

/// `POST /revoke`: ends the grant behind a refresh or access token. A token that is not the client's, or no token at all,
/// is answered alike: there is nothing left to revoke (§2.2).
pub(super) async fn revoke(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let form: Parameters = token::form(&headers, body)?;
    let client = issuer.authenticate(&arrival.realm, &headers, &form).await?;
    if let Some(grant) = grant_of(&issuer, &arrival.realm, &client, form.require("token")?).await? {
        issuer.revocations.grant(grant).await?;
        issuer.audit.record(&client.id, "grant.revoked", &grant.to_string(), Some(arrival.client));
    }
    Ok(reply::json(StatusCode::OK, &json!({})))
}

/// The grant of a token, if it is this client's at this realm.
async fn grant_of(
    issuer: &Issuer,
    realm: &Realm,
    client: &KnownClient,
    token: &str,
) -> Result<Option<GrantId>, Refused> {
    if let Some(row) = issuer.store.refresh_token(&Digest::of(token)).await? {
        let grant = issuer.store.grant(row.grant).await?;
        let own = grant.filter(|grant| grant.client_id == client.id && grant.realm == realm.key());
        return Ok(own.map(|grant| grant.id));
    }
    let token = match issuer.tokens.verified(token).await {
        Ok(token) => Some(token),
        Err(Unverified::Invalid) => None,
        Err(Unverified::Outdated(outdated)) => return Err(outdated.into()),
    };
    let own = token.filter(|token| *token.client_id == *client.id && *token.issuer == issuer.site.issuer(realm));
    Ok(own.map(|token| token.grant()))
}
