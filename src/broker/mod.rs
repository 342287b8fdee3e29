//! The door of the token broker (DESIGN 1.7): MCP servers that call Google or GitHub themselves show an API key and get a
//! person's token; a person who has not connected the service yet is led there by a link. Two shapes of the same thing
//! exist in the field, and both are here: one address for each service, and one for all of them.
//!
//! Nothing here lets a page of another origin read anything, and no answer is stored.

mod ask;
mod callback;
mod caller;
mod consent;
mod destination;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod link;
mod pages;
mod refusal;
mod tokens;

use crate::apikey::ApiKeys;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::hostname::Site;
use crate::ids::Random;
use crate::ratelimit::RateLimits;
use crate::services::Services;
use crate::session::Sessions;
use crate::store::Store;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{delete, get, post};
use http::{HeaderValue, header};
use std::sync::Arc;

/// The largest body, in bytes: a handful of short texts.
const MAX_BODY: usize = 16 * 1024;

/// Everything the broker works with.
pub struct Broker {
    /// Our names.
    pub site: Site,
    /// Whose tokens are handed out.
    pub services: Arc<Services>,
    /// Who may ask.
    pub api_keys: Arc<ApiKeys>,
    /// Browsers.
    pub sessions: Arc<Sessions>,
    /// Links and people.
    pub store: Store,
    /// Who got what.
    pub audit: Audit,
    /// Time.
    pub clock: Clock,
    /// Randomness for links.
    pub random: Random,
    /// How often somebody may ask.
    pub limits: Arc<RateLimits>,
    /// `server.allowed_origins`: where people may be sent afterwards.
    pub allowed_origins: Vec<String>,
}

/// `/auth/…`, `/callback/{service}`, `/token/{service}`. Every request carries an [`crate::request::Arrival`].
pub fn routes(broker: Arc<Broker>) -> Router {
    Router::new()
        .route("/token/{service}", post(tokens::of_service))
        .route("/auth/token", post(tokens::shared))
        .route("/auth/init", post(tokens::init))
        .route("/auth/revoke", delete(tokens::revoke))
        .route("/auth/callback", get(callback::shared))
        .route("/auth/{service}", get(consent::show).post(consent::decide))
        .route("/callback/{service}", get(callback::of_service))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(map_response(never_stored))
        .with_state(broker)
}

async fn never_stored(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
