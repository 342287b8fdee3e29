//! The door for people: landing page, login, set-up, encoder, connections.

mod account;
mod activity;
mod connect;
mod connections;
mod credentials;
mod failure;
mod passkey;
mod pending;
mod people;
mod programs;
mod providers;
mod rows;
mod second;
mod sent;
mod servers;
mod signin;
mod start;
mod system;
#[cfg(test)]
mod tests;

use crate::activity::Activity;
use crate::administration::Administration;
use crate::audit::Audit;
use crate::certificates::Certificates;
use crate::clock::Clock;
use crate::config::{InForce, SecondFactor};
use crate::connect::{Connections, PERSONAL_PAGE};
use crate::doctor::Kit;
use crate::factors::Factors;
use crate::hostname::{Scheme, Site};
use crate::identity::Identity;
use crate::identity::providers::Providers;
use crate::ids::NodeId;
use crate::mcp_client::Clients;
use crate::paths;
use crate::ratelimit::RateLimits;
use crate::revocation::Revocations;
use crate::services::Services;
use crate::session::{Sessions, SignedIn};
use crate::store::{Role, Store};
use crate::upstream::{HealthTable, Registry};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use failure::Failure;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::Arc;

/// The largest form that a page of ours sends, many times over, in bytes.
const MAX_FORM: usize = 64 * 1024;

/// Everything the pages work with.
pub struct Dashboard {
    /// Our names.
    pub site: Site,
    /// What administrators do.
    pub administration: Arc<Administration>,
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
    /// Services of the token broker.
    pub services: Arc<Services>,
    /// Connections.
    pub connections: Arc<Connections>,
    /// Our own way to upstreams, for the lists of their tools.
    pub mcp: Clients,
    /// Who did what.
    pub audit: Audit,
    /// What happened how often.
    pub activity: Arc<Activity>,
    /// What the listeners present.
    pub certificates: Arc<Certificates>,
    /// Time.
    pub clock: Clock,
    /// Ends what people take back.
    pub revocations: Arc<Revocations>,
    /// How often somebody may try.
    pub limits: Arc<RateLimits>,
    /// What people have beside a password.
    pub factors: Arc<Factors>,
    /// Whether they must.
    pub second_factor: SecondFactor,
    /// Whether there is a unified endpoint.
    pub unified: bool,
    /// What set-ups are examined with.
    pub doctor: Kit,
    /// The configuration, for people.
    pub in_force: Arc<InForce>,
    /// This process among those that serve.
    pub node: NodeId,
}

/// `/`, `/account` and below, `/doctor` and below, `/login` and below, `/logout`, `/setup`, `/encode`, `/oauth/start`, `/oauth/callback`, `/health`, static files, and a page
/// for everything unknown: the root domain's fallback. Every request carries an [`crate::request::Arrival`].
pub fn routes(dashboard: Arc<Dashboard>) -> Router {
    let https = dashboard.site.scheme() == Scheme::Https;
    Router::new()
        .merge(start::routes())
        .merge(connections::routes())
        .merge(activity::routes())
        .merge(servers::routes())
        .merge(people::routes())
        .merge(programs::routes())
        .merge(system::routes())
        .route(PERSONAL_PAGE, get(credentials::form).post(credentials::keep))
        .route("/account", get(account::show))
        .route("/account/members", post(account::members::select))
        .route("/account/password", post(account::password::change))
        .route("/account/passkeys", post(account::passkeys::add))
        .route("/account/passkeys/challenge", post(account::passkeys::challenge))
        .route("/account/passkeys/remove", post(account::passkeys::remove))
        .route("/account/passkeys/after-password", post(account::passkeys::ask_after_password))
        .route("/account/totp/begin", post(account::totp::begin))
        .route("/account/totp/confirm", post(account::totp::confirm))
        .route("/account/totp/remove", post(account::totp::remove))
        .route("/account/recovery-codes", post(account::totp::renew_codes))
        .route("/account/sessions/end", post(account::sessions::end))
        .route("/account/sign-out-everywhere", post(account::sessions::end_all))
        .route("/login", get(signin::form).post(signin::sign_in))
        .route("/login/totp", get(second::form).post(second::check))
        .route("/login/passkey", post(passkey::sign_in))
        .route("/login/passkey/challenge", post(passkey::challenge))
        .route("/login/{provider}", post(providers::leave))
        .route("/login/{provider}/callback", get(providers::come_back))
        .route("/account/identities/link", post(account::identities::link))
        .route("/account/identities/unlink", post(account::identities::unlink))
        .route("/account/services/disconnect", post(account::services::disconnect))
        .route("/account/services/pat", post(account::services::put_pat))
        .route("/account/services/pat/remove", post(account::services::remove_pat))
        .route("/logout", post(signin::sign_out))
        .route("/setup", get(signin::setup_form).post(signin::set_up))
        .route("/oauth/start", get(connect::start).post(connect::approve_and_start))
        .route("/oauth/callback", get(connect::callback))
        .route("/oauth/client-metadata.json", get(connect::client_metadata))
        .route(paths::HEALTH, get(health))
        .route("/assets/{name}", get(asset))
        .fallback(|| async { Failure::NotFound })
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(map_response(failure::as_page))
        .layer(from_fn_with_state(dashboard.clone(), tell_once))
        .layer(map_response(move |response| over_tls_only(response, https)))
        .with_state(dashboard)
}

/// Browsers that have seen the root domain over https do not ask for it in the clear any more (RFC 6797 §7.1, which forbids the field over
/// plain HTTP). Hostnames below it are not included: no browser needs them.
async fn over_tls_only(mut response: Response, https: bool) -> Response {
    const HALF_A_YEAR: HeaderValue = HeaderValue::from_static("max-age=15768000");
    if https {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HALF_A_YEAR);
    }
    response
}

/// Whatever page comes, a notice that came along with the request has been told by it.
async fn tell_once(State(dashboard): State<Arc<Dashboard>>, request: Request, next: Next) -> Response {
    let told = dashboard.sessions.told(request.headers());
    let mut response = next.run(request).await;
    let is_page = response.status() != StatusCode::SEE_OTHER
        && response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if let Some(told) = told.filter(|_| is_page) {
        response.headers_mut().append(header::SET_COOKIE, told);
    }
    response
}

impl Dashboard {
    /// The signed-in administrator, or the way to sign in and come back to `return_to`.
    async fn administrator(&self, headers: &HeaderMap, return_to: &str) -> Result<SignedIn, Failure> {
        let person = self.person(headers, return_to).await?;
        must_administer(&person)?;
        Ok(person)
    }

    /// On to a page of ours, which tells what has been done.
    fn done(&self, person: &SignedIn, address: &str, notice: &str) -> Response {
        let mut response = failure::see_other(address);
        response.headers_mut().append(header::SET_COOKIE, self.sessions.notice(person, notice));
        response
    }

    /// The signed-in person, or the way to sign in and come back to `return_to`.
    async fn person(&self, headers: &HeaderMap, return_to: &str) -> Result<SignedIn, Failure> {
        self.sessions.find(headers).await?.ok_or_else(|| Failure::SignInFirst(return_to.to_owned()))
    }
}

fn must_administer(person: &SignedIn) -> Result<(), Failure> {
    if person.user.role == Role::Administrator { Ok(()) } else { Err(Failure::NotAdministrator) }
}

async fn health() -> Response {
    Json(serde_json::json!({ "status": "ok" })).into_response()
}

async fn asset(Path(name): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    crate::page::asset(&name, query.as_deref()).ok_or(Failure::NotFound)
}
