//! Our MCP client toward the upstreams: whatever their transport and their era, the unified endpoint speaks to all of them in the
//! same words.

mod channel;
mod client;
mod clients;
mod envelope;
mod filter;
mod hearing;
mod http_sse;
mod line;
mod messages;
mod negotiate;
mod reading;
mod session;
mod streamable;
mod switchboard;
mod websocket;
mod wire;

pub use channel::Multiplexer;
pub use client::Client;
pub use clients::{Clients, ClientsParts, Limits};

use crate::connect::ConnectionKey;
use crate::error::Fault;
use crate::mcp::era::Era;
use crate::mcp::rpc::{Members, Notification, Request, RpcError};
use http::{HeaderName, HeaderValue};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Whom a client speaks for.
#[derive(Clone)]
pub struct Principal {
    /// The person, the upstream, which account.
    pub key: ConnectionKey,
    /// Which session of the person's it belongs to. Two names never share a session at an upstream.
    pub session: Arc<str>,
    /// `clientInfo` of the client that speaks to us.
    pub info: Value,
    /// What that client can do for servers.
    pub capabilities: Members,
}

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// How it speaks.
    pub era: Era,
    /// The version that we speak with it.
    pub version: String,
    /// `capabilities`
    pub capabilities: Members,
    /// `serverInfo`
    pub info: Value,
    /// `instructions`
    pub instructions: Option<String>,
}

/// What it takes to go on with a session at an upstream in another process, or after a restart.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Resumption {
    /// The path of the endpoint.
    pub path: String,
    /// `Mcp-Session-Id`
    pub session: String,
    /// The version that was agreed on.
    pub version: String,
    /// `capabilities` of the server.
    pub capabilities: Members,
    /// `serverInfo`
    pub info: Value,
    /// `instructions`
    pub instructions: Option<String>,
}

/// A request to an upstream.
#[derive(Clone, Debug)]
pub struct Call {
    /// `method`
    pub method: String,
    /// `params`, without what conveys version, identity and capabilities: the client adds what its server needs.
    pub params: Members,
    /// From which level on log messages are wanted, where the caller's era says it with the request.
    pub log_level: Option<String>,
    /// `Mcp-Param-*` fields that the tool's schema asks for (MCP 2026-07-28, Custom Headers from Tool Parameters).
    pub mirrored: Vec<(HeaderName, HeaderValue)>,
}

/// What a server sends besides answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Progress, log messages, changes.
    Notification(Notification),
    /// Sampling, elicitation, roots; to be answered with [`Client::respond`].
    Request(Request),
}

/// Where events go. Bounded: who does not read holds the server up.
pub type Events = mpsc::Sender<Event>;

/// What somebody wants to hear of (MCP 2026-07-28, Subscriptions).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `toolsListChanged`
    pub tools: bool,
    /// `promptsListChanged`
    pub prompts: bool,
    /// `resourcesListChanged`
    pub resources: bool,
    /// `resourceSubscriptions`
    pub subscribed: BTreeSet<String>,
}

/// Somebody listens as long as this is kept.
pub struct Listening {
    /// What the server agreed to.
    pub acknowledged: Filter,
    _hold: hearing::Hold,
    /// A program runs as long as somebody listens.
    _used: Option<crate::stdio::Attached<Multiplexer>>,
}

/// Why there is no result.
#[derive(Clone, Debug)]
pub enum CallError {
    /// The upstream answered with an error.
    Rpc(RpcError),
    /// The person has not connected the upstream, or it wants more consent.
    NeedsConsent,
    /// The upstream, or its authorization server, cannot be used at present.
    Unavailable {
        /// What happened.
        fault: Fault,
        /// When to try again, where that is known.
        retry_after: Option<Duration>,
    },
}

#[cfg(test)]
mod tests;
