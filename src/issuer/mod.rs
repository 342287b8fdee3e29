//! The door of OAuth: our authorization server for every realm (DESIGN 1.2, 1.3).

use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Tokens;
use crate::connect::Connections;
use crate::hostname::Site;
use crate::http::HttpClient;
use crate::ids::Random;
use crate::session::Sessions;
use crate::store::Store;
use crate::tokens::AccessTokens;
use crate::upstream::Registry;
use crate::vault::Vault;
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
    /// Which upstreams there are.
    pub registry: Arc<Registry>,
    /// The upstream's own flow.
    pub connections: Arc<Connections>,
    /// For client ID metadata documents.
    pub http: HttpClient,
    /// Who did what.
    pub audit: Audit,
}

/// The routes of an MCP hostname. Every request carries an [`crate::request::Arrival`].
pub fn mcp_routes(issuer: Arc<Issuer>) -> axum::Router {
    let _ = issuer;
    todo!()
}

/// The issuer's routes on the root domain.
pub fn root_routes(issuer: Arc<Issuer>) -> axum::Router {
    let _ = issuer;
    todo!()
}
