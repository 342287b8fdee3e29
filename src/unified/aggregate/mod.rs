//! Many upstreams as one MCP server: which of them a caller sees, what their things are called, and who gets which request.

mod mirrored;
mod naming;
mod prefix;
mod rewrite;

use super::{Asked, Back, Caller};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Unified;
use crate::connect::Connections;
use crate::hostname::Site;
use crate::ids::Random;
use crate::mcp::rpc::{Members, Notification, Request, RpcError};
use crate::mcp_client::{Clients, Filter, Resumption};
use crate::ratelimit::RateLimits;
use crate::store::Store;
use crate::upstream::Registry;
use crate::vault::Vault;
use arc_swap::ArcSwap;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All upstreams, for all callers. Shared behind an `Arc`.
pub struct Aggregate {
    parts: AggregateParts,
    settings: ArcSwap<Settings>,
}

/// What [`Aggregate`] works with.
pub struct AggregateParts {
    /// The upstreams.
    pub registry: Arc<Registry>,
    /// Who has connected what.
    pub connections: Arc<Connections>,
    /// Our clients toward them.
    pub clients: Arc<Clients>,
    /// Whose connections there are, and what people do not want to see.
    pub store: Store,
    /// Marks cursors.
    pub vault: Vault,
    /// Calls are recorded there.
    pub audit: Audit,
    /// Where our pages are.
    pub site: Site,
    /// The time.
    pub clock: Clock,
    /// Names of questions.
    pub random: Random,
}

/// What can change while the gateway runs.
struct Settings {
    unified: Unified,
    limits: Arc<RateLimits>,
}

/// What a server says of itself: for the answers to `initialize` and `server/discover`.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// `capabilities`
    pub capabilities: Members,
    /// `serverInfo`
    pub info: Value,
    /// `instructions`
    pub instructions: Option<String>,
}

impl Aggregate {
    /// Nothing is contacted yet.
    pub fn new(parts: AggregateParts, unified: Unified, limits: Arc<RateLimits>) -> Arc<Self> {
        Arc::new(Self { parts, settings: ArcSwap::from_pointee(Settings { unified, limits }) })
    }

    /// Takes over another configuration: from the next request on.
    pub fn reconfigure(&self, unified: Unified, limits: Arc<RateLimits>) {
        self.settings.store(Arc::new(Settings { unified, limits }));
    }

    /// What the caller may be told of what it sees. Upstreams that are late are left out, but none of what we offer depends on
    /// them.
    ///
    /// # Errors
    /// When our own database fails, or the one upstream of a [`super::View::One`].
    pub async fn describe(&self, _caller: &Caller) -> Result<Description, RpcError> {
        Ok(Description {
            capabilities: Members::new(),
            info: json!({ "name": "portcullis", "version": env!("CARGO_PKG_VERSION") }),
            instructions: None,
        })
    }

    /// Answers every request but `initialize`, `server/discover` and `subscriptions/listen`. Progress, log messages and
    /// questions go through `back`. Whoever drops the future cancels the request, at the upstream too.
    ///
    /// # Errors
    /// The error to answer with.
    pub async fn handle(&self, _caller: &Caller, request: Request, _back: &Back) -> Result<Value, RpcError> {
        Err(RpcError::new(RpcError::METHOD_NOT_FOUND, format!("{} is not known", request.method)))
    }

    /// Takes a notification of a client: `notifications/roots/list_changed`, `notifications/elicitation/complete` and what else
    /// concerns upstreams. (`initialized`, `cancelled` are the door's.)
    pub async fn notice(&self, _caller: &Caller, _notification: Notification) {}

    /// What a subscription will get of what it wants to hear of: for the acknowledgement.
    pub async fn acknowledge(&self, _caller: &Caller, filter: &Filter) -> Filter {
        filter.clone()
    }

    /// Tells the caller through `back` what it wants to hear of, until the future is dropped or nothing can come any more. Requests of
    /// legacy upstreams that belong to no request of the caller's are asked there too.
    pub async fn listen(&self, _caller: &Caller, _filter: Filter, _back: Back) {
        std::future::pending().await
    }

    /// Hands on the answer to a question that another process asked.
    pub async fn answer(&self, _caller: &Caller, _asked: &Asked, _outcome: Result<Value, RpcError>) {}

    /// The session is over: those at upstreams end with it.
    pub async fn end(&self, _caller: &Caller) {}

    /// What it takes to go on with the session in another process, by prefix.
    pub fn resumptions(&self, _caller: &Caller) -> BTreeMap<String, Resumption> {
        BTreeMap::new()
    }

    /// Goes on with a session of another process, before its first request here.
    pub async fn resume(&self, _caller: &Caller, _resumptions: BTreeMap<String, Resumption>) {}
}
