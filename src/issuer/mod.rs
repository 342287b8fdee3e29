//! The door of OAuth: our authorization server for every realm (DESIGN 1.2, 1.3).

mod answer;
mod assertion;
mod authentication;
mod authorize;
mod clients;
mod device;
mod documents;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod grants;
mod introspect;
mod jwks;
mod limits;
mod manage;
mod metadata;
mod pages;
mod parameters;
mod pending;
mod possession;
mod register;
mod remembered;
mod reply;
mod resource;
mod revoke;
mod steps;
#[cfg(test)]
mod tests;
mod token;

use crate::apikey::ApiKeys;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{Registration, Tokens};
use crate::connect::{ConnectionKey, Connections};
use crate::error::Fault;
use crate::hostname::{Realm, Site};
use crate::http::HttpClient;
use crate::identity::providers::Providers;
use crate::ids::{Random, UserId};
use crate::jwks::RemoteKeys;
use crate::oauth::registration::MAX_BODY;
use crate::paths;
use crate::ratelimit::RateLimits;
use crate::revocation::Revocations;
use crate::session::Sessions;
use crate::store::Store;
use crate::tokens::AccessTokens;
use crate::upstream::Registry;
use crate::vault::Vault;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use std::sync::Arc;

/// Everything the authorization server works with.
pub struct Issuer {
    /// Our names.
    pub site: Site,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Clients, grants, codes, refresh tokens, flows.
    pub store: Store,
    /// For the successors of refresh tokens.
    pub vault: Vault,
    /// Access tokens.
    pub tokens: Arc<AccessTokens>,
    /// Life-times.
    pub lifetimes: Tokens,
    /// Whose browser.
    pub sessions: Arc<Sessions>,
    /// Whose assertions about people are believed.
    pub providers: Arc<Providers>,
    /// Who may introspect.
    pub api_keys: Arc<ApiKeys>,
    /// Which upstreams there are.
    pub registry: Arc<Registry>,
    /// The upstream's own flow.
    pub connections: Arc<Connections>,
    /// Ends what is taken back, and what was used twice.
    pub revocations: Arc<Revocations>,
    /// For client ID metadata documents.
    pub http: HttpClient,
    /// The key sets of clients that sign.
    pub remote_keys: Arc<RemoteKeys>,
    /// Who may register, and for how long.
    pub registration: Registration,
    /// Whether client ID metadata documents and key sets may live on this very machine, over http: for development.
    pub allow_private_documents: bool,
    /// Who did what.
    pub audit: Audit,
    /// How often an address may register and ask for tokens.
    pub limits: Arc<RateLimits>,
}

impl Issuer {
    /// Which connection somebody uses at a realm; none at the root.
    fn connection_of(&self, realm: &Realm, user: UserId) -> Option<ConnectionKey> {
        let Realm::Mcp(label) = realm else { return None };
        let authority = self.registry.find(label)?.authority.clone();
        Some(ConnectionKey::upstream(user, authority, label.account.clone()))
    }

    /// Whether a person may use what is behind a realm. The root itself is for everybody: what the person may not use is
    /// not in it.
    async fn permits(&self, realm: &Realm, user: UserId) -> Result<bool, Fault> {
        let Realm::Mcp(label) = realm else { return Ok(true) };
        match self.registry.find(label) {
            Some(upstream) => self.registry.permits(user, &upstream.authority).await,
            None => Ok(false),
        }
    }
}

/// The routes of an MCP hostname. Every request carries an [`crate::request::Arrival`].
pub fn mcp_routes(issuer: Arc<Issuer>) -> Router {
    let open = endpoints(&issuer).fallback(metadata::well_known).layer(from_fn(reply::any_origin));
    open.route("/authorize", get(authorize::to_root))
        .route("/introspect", post(introspect::introspect))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(issuer)
}

/// The issuer's routes on the root domain. Every request carries an [`crate::request::Arrival`] of the root realm.
pub fn root_routes(issuer: Arc<Issuer>) -> Router {
    let mut open = endpoints(&issuer);
    for kind in [paths::AUTHORIZATION_SERVER, paths::OPENID_CONFIGURATION, paths::PROTECTED_RESOURCE] {
        for path in ["", "/mcp", "/mcp/sse", paths::API] {
            open = open.route(&format!("{kind}{path}"), get(metadata::well_known));
        }
    }
    let authorize = get(authorize::get).post(authorize::post);
    open.layer(from_fn(reply::any_origin))
        .route("/introspect", post(introspect::introspect))
        .route("/authorize", authorize.clone())
        .route("/authorize/{label}", authorize)
        .route("/device", get(device::page).post(device::claim))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(issuer)
}

/// What every realm has on its own origin, for callers of any origin.
fn endpoints(issuer: &Arc<Issuer>) -> Router<Arc<Issuer>> {
    Router::new()
        .route("/token", post(token::token).layer(from_fn_with_state(issuer.clone(), limits::token)))
        .route("/register", post(register::register).layer(from_fn_with_state(issuer.clone(), limits::registration)))
        .route("/register/{client_id}", get(manage::read).put(manage::replace).delete(manage::delete))
        .route(
            "/device_authorization",
            post(device::authorization).layer(from_fn_with_state(issuer.clone(), limits::registration)),
        )
        .route("/revoke", post(revoke::revoke).layer(from_fn_with_state(issuer.clone(), limits::token)))
        .route("/jwks", get(jwks::get))
}
