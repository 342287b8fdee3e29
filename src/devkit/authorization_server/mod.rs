//! A small OAuth 2.1 authorization server of the strict kind, as an upstream MCP server has one: discovery (RFC 8414
//! and OpenID Connect), dynamic registration (RFC 7591), PKCE S256, resource indicators (RFC 8707), `iss` (RFC 9207),
//! opaque access tokens, refresh tokens that rotate without any grace, revocation (RFC 7009).

mod authorize;
mod metadata;
mod misbehaviour;
mod page;
mod register;
mod state;
mod token;
mod tokens;

#[cfg(test)]
mod tests;

pub use misbehaviour::Misbehaviour;
pub use state::{Counters, Seen};
pub use tokens::{Caller, Tokens};

use crate::clock::Clock;
use crate::devkit::running::{Running, Stop};
use crate::ids::Random;
use axum::Router;
use axum::routing::{get, post};
use state::Shared;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The scopes that exist here.
pub const SCOPES: [&str; 2] = ["notes.read", "notes.write"];

/// What a test may want otherwise.
pub struct Options {
    /// The path of the issuer: empty, or such as `/tenant`.
    pub issuer_path: String,
    /// How long access tokens live.
    pub access_ttl: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { issuer_path: String::new(), access_ttl: Duration::from_secs(300) }
    }
}

/// A running authorization server; it stops when this is dropped.
pub struct AuthorizationServer {
    running: Running,
    shared: Arc<Shared>,
}

impl AuthorizationServer {
    /// Listens on `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(address: SocketAddr, clock: Clock, random: Random, options: Options) -> io::Result<Self> {
        Self::start_with(address, clock, random, options, |_, _| Router::new()).await
    }

    /// The same, with further routes on the same origin: an MCP server that is its own authorization server, as the
    /// revision 2025-03-26 has it.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start_with(
        address: SocketAddr,
        clock: Clock,
        random: Random,
        options: Options,
        further: impl FnOnce(Tokens, Stop) -> Router,
    ) -> io::Result<Self> {
        let mut made = None;
        let running = Running::start(address, |address, stop| {
            let shared = Arc::new(Shared::new(format!("http://{address}"), clock, random, options, stop));
            made = Some(shared.clone());
            router(&shared).merge(further(Tokens::new(shared.clone()), shared.stop.clone()))
        })
        .await?;
        let shared = made.ok_or_else(|| io::Error::other("the server was not assembled"))?;
        Ok(Self { running, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// The issuer identifier.
    pub fn issuer(&self) -> String {
        self.shared.issuer()
    }

    /// What a resource server needs to know of the tokens issued here, and what tests do to them.
    pub fn tokens(&self) -> Tokens {
        Tokens::new(self.shared.clone())
    }

    /// Misbehaves from now on.
    pub fn misbehave(&self, how: Misbehaviour) {
        self.shared.misbehaviours.send_if_modified(|set| set.insert(how));
    }

    /// Behaves again; whatever was held back is answered.
    pub fn behave(&self) {
        self.shared.misbehaviours.send_replace(Default::default());
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.shared.state.lock().counters
    }

    /// The parameters of every authorization, token, registration and revocation request so far, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state.lock().seen.clone()
    }

    /// Registers a confidential client by hand: its id and secret.
    pub fn register_client(&self, redirect_uri: &str) -> (String, String) {
        register::by_hand(&self.shared, redirect_uri)
    }

    /// Stops and waits for the end.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    let path = shared.options.issuer_path.clone();
    metadata::routes(&path)
        .route(&format!("{path}/authorize"), get(authorize::ask).post(authorize::decide))
        .route(&format!("{path}/token"), post(token::token))
        .route(&format!("{path}/register"), post(register::register))
        .route(&format!("{path}/revoke"), post(token::revoke))
        .with_state(shared.clone())
}

/// Waits for as long as the server is told to misbehave in that way.
async fn held_back(shared: &Shared, how: Misbehaviour, stop: Stop) {
    let mut set = shared.misbehaviours.subscribe();
    tokio::select! {
        _ = set.wait_for(|set| !set.contains(&how)) => {}
        () = stop.requested() => {}
    }
}
