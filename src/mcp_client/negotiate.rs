//! How an upstream speaks MCP, and where, is found out once (MCP 2026-07-28, Versioning and Streamable HTTP, Backward
//! Compatibility): a modern request first, then `initialize`, then the stream of HTTP+SSE. It is a property of the server.

use super::channel::{First, Multiplexer};
use super::session::{self, Refused, Session, discover, initialize, offered, shown, speaks_nothing};
use super::wire::{To, Wire};
use super::{CallError, Principal, Resumption, Server, http_sse, websocket};
use crate::error::Fault;
use crate::mcp::era::LEGACY;
use crate::mcp::rpc::RpcError;
use crate::upstream::{Kind, Transport, Upstream};
use http::StatusCode;
use std::sync::Arc;

/// Where the endpoint is, and how to speak there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) path: String,
    pub(super) speaks: Speaks,
}

/// How to speak at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// Streamable HTTP of the modern era.
    Modern,
    /// Streamable HTTP with sessions.
    Legacy,
    /// HTTP+SSE of 2024-11-05.
    HttpSse,
    /// WebSocket.
    WebSocket,
}

/// A conversation that has begun.
pub(super) enum Began {
    /// Over Streamable HTTP.
    Session(Session),
    /// Over a channel.
    Channel(Arc<Multiplexer>, Arc<Server>),
}

/// Why it has not begun at a path.
enum Not {
    /// There is nothing of the kind there: another path may have it.
    Here(CallError),
    /// Trying elsewhere is no use.
    AtAll(CallError),
}

impl From<CallError> for Not {
    fn from(error: CallError) -> Self {
        Not::AtAll(error)
    }
}

/// Begins a conversation. `known` is what was found out before; where that does not hold any more, it is found out anew.
pub(super) async fn begin(
    wire: &Arc<Wire>,
    upstream: &Arc<Upstream>,
    principal: &Principal,
    known: Option<Endpoint>,
) -> Result<(Endpoint, Began), CallError> {
    let Kind::Http { transport } = &upstream.kind else {
        return Err(Fault::gateway("a program is not reached over the network").into());
    };
    if let Some(known) = known {
        let at = At { wire, upstream, principal, path: &known.path };
        match at.as_before(known.speaks).await {
            Ok(began) => return Ok((known, began)),
            Err(Not::AtAll(error)) => return Err(error),
            Err(Not::Here(_)) => {}
        }
    }
    let mut last = None;
    for path in paths(wire, upstream, principal, *transport).await {
        let at = At { wire, upstream, principal, path: &path };
        match at.begin(*transport).await {
            Ok((speaks, began)) => return Ok((Endpoint { path, speaks }, began)),
            Err(Not::AtAll(error)) => return Err(error),
            Err(Not::Here(error)) => last = last.or(Some(error)),
        }
    }
    Err(last.unwrap_or_else(|| Fault::gateway("there is no path to try").into()))
}

/// Goes on with the session of another process.
pub(super) fn resume(before: &Resumption) -> Option<(Endpoint, Began)> {
    let session = Session::resumed(before)?;
    let endpoint = Endpoint { path: before.path.clone(), speaks: Speaks::Legacy };
    before.path.starts_with('/').then_some((endpoint, Began::Session(session)))
}

/// Where an endpoint may be, the likeliest first: where the configuration says, or else what the person's authorization is
/// for, or else where they usually are.
async fn paths(wire: &Wire, upstream: &Upstream, principal: &Principal, transport: Transport) -> Vec<String> {
    if let Some(path) = &upstream.path {
        return vec![path.clone()];
    }
    let usual: &[&str] = match transport {
        Transport::Auto => &["/mcp", "/sse", "/"],
        Transport::StreamableHttp => &["/mcp", "/"],
        Transport::Sse => &["/sse", "/mcp", "/"],
        Transport::WebSocket => &["/mcp", "/ws", "/"],
    };
    let mut paths: Vec<String> = wire.connections.endpoint_path(&principal.key).await.into_iter().collect();
    paths.extend(wire.connections.usual_path(upstream).filter(|path| !paths.contains(path)));
    for path in usual {
        if !paths.iter().any(|known| known == path) {
            paths.push((*path).to_owned());
        }
    }
    paths
}

/// One path of an upstream.
struct At<'a> {
    wire: &'a Arc<Wire>,
    upstream: &'a Arc<Upstream>,
    principal: &'a Principal,
    path: &'a str,
}

impl At<'_> {
    async fn begin(&self, transport: Transport) -> Result<(Speaks, Began), Not> {
        match transport {
            Transport::WebSocket => Ok((Speaks::WebSocket, self.websocket().await?)),
            Transport::Sse => Ok((Speaks::HttpSse, self.http_sse().await?)),
            Transport::StreamableHttp => self.streamable().await.map_err(|refused| refused.into_not()),
            Transport::Auto => match self.streamable().await {
                // What these mean for the transport before (MCP 2025-11-25, Transports, Backwards Compatibility).
                Err(Refusal::Status(refused)) if matches!(refused.status.as_u16(), 400 | 404 | 405) => {
                    match self.http_sse().await {
                        Ok(began) => Ok((Speaks::HttpSse, began)),
                        Err(Not::AtAll(error @ CallError::NeedsConsent)) => Err(Not::AtAll(error)),
                        Err(_) => Err(Refusal::Status(refused).into_not()),
                    }
                }
                outcome => outcome.map_err(Refusal::into_not),
            },
        }
    }

    /// Begins as it was found out before.
    async fn as_before(&self, speaks: Speaks) -> Result<Began, Not> {
        match speaks {
            Speaks::Modern => self
                .modern()
                .await
                .map_err(Refusal::into_not)?
                .map_err(|_| Not::Here(speaks_nothing("it was of the modern era, and is not any more"))),
            Speaks::Legacy => self.legacy(LEGACY[0]).await.map_err(Refusal::into_not),
            Speaks::HttpSse => self.http_sse().await,
            Speaks::WebSocket => self.websocket().await,
        }
    }

    async fn streamable(&self) -> Result<(Speaks, Began), Refusal> {
        match self.modern().await? {
            Ok(began) => Ok((Speaks::Modern, began)),
            Err(version) => Ok((Speaks::Legacy, self.legacy(version).await?)),
        }
    }

    /// Begins in the modern era; else the version to try of the other.
    async fn modern(&self) -> Result<Result<Began, &'static str>, Refusal> {
        match discover(self.wire, self.to(), self.principal).await? {
            Ok(result) => match session::discovered(&result) {
                Some(server) => Ok(Ok(Began::Session(Session { server: Arc::new(server), id: None }))),
                None => Ok(Err(offered(Some(&result), "supportedVersions").unwrap_or(LEGACY[0]))),
            },
            Err(refused) if refused.is_trouble() => Err(Refusal::Call(refused.into())),
            Err(refused) if refused.is_modern() => {
                let error = refused.error.as_ref();
                let unsupported = error.filter(|error| error.code == RpcError::UNSUPPORTED_VERSION);
                match offered(unsupported.and_then(|error| error.data.as_ref()), "supported") {
                    Some(version) => Ok(Err(version)),
                    None => {
                        let why = error.map(|error| shown(&error.message)).unwrap_or_default();
                        Err(Refusal::Call(speaks_nothing(format!("it refuses {}: {why}", crate::mcp::era::MODERN))))
                    }
                }
            }
            Err(_) => Ok(Err(LEGACY[0])),
        }
    }

    /// Begins a session with `initialize`; with another version, where the server refuses this one and names others.
    async fn legacy(&self, version: &'static str) -> Result<Began, Refusal> {
        let refused = match initialize(self.wire, self.to(), self.principal, version).await? {
            Ok(session) => return Ok(Began::Session(session)),
            Err(refused) => refused,
        };
        let other = offered(refused.error.as_ref().and_then(|error| error.data.as_ref()), "supported");
        match other.filter(|other| *other != version) {
            Some(other) => match initialize(self.wire, self.to(), self.principal, other).await? {
                Ok(session) => Ok(Began::Session(session)),
                Err(refused) => Err(Refusal::Status(refused)),
            },
            None => Err(Refusal::Status(refused)),
        }
    }

    async fn http_sse(&self) -> Result<Began, Not> {
        let opened = http_sse::open(self.wire, self.upstream, self.principal, self.path).await?;
        let channel = opened.map_err(|refused| Refusal::Status(refused).into_not())?;
        let server = channel.begin(self.principal, First::Initialize).await?;
        Ok(Began::Channel(channel, server))
    }

    async fn websocket(&self) -> Result<Began, Not> {
        let opened = websocket::open(self.wire, self.upstream, self.principal, self.path).await?;
        let channel = opened.map_err(|refused| Refusal::Status(refused).into_not())?;
        let server = channel.begin(self.principal, First::Discover).await?;
        Ok(Began::Channel(channel, server))
    }

    fn to(&self) -> To<'_> {
        To { upstream: self.upstream, key: &self.principal.key, path: self.path }
    }
}

/// Why a conversation did not begin.
enum Refusal {
    /// The server answered, and not as an endpoint of the kind does.
    Status(Refused),
    /// There was no answer to go by.
    Call(CallError),
}

impl Refusal {
    fn into_not(self) -> Not {
        match self {
            Refusal::Call(error) => Not::AtAll(error),
            Refusal::Status(refused) if refused.is_trouble() => Not::AtAll(refused.into()),
            Refusal::Status(Refused { status: StatusCode::OK, error: Some(error), .. }) => {
                Not::AtAll(speaks_nothing(format!("it refuses initialize: {}", shown(&error.message))))
            }
            Refusal::Status(refused) => {
                let private = format!("nothing there speaks MCP: it answered {}", refused.status);
                Not::Here(Fault::upstream("the upstream has no MCP endpoint where one was looked for", private).into())
            }
        }
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        Refusal::Call(error)
    }
}
