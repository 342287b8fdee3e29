//! The door for people: landing page, login, set-up, encoder, connections.

mod address;
mod clients;
mod connect;
mod failure;
mod home;
mod identities;
mod providers;
mod rows;
mod signin;
#[cfg(test)]
mod tests;
mod upstreams;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::connect::Connections;
use crate::hostname::Site;
use crate::identity::Identity;
use crate::identity::providers::Providers;
use crate::ratelimit::RateLimits;
use crate::revocation::Revocations;
use crate::session::{Sessions, SignedIn};
use crate::store::Store;
use crate::upstream::{HealthTable, Registry};
use axum::extract::{DefaultBodyLimit, Path};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use failure::Failure;
use http::HeaderMap;
use std::sync::Arc;

/// The largest form that a page of ours sends, many times over, in bytes.
const MAX_FORM: usize = 64 * 1024;

/// Everything the pages work with.
pub struct Dashboard {
    /// Our names.
    pub site: Site,
    /// People.
    pub identity: Arc<Identity>,
    /// Where else they sign in.
    pub providers: Arc<Providers>,
    /// Whether names and passwords are accepted.
    pub passwords: bool,
    /// Browsers.
    pub sessions: Arc<Sessions>,
    /// Rows.
    pub store: Store,
    /// Upstreams.
    pub registry: Arc<Registry>,
    /// How they do.
    pub health: HealthTable,
    /// Connections.
    pub connections: Arc<Connections>,
    /// Who did what.
    pub audit: Audit,
    /// Time.
    pub clock: Clock,
    /// Ends what people take back.
    pub revocations: Arc<Revocations>,
    /// How often somebody may try.
    pub limits: Arc<RateLimits>,
}

/// `/`, `/login` and below, `/logout`, `/account/identities` and below, `/setup`, `/encode`, `/oauth/start`, `/oauth/callback`, `/health`, static files, and a page
/// for everything unknown: the root domain's fallback. Every request carries an [`crate::request::Arrival`].
pub fn routes(dashboard: Arc<Dashboard>) -> Router {
    Router::new()
        .route("/", get(home::show))
        .route("/connections/disconnect", post(home::disconnect))
        .route("/grants/revoke", post(home::revoke))
        .route("/upstreams/approve", post(upstreams::approve))
        .route("/upstreams/remove", post(upstreams::remove))
        .route("/login", get(signin::form).post(signin::sign_in))
        .route("/login/{provider}", post(providers::leave))
        .route("/login/{provider}/callback", get(providers::come_back))
        .route("/account/identities", get(identities::show))
        .route("/account/identities/link", post(identities::link))
        .route("/account/identities/unlink", post(identities::unlink))
        .route("/logout", post(signin::sign_out))
        .route("/setup", get(signin::setup_form).post(signin::set_up))
        .route("/encode", get(address::encode))
        .route("/oauth/start", get(connect::start).post(connect::approve_and_start))
        .route("/oauth/callback", get(connect::callback))
        .route("/oauth/client-metadata.json", get(connect::client_metadata))
        .route("/health", get(health))
        .route("/assets/{name}", get(asset))
        .fallback(|| async { Failure::NotFound })
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(map_response(failure::as_page))
        .with_state(dashboard)
}

impl Dashboard {
    /// The signed-in person, or the way to sign in and come back to `return_to`.
    async fn person(&self, headers: &HeaderMap, return_to: &str) -> Result<SignedIn, Failure> {
        self.sessions.find(headers).await?.ok_or_else(|| Failure::SignInFirst(return_to.to_owned()))
    }

    /// The signed-in person behind a form of ours.
    async fn sender(&self, headers: &HeaderMap, csrf_token: &str) -> Result<SignedIn, Failure> {
        let person = self.person(headers, "/").await?;
        crate::csrf::check(&self.site, headers, &person.csrf_token, Some(csrf_token))?;
        Ok(person)
    }
}

async fn health() -> Response {
    Json(serde_json::json!({ "status": "ok" })).into_response()
}

async fn asset(Path(name): Path<String>) -> Result<Response, Failure> {
    crate::page::asset(&name).ok_or(Failure::NotFound)
}
