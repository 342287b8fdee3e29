//! The surface: which request is for which transport, and who sends it.

use super::legacy::Sessions;
use super::modern::Waiting;
use super::wire::{self, Accept};
use super::{Aggregate, Caller, View, legacy, modern};
use crate::clock::Clock;
use crate::config::{Streams, Unified};
use crate::hostname::Realm;
use crate::ids::{GrantId, Random, UserId};
use crate::life::Life;
use crate::mcp::era::Era;
use crate::mcp::rpc::{Id, Members, Rpc, RpcError};
use crate::request::{Arrival, Stay};
use crate::store::Store;
use crate::telemetry::SharedSpan;
use crate::tokens::AccessToken;
use crate::upstream::{Registry, Upstream};
use crate::vault::Vault;
use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// What the door works with.
pub struct DoorParts {
    /// The upstreams, as one server.
    pub aggregate: Arc<Aggregate>,
    /// Which upstream an MCP hostname means.
    pub registry: Arc<Registry>,
    /// Sessions.
    pub store: Store,
    /// What they remember is sealed.
    pub vault: Vault,
    /// The time.
    pub clock: Clock,
    /// Their ids.
    pub random: Random,
}

/// The door for MCP clients. Shared behind an `Arc`, and as old as the process: sessions and suspended work are in it.
pub struct Door {
    pub(super) aggregate: Arc<Aggregate>,
    pub(super) sessions: Sessions,
    pub(super) waiting: Waiting,
    pub(super) random: Random,
    /// Marks questions.
    pub(super) vault: Vault,
    registry: Arc<Registry>,
    settings: ArcSwap<Settings>,
}

/// What can change while the gateway runs.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    /// The largest message, in bytes.
    max_body: usize,
    /// How many sessions a person may have.
    pub(super) max_sessions: u32,
    /// How long an answer may be silent.
    pub(super) heartbeat: Option<Duration>,
}

impl Door {
    /// Nobody is inside yet.
    pub fn new(parts: DoorParts, unified: &Unified, streams: &Streams) -> Arc<Self> {
        let DoorParts { aggregate, registry, store, vault, clock, random } = parts;
        Arc::new(Self {
            aggregate,
            registry,
            waiting: Waiting::new(vault.clone(), clock.clone(), random.clone()),
            sessions: Sessions::new(store, vault.clone(), clock, random.clone()),
            vault,
            random,
            settings: ArcSwap::from_pointee(Settings::of(unified, streams)),
        })
    }

    /// Takes over another configuration, from the next request on.
    pub fn reconfigure(&self, unified: &Unified, streams: &Streams) {
        self.settings.store(Arc::new(Settings::of(unified, streams)));
    }

    /// Ends sessions that nobody has used for a day, and forgets those that have not been used lately.
    pub async fn sweep(&self) {
        self.sessions.sweep().await;
    }

    pub(super) fn settings(&self) -> Settings {
        **self.settings.load()
    }

    /// As long as an answer may be silent before somebody on the way takes its connection for dead. For ever, where the client takes
    /// no events: then nothing can be said before the answer.
    pub(super) async fn silence(&self, accept: Accept) {
        match self.settings().heartbeat.filter(|_| accept.events) {
            Some(heartbeat) => tokio::time::sleep(heartbeat).await,
            None => std::future::pending().await,
        }
    }
}

impl Settings {
    fn of(unified: &Unified, streams: &Streams) -> Self {
        Self {
            max_body: usize::try_from(unified.max_body).unwrap_or(usize::MAX),
            max_sessions: unified.max_sessions,
            heartbeat: streams.heartbeat,
        }
    }
}

/// The door behind the data plane, which has admitted every request: it has an `Arc<AccessToken>`, an [`Arrival`] and a [`Stay`].
/// Every path that ends in `/sse` or `/messages` is of the transport of 2024, every other one an MCP endpoint.
pub fn routes(door: Arc<Door>) -> Router {
    Router::new().fallback(serve).with_state(door)
}

/// The same for a program without sign-in, `portcullis bridge`: whoever can connect is this person, and sees this upstream alone,
/// under its own names. The person must be in the door's store, which may be one in memory (`sqlite::memory:`), and the upstream in
/// the aggregate's registry. Whoever serves it looks at `Host` and `Origin` first (MCP transport security, DNS rebinding).
pub fn open_routes(door: Arc<Door>, user: UserId, upstream: Arc<Upstream>) -> Router {
    routes(door).layer(axum::Extension(Everybody { user, upstream }))
}

/// Everybody who can connect.
#[derive(Clone)]
struct Everybody {
    user: UserId,
    upstream: Arc<Upstream>,
}

/// Who sends a request, as far as the way here knows.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) user: UserId,
    pub(super) client_id: Arc<str>,
    pub(super) life: Arc<Life>,
    /// Where it came to: nothing that it was given here is worth anything elsewhere.
    pub(super) place: Arc<str>,
    /// Until when its answers may go on.
    stay: Option<Arc<Life>>,
    grant: GrantId,
    token: Option<Arc<AccessToken>>,
    address: IpAddr,
    view: View,
    meta_tools: bool,
    trace: Option<SharedSpan>,
}

/// What a client says about itself: with each request, or once for a session.
pub(super) struct Introduction {
    pub(super) era: Era,
    pub(super) version: String,
    pub(super) info: Value,
    pub(super) capabilities: Members,
    pub(super) log_level: Option<String>,
    pub(super) session: Arc<str>,
    pub(super) headers: HeaderMap,
}

impl Guest {
    /// The guest as the aggregate sees it.
    pub(super) fn introduced(&self, client: Introduction) -> Caller {
        Caller {
            user: self.user,
            token: self.token.clone(),
            address: self.address,
            client_id: self.client_id.clone(),
            grant: self.grant,
            life: self.life.clone(),
            era: client.era,
            version: client.version,
            info: client.info,
            capabilities: client.capabilities,
            log_level: client.log_level,
            session: client.session,
            view: self.view.clone(),
            meta_tools: self.meta_tools,
            headers: client.headers,
            trace: self.trace.clone(),
        }
    }

    /// Waits until answers have to end.
    pub(super) async fn over(&self) {
        match &self.stay {
            Some(stay) => stay.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Somebody, for tests.
    #[cfg(test)]
    pub(super) fn somebody(user: UserId, client_id: &str, place: &str) -> Self {
        Self {
            user,
            client_id: client_id.into(),
            life: Arc::default(),
            place: place.into(),
            stay: None,
            grant: GrantId([0; 16]),
            token: None,
            address: Ipv4Addr::LOCALHOST.into(),
            view: View::Everything,
            meta_tools: false,
            trace: None,
        }
    }

    /// `None` for a request that no way leads here.
    fn of(door: &Door, parts: &Parts) -> Option<Self> {
        let meta_tools = query(parts, "tools").is_some_and(|tools| tools == "meta");
        if let Some(Everybody { user, upstream }) = parts.extensions.get() {
            return Some(Self {
                user: *user,
                client_id: "".into(),
                life: Arc::default(),
                place: upstream.authority.as_str().into(),
                stay: None,
                grant: GrantId([0; 16]),
                token: None,
                address: Ipv4Addr::LOCALHOST.into(),
                view: View::One { upstream: upstream.clone(), account: None },
                meta_tools,
                trace: None,
            });
        }
        let token = parts.extensions.get::<Arc<AccessToken>>()?;
        let arrival = parts.extensions.get::<Arrival>()?;
        let view = match &arrival.realm {
            Realm::Root => View::Everything,
            Realm::Mcp(label) => View::One { upstream: door.registry.find(label)?, account: label.account.clone() },
        };
        Some(Self {
            user: token.user,
            client_id: token.client_id.as_ref().into(),
            life: token.life.clone(),
            place: arrival.realm.key().into(),
            stay: parts.extensions.get::<Stay>().map(|stay| stay.0.clone()),
            grant: token.grant(),
            token: Some(token.clone()),
            address: arrival.client,
            view,
            meta_tools,
            trace: parts.extensions.get().cloned(),
        })
    }
}

/// A member of the query.
pub(super) fn query(parts: &Parts, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(parts.uri.query()?.as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

async fn serve(State(door): State<Arc<Door>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(guest) = Guest::of(&door, &parts) else { return StatusCode::NOT_FOUND.into_response() };
    let path = parts.uri.path();
    if path.ends_with("/sse") {
        return match parts.method {
            Method::GET => legacy::open_stream(door, guest),
            // Clients that try Streamable HTTP first go by this status (MCP 2025-03-26, Backwards Compatibility).
            _ => only("GET"),
        };
    }
    if path.ends_with("/messages") {
        return match parts.method {
            Method::POST => match read(&door, &parts.headers, body).await {
                Ok(message) => legacy::message(&door, &guest, query(&parts, "session"), message).await,
                Err(response) => response,
            },
            _ => only("POST"),
        };
    }
    match parts.method {
        Method::POST => post(door, guest, &parts.headers, body).await,
        Method::GET => legacy::listen(door, guest, &parts.headers).await,
        Method::DELETE => legacy::end(&door, &guest, &parts.headers).await,
        _ => only("GET, POST, DELETE"),
    }
}

async fn post(door: Arc<Door>, guest: Guest, headers: &HeaderMap, body: Body) -> Response {
    let accept = Accept::of(headers);
    if !accept.json && !accept.events {
        let error = RpcError::new(NOT_ACCEPTABLE, "accept application/json and text/event-stream");
        return wire::refused(StatusCode::NOT_ACCEPTABLE, None, error);
    }
    let message = match read(&door, headers, body).await {
        Ok(message) => message,
        Err(response) => return response,
    };
    let message = match message {
        Value::Array(batch) => return legacy::batch(door, guest, (headers, accept), batch).await,
        message => message,
    };
    let id = message.get("id").cloned().and_then(Id::from_json);
    match Rpc::from_json(message) {
        Ok(message) if modern::is_modern(&message, headers) => {
            modern::post(door, guest, (headers, accept), message).await
        }
        Ok(message) => legacy::post(door, guest, (headers, accept), message).await,
        Err(error) => wire::refused(StatusCode::BAD_REQUEST, id, error),
    }
}

/// As servers of the official SDKs: outside of what JSON-RPC and MCP give a meaning to.
pub(super) const NOT_ACCEPTABLE: i64 = -32000;

/// The message in a body.
async fn read(door: &Door, headers: &HeaderMap, body: Body) -> Result<Value, Response> {
    let refused = |status, code, why: String| wire::refused(status, None, RpcError::new(code, why));
    if !is_json(headers) {
        let why = "the Content-Type of a message is application/json".to_owned();
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, NOT_ACCEPTABLE, why));
    }
    let max = door.settings().max_body;
    let bytes: Bytes = match Limited::new(body, max).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => {
            let why = format!("a message has at most {max} bytes");
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, NOT_ACCEPTABLE, why));
        }
    };
    match serde_json::from_slice(&bytes) {
        Ok(message) => Ok(message),
        Err(why) => Err(refused(StatusCode::BAD_REQUEST, RpcError::PARSE_ERROR, format!("not JSON: {why}"))),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn only(methods: &'static str) -> Response {
    let error = RpcError::new(NOT_ACCEPTABLE, format!("this address takes {methods} only"));
    let mut response = wire::refused(StatusCode::METHOD_NOT_ALLOWED, None, error);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}
