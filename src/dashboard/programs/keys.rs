//! `/programs/keys`: API keys.

use super::{sentence, told, words};
use crate::administration::records::{ApiKey, ApiScope, CreatedApiKey, NewApiKey};
use crate::clock::Timestamp;
use crate::config::positive_duration;
use crate::dashboard::failure::Failure;
use crate::dashboard::sent::Deciding;
use crate::dashboard::{Dashboard, rows};
use crate::page::{self, ApiKeyRow, KeysPage, Moment, OncePage};
use crate::session::SignedIn;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use std::sync::Arc;

const KEYS: &str = "/programs/keys";

/// `GET /programs/keys`
pub(super) async fn show(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, KEYS).await?;
    let empty = KeyForm { broker: Some("on".to_owned()), ..KeyForm::default() };
    dashboard.keys_page(&person, &empty, None).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct KeyForm {
    id: String,
    name: String,
    broker: Option<String>,
    introspect: Option<String>,
    admin: Option<String>,
    resources: String,
    services: String,
    users: String,
    expires: String,
}

/// `POST /programs/keys`: the answer shows the key, this once.
pub(super) async fn create(
    State(dashboard): State<Arc<Dashboard>>,
    Deciding(sent): Deciding<KeyForm>,
) -> Result<Response, Failure> {
    let new = match sent.form.wishes() {
        Ok(new) => new,
        Err(why) => return dashboard.keys_page(&sent.person, &sent.form, Some(&why)).await,
    };
    match dashboard.administration.create_api_key(&sent.actor(), &new).await {
        Ok(made) => Ok(show_made(&sent.person, &made)),
        Err(refused) => dashboard.keys_page(&sent.person, &sent.form, Some(&told(refused)?)).await,
    }
}

/// `POST /programs/keys/revoke`
pub(super) async fn revoke(
    State(dashboard): State<Arc<Dashboard>>,
    Deciding(sent): Deciding<KeyForm>,
) -> Result<Response, Failure> {
    dashboard.administration.revoke_api_key(&sent.actor(), &sent.form.id).await?;
    Ok(dashboard.done(&sent.person, KEYS, "Revoked. Whoever still has the key can do nothing with it."))
}

impl KeyForm {
    fn wishes(&self) -> Result<NewApiKey, String> {
        let scopes = [
            (&self.broker, ApiScope::Broker),
            (&self.introspect, ApiScope::Introspect),
            (&self.admin, ApiScope::Admin),
        ];
        let scopes: Vec<ApiScope> =
            scopes.into_iter().filter(|(ticked, _)| ticked.is_some()).map(|(_, scope)| scope).collect();
        if scopes.is_empty() {
            return Err("Say what the key is for: tick one of the three.".to_owned());
        }
        let life = match self.expires.trim() {
            "" => None,
            text => Some(positive_duration(text).map_err(|why| sentence(&why))?.as_secs()),
        };
        Ok(NewApiKey {
            name: self.name.trim().to_owned(),
            scopes,
            resources: words(&self.resources),
            services: words(&self.services),
            users: words(&self.users),
            expires_in: life,
        })
    }
}

impl Dashboard {
    async fn keys_page(&self, person: &SignedIn, form: &KeyForm, error: Option<&str>) -> Result<Response, Failure> {
        let (keys, now) = (self.administration.api_keys().await?, self.clock.now());
        Ok(page::keys(&KeysPage {
            account: rows::account(person),
            rows: keys.items.into_iter().map(|key| row(key, now)).collect(),
            error,
            name: &form.name,
            scopes: [&form.broker, &form.introspect, &form.admin].map(Option::is_some),
            resources: &form.resources,
            services: &form.services,
            users: &form.users,
            expires: &form.expires,
        }))
    }
}

fn show_made(person: &SignedIn, made: &CreatedApiKey) -> Response {
    page::once(&OncePage {
        account: rows::account(person),
        title: "The API key",
        text: "Copy it now: it is not shown again. It goes into the header X-API-Key, or as Bearer into Authorization.",
        values: &[("API key", &made.key)],
        go_on: KEYS,
    })
}

fn row(key: ApiKey, now: Timestamp) -> ApiKeyRow {
    let bounds = [("Resources:", key.resources), ("Services:", key.services), ("For:", key.users)];
    let bounds = bounds.into_iter().filter(|(_, all)| !all.is_empty());
    ApiKeyRow {
        id: key.id,
        name: key.name,
        scopes: key.scopes.into_iter().map(scope).collect(),
        bounds: bounds.map(|(what, all)| (what, all.join(", "))).collect(),
        created: Moment::new(key.created_at.0, now),
        expired: key.expires_at.is_some_and(|end| end.0 <= now),
        expires: key.expires_at.map(|end| Moment::new(end.0, now)),
        last_used: key.last_used_at.map(|at| Moment::new(at.0, now)),
    }
}

fn scope(scope: ApiScope) -> &'static str {
    match scope {
        ApiScope::Admin => "admin API",
        ApiScope::Introspect => "introspection",
        ApiScope::Broker => "broker",
    }
}
