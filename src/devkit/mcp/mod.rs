//! Demo MCP servers, as somebody else would run them: Streamable HTTP at `/mcp` in both protocol eras, HTTP+SSE of
//! 2024-11-05 at `/sse`, WebSocket at `/ws`, a raw WebSocket echo at `/echo`; each protected by the tokens of a demo
//! [`AuthorizationServer`](super::authorization_server::AuthorizationServer), by a fixed header, or not at all. And the same
//! server as a program that speaks over standard input and output.

mod answer;
mod events;
mod guard;
mod http_sse;
mod misbehaviour;
mod modern;
mod recorder;
mod stdio;
mod streamable;
mod websocket;

#[cfg(test)]
mod tests;

pub use answer::{LEGACY_REVISIONS, MODERN_REVISION, answer};
pub use misbehaviour::{Lie, Misbehaviour};
pub use recorder::{Recorder, Request};
pub use stdio::serve_standard_streams;

use super::authorization_server::{AuthorizationServer, Caller, Options, Tokens};
use super::running::{Running, Stop};
use crate::clock::Clock;
use crate::ids::Random;
use axum::http::{HeaderName, HeaderValue};
use axum::routing::{any, get, post};
use axum::{Router, middleware};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::broadcast;

/// The largest message taken, in bytes.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Who is let in.
pub enum Protection {
    /// Everybody.
    Open,
    /// Bearers of a token that this authorization server issued for this server's origin.
    Bearer(Tokens),
    /// Callers that send this header with this value, as API keys are sent.
    Header(HeaderName, HeaderValue),
}

/// A running MCP server; it stops when this is dropped.
pub struct McpServer {
    running: Running,
    /// What tests see of it and do to it.
    pub control: Control,
}

impl McpServer {
    /// Listens on `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(address: SocketAddr, random: Random, protection: Protection) -> io::Result<Self> {
        let mut made = None;
        let running = Running::start(address, |address, stop| {
            let shared = Arc::new(Shared::new(format!("http://{address}"), random, protection, stop));
            made = Some(shared.clone());
            router(&shared)
        })
        .await?;
        let shared = made.ok_or_else(|| io::Error::other("the server was not assembled"))?;
        Ok(Self { running, control: Control(shared) })
    }

    /// An MCP server that is its own authorization server, on one origin: what clients of the revision 2025-03-26 expect.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start_combined(
        address: SocketAddr,
        clock: Clock,
        random: Random,
    ) -> io::Result<(AuthorizationServer, Control)> {
        let mut made = None;
        let server =
            AuthorizationServer::start_with(address, clock, random.clone(), Options::default(), |tokens, stop| {
                let origin = tokens.issuer();
                let shared = Arc::new(Shared::new(origin, random, Protection::Bearer(tokens), stop));
                made = Some(shared.clone());
                router(&shared)
            })
            .await?;
        let shared = made.ok_or_else(|| io::Error::other("the server was not assembled"))?;
        Ok((server, Control(shared)))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// `http://127.0.0.1:<port><path>`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.origin())
    }

    /// Stops, ends all streams and waits for the end.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// What tests see of an MCP server and do to it.
#[derive(Clone)]
pub struct Control(Arc<Shared>);

impl Control {
    /// What arrived so far.
    pub fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    /// The next request to an MCP endpoint is treated like that; several are queued, one for each request.
    pub fn misbehave(&self, how: Misbehaviour) {
        self.0.misbehaviours.lock().push_back(how);
    }

    /// Says something untrue about itself from now on.
    pub fn lie(&self, lie: Lie) {
        self.0.lies.lock().insert(lie);
    }

    /// Forgets every session, as a restarted server does; their streams end.
    pub fn forget_sessions(&self) {
        self.0.sessions.lock().clear();
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.0.sessions.lock().len()
    }

    /// Sends a notification (`method` and `params`) down every open stream; how many streams there are.
    pub fn push(&self, notification: &Value) -> usize {
        let sessions = self.0.sessions.lock();
        let legacy: usize = sessions.values().filter_map(|session| session.send(notification.clone()).ok()).sum();
        legacy + self.0.listeners.send(notification.clone()).unwrap_or(0)
    }
}

struct Shared {
    origin: String,
    random: Random,
    protection: Protection,
    stop: Stop,
    recorder: Recorder,
    misbehaviours: Mutex<VecDeque<Misbehaviour>>,
    lies: Mutex<BTreeSet<Lie>>,
    /// By session id; the streams of a session end when it is removed.
    sessions: Mutex<HashMap<String, broadcast::Sender<Value>>>,
    /// The streams of clients of the modern era, which have no sessions.
    listeners: broadcast::Sender<Value>,
}

impl Shared {
    fn new(origin: String, random: Random, protection: Protection, stop: Stop) -> Self {
        if let Protection::Bearer(tokens) = &protection {
            tokens.add_resource_origin(&origin);
        }
        Self {
            origin,
            random,
            protection,
            stop,
            recorder: Recorder::default(),
            misbehaviours: Mutex::default(),
            lies: Mutex::default(),
            sessions: Mutex::default(),
            listeners: broadcast::channel(64).0,
        }
    }

    fn lies(&self, lie: Lie) -> bool {
        self.lies.lock().contains(&lie)
    }

    fn open_session(&self) -> String {
        let id = self.random.token().to_string();
        self.sessions.lock().insert(id.clone(), broadcast::channel(64).0);
        id
    }

    fn session(&self, id: &str) -> Option<broadcast::Receiver<Value>> {
        self.sessions.lock().get(id).map(broadcast::Sender::subscribe)
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    let mcp = post(streamable::post).get(streamable::get).delete(streamable::delete);
    Router::new()
        .route("/mcp", mcp)
        .route("/sse", get(http_sse::stream))
        .route("/messages", post(http_sse::message))
        .route("/ws", any(websocket::mcp))
        .route("/echo", any(websocket::echo))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .route_layer(middleware::from_fn_with_state(shared.clone(), guard::admit))
        .merge(guard::metadata_routes())
        .with_state(shared.clone())
}
