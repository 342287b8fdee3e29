//! Token introspection (RFC 7662): clients ask about their own tokens, resource servers, by an API key, about those for
//! their resource. Whatever a caller may not know about looks like a token that never was.

use super::Issuer;
use super::clients::KnownClient;
use super::limits;
use super::parameters::Parameters;
use super::reply::{self, Refused};
use super::token;
use crate::apikey::{ApiKey, ApiKeyError, ApiScope};
use crate::hostname::Realm;
use crate::ids::{Digest, GrantId};
use crate::jose;
use crate::oauth::error::Code;
use crate::request::Arrival;
use crate::store::{Grant, User};
use crate::tokens::Unverified;
use axum::Extension;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// `POST /introspect`. `token_type_hint` is not needed: the forms of our tokens tell them apart.
pub(super) async fn introspect(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let form = token::form(&headers, body)?;
    let caller = match issuer.shown_key(&headers).await? {
        Some(key) => Caller::Key(key),
        None => {
            // Resource servers ask often; clients may have us fetch what proves who they are.
            if let Err(limited) = issuer.limits.check_token_endpoint(arrival.client) {
                return Ok(limits::refusal(&limited));
            }
            Caller::Client(issuer.confidential_client(&arrival.realm, &headers, &form).await?)
        }
    };
    let token = form.require("token")?;
    let found = match token.contains('.') {
        true => issuer.access_token(&arrival.realm, &caller, token).await?,
        false => issuer.refresh_token(&arrival.realm, &caller, token).await?,
    };
    Ok(match found {
        Some(active) => reply::json(StatusCode::OK, &active),
        None => reply::json(StatusCode::OK, &json!({"active": false})),
    })
}

/// Who asks.
enum Caller {
    /// A client that has proved who it is.
    Client(KnownClient),
    /// A resource server.
    Key(ApiKey),
}

/// What is said about a token that is good (§2.2).
#[derive(Serialize)]
struct Active {
    active: bool,
    iss: String,
    aud: String,
    sub: String,
    username: String,
    client_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    exp: i64,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// Of access tokens only: nothing can be called with a refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Value>,
}

/// The claims that verification does not remember, since nothing else needs them.
#[derive(Deserialize)]
struct Rest {
    iat: i64,
    jti: String,
    act: Option<Value>,
    cnf: Option<Value>,
}

impl Issuer {
    async fn shown_key(&self, headers: &HeaderMap) -> Result<Option<ApiKey>, Refused> {
        match self.api_keys.authenticate(headers).await {
            Ok(Some(key)) if !key.allows(ApiScope::Introspect) => {
                Err(refused_key("the API key has not the scope introspect"))
            }
            Ok(key) => Ok(key),
            Err(ApiKeyError::Invalid) => Err(refused_key("the API key is unknown, wrong or has expired")),
            Err(ApiKeyError::Failed(fault)) => Err(fault.into()),
        }
    }

    async fn confidential_client(
        &self,
        realm: &Realm,
        headers: &HeaderMap,
        form: &Parameters,
    ) -> Result<KnownClient, Refused> {
        let client = self.authenticate(realm, headers, form).await.map_err(challenged)?;
        if !client.has_proved_itself {
            let description = "a public client cannot prove who it is, and so may not ask";
            return Err(challenged(Refused::because(Code::InvalidClient, description)));
        }
        Ok(client)
    }

    async fn access_token(&self, realm: &Realm, caller: &Caller, text: &str) -> Result<Option<Active>, Refused> {
        let token = match self.tokens.verified(text).await {
            Ok(token) => token,
            Err(Unverified::Invalid) => return Ok(None),
            Err(Unverified::Outdated(outdated)) => return Err(outdated.into()),
        };
        let may_know = match caller {
            Caller::Client(client) => *token.client_id == *client.id,
            Caller::Key(key) => key.may_introspect(&token.audience),
        };
        let issuer = self.site.issuer(realm);
        if !may_know || *token.issuer != issuer {
            return Ok(None);
        }
        let Some((_, user)) = self.usable(realm, token.grant()).await? else { return Ok(None) };
        // The text is the one that was verified just now.
        let Ok(rest) = jose::unverified_claims::<Rest>(text) else { return Ok(None) };
        Ok(Some(Active {
            active: true,
            iss: issuer,
            aud: token.audience.to_string(),
            sub: user.id.to_string(),
            username: user.name,
            client_id: token.client_id.to_string(),
            scope: token.scope.to_string(),
            exp: token.expires_at().seconds(),
            iat: rest.iat,
            jti: Some(rest.jti),
            token_type: Some(if token.confirmation.is_some() { "DPoP" } else { "Bearer" }),
            act: rest.act,
            cnf: rest.cnf,
        }))
    }

    /// One that has a successor is no longer active, although it would still be answered with that successor for a while.
    async fn refresh_token(&self, realm: &Realm, caller: &Caller, text: &str) -> Result<Option<Active>, Refused> {
        // Resource servers never meet one, so one in their hands is not theirs to ask about.
        let Caller::Client(client) = caller else { return Ok(None) };
        let row = self.store.refresh_token(&Digest::of(text)).await?;
        let row = row.filter(|row| row.successor.is_none() && row.expires_at > self.clock.now());
        let Some(row) = row else { return Ok(None) };
        let Some((grant, user)) = self.usable(realm, row.grant).await? else { return Ok(None) };
        if grant.client_id != client.id || grant.realm != realm.key() {
            return Ok(None);
        }
        Ok(Some(Active {
            active: true,
            iss: self.site.issuer(realm),
            aud: grant.resource,
            sub: user.id.to_string(),
            username: user.name,
            client_id: grant.client_id,
            scope: grant.scope,
            exp: row.expires_at.seconds(),
            iat: row.issued_at.seconds(),
            jti: None,
            token_type: None,
            act: None,
            cnf: None,
        }))
    }

    /// A grant in force, of a person who may use what is behind the realm.
    async fn usable(&self, realm: &Realm, grant: GrantId) -> Result<Option<(Grant, User)>, Refused> {
        match self.in_force(grant).await? {
            Some((grant, user)) if self.permits(realm, user.id).await? => Ok(Some((grant, user))),
            _ => Ok(None),
        }
    }
}

fn refused_key(description: &'static str) -> Refused {
    let challenge = HeaderValue::from_static("Bearer realm=\"introspection\", error=\"invalid_token\"");
    Refused { challenge: Some(challenge), ..Refused::because(Code::InvalidClient, description) }
}

/// Every 401 here says how to do better (RFC 7662 §2.1).
fn challenged(mut refused: Refused) -> Refused {
    if refused.status == StatusCode::UNAUTHORIZED && refused.challenge.is_none() {
        refused.challenge = Some(HeaderValue::from_static("Basic realm=\"introspection\", charset=\"UTF-8\""));
    }
    refused
}
