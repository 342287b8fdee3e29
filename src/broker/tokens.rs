//! What programs do with a key: get a person's token, get a link for that person, end the connection.

use super::Broker;
use super::ask::Ask;
use super::caller::{Caller, Subject};
use super::link::{Link, Wish};
use super::refusal::Refusal;
use crate::clock::Timestamp;
use crate::services::{NoToken, ServiceToken};
use crate::store::LinkCallback;
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Serialize;
use std::sync::Arc;

/// A token as the program gets it.
#[derive(Serialize)]
pub(super) struct Handed {
    access_token: String,
    token_type: &'static str,
    /// In seconds since 1970; `null` when the provider did not say.
    expires_at: Option<i64>,
    /// The same from now on (RFC 6749 §5.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    /// Space-separated; empty when it is not known.
    scope: String,
    /// `oauth` or `pat`.
    source: &'static str,
}

/// `POST /token/{service}`
pub(super) async fn of_service(
    State(broker): State<Arc<Broker>>,
    caller: Caller,
    service: Option<Path<String>>,
    ask: Ask,
) -> Result<Json<Handed>, Refusal> {
    let Path(service) = service.ok_or_else(Refusal::unknown_service)?;
    broker.hand_out(&caller, &service, &ask, LinkCallback::Service).await
}

/// `POST /auth/token`
pub(super) async fn shared(
    State(broker): State<Arc<Broker>>,
    caller: Caller,
    ask: Ask,
) -> Result<Json<Handed>, Refusal> {
    broker.hand_out(&caller, ask.service()?, &ask, LinkCallback::Shared).await
}

/// `POST /auth/init`
pub(super) async fn init(State(broker): State<Arc<Broker>>, caller: Caller, ask: Ask) -> Result<Json<Link>, Refusal> {
    let subject = caller.subject(&broker, ask.service()?, &ask).await?;
    if subject.service.client.is_none() {
        return Ok(Json(broker.account_page()));
    }
    let scopes = ask.scopes()?;
    let wish = Wish { scopes: &scopes, callback: LinkCallback::Shared, return_to: broker.return_to(&ask)? };
    Ok(Json(broker.link(&caller, &subject, wish).await?))
}

/// `DELETE /auth/revoke`: 204 also when there was nothing to end, like RFC 7009 §2.2. A personal access token stays: its
/// person has put it there.
pub(super) async fn revoke(State(broker): State<Arc<Broker>>, caller: Caller, ask: Ask) -> Result<StatusCode, Refusal> {
    let Subject { service, user } = caller.subject(&broker, ask.service()?, &ask).await?;
    if broker.services.disconnect(&service, user.id).await? {
        caller.record(&broker, "service.disconnected", &format!("{} for {}", service.name, user.name));
    }
    Ok(StatusCode::NO_CONTENT)
}

impl Broker {
    async fn hand_out(
        &self,
        caller: &Caller,
        service: &str,
        ask: &Ask,
        callback: LinkCallback,
    ) -> Result<Json<Handed>, Refusal> {
        let subject = caller.subject(self, service, ask).await?;
        let (scopes, return_to) = (ask.scopes()?, self.return_to(ask)?);
        match self.services.token(&subject.service, subject.user.id, &scopes).await {
            Ok(token) => {
                let source = token.source.as_str();
                let what = format!("{} for {} ({source})", subject.service.name, subject.user.name);
                caller.record(self, "service.token_issued", &what);
                Ok(Json(Handed::new(&token, self.clock.now())))
            }
            Err(NoToken::AuthorizationRequired { scopes }) => {
                let wish = Wish { scopes: &scopes, callback, return_to };
                Err(Refusal::authorization_required(self.link(caller, &subject, wish).await?))
            }
            Err(NoToken::NoPat(fault)) => Err(Refusal::needs_pat(self.account_page(), fault)),
            Err(NoToken::Trouble { retry_after, fault }) => {
                tracing::warn!(%fault, service = %subject.service.name, "a service's provider is in trouble");
                Err(Refusal::trouble(retry_after, fault))
            }
            Err(NoToken::Failed(fault)) => Err(fault.into()),
        }
    }

    fn return_to(&self, ask: &Ask) -> Result<Option<String>, Refusal> {
        let Some(text) = ask.return_to() else { return Ok(None) };
        let allowed = self.destination(text).ok_or_else(|| {
            Refusal::bad_request("return_to (or redirect_uri) is on none of server.allowed_origins of this gateway")
        })?;
        Ok(Some(allowed.to_owned()))
    }
}

impl Handed {
    fn new(token: &ServiceToken, now: Timestamp) -> Self {
        Self {
            access_token: token.access_token.expose().to_owned(),
            token_type: token.token_type,
            expires_at: token.expires_at.map(|at| at.0),
            expires_in: token.expires_at.map(|at| at.since(now).as_secs()),
            scope: token.scope.to_string(),
            source: token.source.as_str(),
        }
    }
}
