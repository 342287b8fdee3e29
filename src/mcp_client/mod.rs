//! Our MCP client toward the upstreams: whatever their transport and their era, the unified endpoint speaks to all of them in the
//! same words.

use crate::connect::ConnectionKey;
use crate::error::Fault;
use crate::mcp::era::Era;
use crate::mcp::rpc::{Id, Members, Notification, Request, RpcError};
use crate::upstream::Upstream;
use http::{HeaderName, HeaderValue};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Our clients of all people at all upstreams.
pub struct Clients {}

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

/// One MCP client: one session at one upstream, or none where the upstream needs none.
pub struct Client {}

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

impl Clients {
    /// The client of a principal, with its session begun; the same one as long as that lasts.
    ///
    /// # Errors
    /// When the upstream cannot be used.
    pub async fn open(
        &self,
        _upstream: &Arc<Upstream>,
        _principal: &Principal,
        _before: Option<Resumption>,
    ) -> Result<Arc<Client>, CallError> {
        Err(unwritten())
    }
}

impl Client {
    /// What the server said about itself.
    pub fn server(&self) -> Arc<Server> {
        unreachable!("no client is made yet")
    }

    /// What to keep for another process; `None` where a session cannot be gone on with.
    pub fn resumption(&self) -> Option<Resumption> {
        None
    }

    /// Sends a request and waits for its result. What the server sends meanwhile, and because of it, goes to `events`. Whoever
    /// drops the future cancels the request.
    ///
    /// # Errors
    /// When there is no result.
    pub async fn request(&self, _call: Call, _events: &Events) -> Result<Value, CallError> {
        Err(unwritten())
    }

    /// Sends a notification.
    ///
    /// # Errors
    /// When it did not get there.
    pub async fn notify(&self, _notification: Notification) -> Result<(), CallError> {
        Err(unwritten())
    }

    /// Answers a request of the server's.
    ///
    /// # Errors
    /// When it did not get there.
    pub async fn respond(&self, _id: Id, _outcome: Result<Value, RpcError>) -> Result<(), CallError> {
        Err(unwritten())
    }

    /// Hears what the server says unasked, as long as the result is kept. Several may listen; requests of the server go to one.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses a subscription.
    pub async fn listen(&self, _filter: Filter, _events: Events) -> Result<Listening, CallError> {
        Err(unwritten())
    }

    /// Ends the session at the upstream.
    pub async fn close(&self) {}
}

fn unwritten() -> CallError {
    CallError::Unavailable { fault: Fault::gateway("not written yet"), retry_after: None }
}
