//! Many upstreams as one MCP server: which of them a caller sees, what their things are called, and who gets which request.

mod answers;
mod calls;
mod connecting;
mod cursor;
mod describe;
mod listening;
mod lists;
mod members;
mod merged;
mod meta_tools;
mod mirrored;
mod naming;
mod prefix;
mod record;
mod relay;
mod rewrite;
mod sending;
mod sessions;
mod tasks;
#[cfg(test)]
mod tests;
mod traced;

use super::{Asked, Back, Caller, View};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Unified;
use crate::connect::{ConnectionKey, Connections};
use crate::hostname::{Account, Authority, Site};
use crate::ids::Random;
use crate::mcp::rpc::{Members, Notification, Request, RpcError};
use crate::mcp_client::{Clients, Filter, Resumption};
use crate::ratelimit::RateLimits;
use crate::store::Store;
use crate::upstream::Registry;
use crate::vault::Vault;
use arc_swap::ArcSwap;
use lists::{Kind, Lists};
use members::Memberships;
use sending::{Routed, Way};
use serde_json::Value;
use sessions::Sessions;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All upstreams, for all callers. Shared behind an `Arc`.
pub struct Aggregate {
    parts: AggregateParts,
    settings: ArcSwap<Settings>,
    memberships: Memberships,
    sessions: Sessions,
    lists: Lists,
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
    /// Marks cursors and ids of tasks.
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
    /// Nothing is contacted yet. It hears of connections that come and go.
    pub fn new(parts: AggregateParts, unified: Unified, limits: Arc<RateLimits>) -> Arc<Self> {
        let this = Arc::new(Self {
            settings: ArcSwap::from_pointee(Settings { unified, limits }),
            memberships: Memberships::new(),
            sessions: Sessions::new(),
            lists: Lists::new(parts.clock.clone()),
            parts,
        });
        let aggregate = Arc::downgrade(&this);
        this.parts.connections.on_news(move |user| {
            if let Some(aggregate) = aggregate.upgrade() {
                aggregate.memberships.forget(user);
            }
        });
        this
    }

    /// Takes over another configuration: from the next request on.
    pub fn reconfigure(&self, unified: Unified, limits: Arc<RateLimits>) {
        self.settings.store(Arc::new(Settings { unified, limits }));
    }

    /// What the caller may be told of what it sees. Upstreams that are late are left out, but hardly anything of what we offer
    /// depends on them.
    ///
    /// # Errors
    /// When our own database fails, or the one upstream of a [`super::View::One`].
    pub async fn describe(self: &Arc<Self>, caller: &Caller) -> Result<Description, RpcError> {
        self.description(caller).await
    }

    /// Answers every request but `initialize`, `server/discover` and `subscriptions/listen`. Progress, log messages and
    /// questions go through `back`. Whoever drops the future cancels the request, at the upstream too.
    ///
    /// # Errors
    /// The error to answer with.
    pub async fn handle(self: &Arc<Self>, caller: &Caller, request: Request, back: &Back) -> Result<Value, RpcError> {
        if let Some(kind) = Kind::of_method(&request.method) {
            return self.merged(caller, kind, &request.params).await;
        }
        let way = Way { caller, back };
        let members = self.members(caller).await.map_err(answers::ours)?;
        match request.method.as_str() {
            "ping" => Ok(answers::complete(caller)),
            "tools/call" => match request.params.get("name").and_then(Value::as_str) {
                Some(connecting::TOOL) if sees_everything(caller) => self.connect(way, &members, &request.params).await,
                Some(name) if meta_tools::TOOLS.contains(&name) && self.shows_meta_tools(caller) => {
                    self.meta_tool(way, &members, request).await
                }
                _ => self.call_tool(way, &members, request).await,
            },
            "prompts/get" => self.get_prompt(way, &members, request).await,
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                self.resource(way, &members, request).await
            }
            "completion/complete" => self.complete(way, &members, request).await,
            "logging/setLevel" => self.set_level(way, &members, request).await,
            // SEP-2663 took them away: `tasks/get` has the result, and whoever has a task knows its id.
            gone @ ("tasks/result" | "tasks/list") if caller.era == crate::mcp::era::Era::Modern => {
                Err(RpcError::new(RpcError::METHOD_NOT_FOUND, format!("{gone} is not known")))
            }
            "tasks/list" => self.tasks(way, &members, request).await,
            "tasks/get" | "tasks/result" | "tasks/cancel" | "tasks/update" => self.task(way, &members, request).await,
            _ => match members.plain() {
                Some(member) => self.routed(way, member, Routed::new(request, None)).await,
                None => Err(RpcError::new(RpcError::METHOD_NOT_FOUND, format!("{} is not known", request.method))),
            },
        }
    }

    /// Takes a notification of a client: `notifications/roots/list_changed` and what else concerns upstreams that it has
    /// sessions with. (`initialized`, `cancelled` are the door's.)
    pub async fn notice(&self, caller: &Caller, notification: Notification) {
        let clients = self.sessions.of(caller).clients();
        let tell = clients.iter().map(|client| client.notify(notification.clone()));
        // Whoever cannot be told begins anew, and asks then.
        drop(futures_util::future::join_all(tell).await);
    }

    /// What a subscription will get of what it wants to hear of: for the acknowledgement.
    pub async fn acknowledge(&self, caller: &Caller, filter: &Filter) -> Filter {
        self.acknowledged(caller, filter).await
    }

    /// Tells the caller through `back` what it wants to hear of, until the future is dropped or its grant ends. Requests of
    /// legacy upstreams that belong to no request of the caller's are asked there too.
    pub async fn listen(self: &Arc<Self>, caller: &Caller, filter: Filter, back: Back) {
        self.hear_all(caller, filter, back).await;
    }

    /// Hands on the answer to a question that another process asked.
    pub async fn answer(&self, caller: &Caller, asked: &Asked, mut outcome: Result<Value, RpcError>) {
        let (Some(id), Ok(members)) = (&asked.id, self.members(caller).await) else { return };
        let Some(member) = members.by_prefix(&asked.member) else { return };
        if let Ok(answer) = &mut outcome {
            member.inward().answer(answer);
        }
        if let Ok(client) = self.client(caller, member).await {
            // An upstream that is gone needs no answer.
            drop(client.respond(id.clone(), outcome).await);
        }
    }

    /// The session is over: those at upstreams end with it.
    pub async fn end(&self, caller: &Caller) {
        self.sessions.remove(caller);
        self.parts.clients.end(&caller.session).await;
    }

    /// What it takes to go on with the session in another process, by upstream and account.
    pub fn resumptions(&self, caller: &Caller) -> BTreeMap<String, Resumption> {
        let all = self.sessions.of(caller).resumptions();
        all.map(|(key, resumption)| (format!("{}#{}", key.target, key.account_text()), resumption)).collect()
    }

    /// Goes on with a session of another process, before its first request here.
    pub async fn resume(&self, caller: &Caller, resumptions: BTreeMap<String, Resumption>) {
        let session = self.sessions.of(caller);
        for (name, resumption) in resumptions {
            let Some((authority, account)) = name.rsplit_once('#') else { continue };
            let (Ok(authority), account) = (Authority::parse(authority), Account::parse(account).ok()) else {
                continue;
            };
            session.resume(ConnectionKey::upstream(caller.user, authority, account), resumption);
        }
    }
}

fn sees_everything(caller: &Caller) -> bool {
    matches!(caller.view, View::Everything)
}
