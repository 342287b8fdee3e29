//! The lists of one member: all their pages, fetched once for everybody who waits, and kept as long as the upstream allows.

use super::Aggregate;
use super::members::Member;
use super::mirrored;
use super::relay::Ear;
use crate::audit::Fate;
use crate::clock::{Clock, Timestamp};
use crate::connect::ConnectionKey;
use crate::hostname::Authority;
use crate::mcp::era::Era;
use crate::mcp::rpc::{Members, RpcError};
use crate::mcp_client::{Call, CallError};
use crate::unified::Caller;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use moka::sync::Cache;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A list without a hint is good for so long, or until the upstream says that it changed.
const WITHOUT_HINT: Duration = Duration::from_secs(5);
/// No hint is believed for longer.
const LONGEST: Duration = Duration::from_secs(3600);
/// For how long the last known list may stand in for one that does not come.
pub(super) const STANDS_IN: Duration = Duration::from_secs(300);
/// What one upstream may list: more is cut.
const MAX_PAGES: usize = 200;
const MAX_ENTRIES: usize = 20_000;
const MAX_BYTES: usize = 32 << 20;
/// What all lists in memory may take, in bytes of their text.
const MEMORY: u64 = 128 << 20;
/// How many times `unified.list_timeout` a fetch may last that nobody waits for any more.
const LATE: u32 = 6;

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Tools,
    Prompts,
    Resources,
    Templates,
}

/// A member's list, under its own names.
pub(super) struct List {
    pub(super) entries: Vec<Value>,
    /// Whether the upstream said that it is the same for everybody.
    pub(super) public: bool,
    pub(super) fresh_until: Timestamp,
    fetched_at: Timestamp,
    bytes: u32,
}

/// Lists in memory, and those under way.
pub(super) struct Lists {
    clock: Clock,
    kept: Cache<Key, Arc<List>>,
    flights: Mutex<HashMap<Flight, Fetching>>,
}

type Flight = (ConnectionKey, Arc<str>, Kind);
type Fetching = Shared<BoxFuture<'static, Result<Arc<List>, Arc<CallError>>>>;

/// Who may see a list.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Scope {
    Everybody(Authority),
    Person(ConnectionKey),
    Session(ConnectionKey, Arc<str>),
}

type Key = (Scope, Kind);

impl Kind {
    pub(super) fn of_method(method: &str) -> Option<Self> {
        [Kind::Tools, Kind::Prompts, Kind::Resources, Kind::Templates].into_iter().find(|kind| kind.method() == method)
    }

    /// The list that a notification says has changed. Templates change with resources.
    pub(super) fn changed(notification: &str) -> Option<Self> {
        match notification {
            "notifications/tools/list_changed" => Some(Kind::Tools),
            "notifications/prompts/list_changed" => Some(Kind::Prompts),
            "notifications/resources/list_changed" => Some(Kind::Resources),
            _ => None,
        }
    }

    pub(super) fn method(self) -> &'static str {
        match self {
            Kind::Tools => "tools/list",
            Kind::Prompts => "prompts/list",
            Kind::Resources => "resources/list",
            Kind::Templates => "resources/templates/list",
        }
    }

    /// The member of the result.
    pub(super) fn member(self) -> &'static str {
        match self {
            Kind::Tools => "tools",
            Kind::Prompts => "prompts",
            Kind::Resources => "resources",
            Kind::Templates => "resourceTemplates",
        }
    }

    /// What an entry is known by.
    pub(super) fn key(self) -> &'static str {
        match self {
            Kind::Tools | Kind::Prompts => "name",
            Kind::Resources => "uri",
            Kind::Templates => "uriTemplate",
        }
    }

    fn capability(self) -> &'static str {
        match self {
            Kind::Tools => "tools",
            Kind::Prompts => "prompts",
            Kind::Resources | Kind::Templates => "resources",
        }
    }
}

impl Lists {
    pub(super) fn new(clock: Clock) -> Self {
        let kept = Cache::builder()
            .max_capacity(MEMORY)
            .weigher(|_, list: &Arc<List>| list.bytes)
            .time_to_live(LONGEST + STANDS_IN)
            .build();
        Self { clock, kept, flights: Mutex::default() }
    }

    /// A list that need not be fetched.
    fn fresh(&self, caller: &Caller, member: &Member, kind: Kind) -> Option<Arc<List>> {
        let now = self.clock.now();
        let mut found = scopes(caller, member).into_iter().filter_map(|scope| self.kept.get(&(scope, kind)));
        found.find(|list| now < list.fresh_until)
    }

    /// The last list that is known, if it is not too old to stand in.
    pub(super) fn last_known(&self, caller: &Caller, member: &Member, kind: Kind) -> Option<Arc<List>> {
        let now = self.clock.now();
        let known = scopes(caller, member).into_iter().filter_map(|scope| self.kept.get(&(scope, kind)));
        known.filter(|list| now.since(list.fetched_at) < STANDS_IN).max_by_key(|list| list.fetched_at)
    }

    fn keep(&self, caller: &Caller, member: &Member, (kind, era): (Kind, Era), list: &Arc<List>) {
        let [session, person, everybody] = scopes(caller, member);
        let scope = match era {
            _ if list.public => everybody,
            Era::Modern => person,
            Era::Legacy => {
                // For other sessions of the same person it may only stand in.
                let old = List { entries: list.entries.clone(), fresh_until: list.fetched_at, ..**list };
                self.kept.insert((person, kind), Arc::new(old));
                session
            }
        };
        self.kept.insert((scope, kind), list.clone());
    }

    /// An upstream says that a list of its has changed.
    pub(super) fn invalidate(&self, caller: &Caller, member: &Member, kind: Kind) {
        let kinds = if kind == Kind::Resources { &[Kind::Resources, Kind::Templates][..] } else { &[kind] };
        for kind in kinds {
            scopes(caller, member).into_iter().for_each(|scope| self.kept.invalidate(&(scope, *kind)));
        }
    }
}

/// From the narrowest to the widest.
fn scopes(caller: &Caller, member: &Member) -> [Scope; 3] {
    [
        Scope::Session(member.key.clone(), caller.session.clone()),
        Scope::Person(member.key.clone()),
        Scope::Everybody(member.authority().clone()),
    ]
}

impl Aggregate {
    /// A member's list: from memory, or from the upstream. It may take as long as the upstream; dropping the future ends
    /// nothing, so that somebody who comes later finds the list.
    pub(super) async fn list(
        self: &Arc<Self>,
        caller: &Caller,
        member: &Arc<Member>,
        kind: Kind,
    ) -> Result<Arc<List>, Arc<CallError>> {
        if let Some(list) = self.lists.fresh(caller, member, kind) {
            return Ok(list);
        }
        let flight: Flight = (member.key.clone(), caller.session.clone(), kind);
        self.clone().join(flight, caller, member).await
    }

    /// Waits with those who wait already, or fetches.
    fn join(self: Arc<Self>, flight: Flight, caller: &Caller, member: &Arc<Member>) -> Fetching {
        let this = self.clone();
        // Held until the flight is in the table: it must not land before.
        let mut flights = self.lists.flights.lock();
        if let Some(fetching) = flights.get(&flight) {
            return fetching.clone();
        }
        let (key, caller, member) = (flight.clone(), caller.clone(), member.clone());
        let patience = self.settings.load().unified.list_timeout * LATE;
        let task = tokio::spawn(async move {
            let fetched = tokio::time::timeout(patience, this.fetch(&caller, &member, key.2)).await;
            this.lists.flights.lock().remove(&key);
            fetched.unwrap_or_else(|_| Err(slow())).map_err(Arc::new)
        });
        let fetching = async move { task.await.unwrap_or_else(|_| Err(Arc::new(slow()))) }.boxed().shared();
        flights.insert(flight, fetching.clone());
        fetching
    }

    async fn fetch(&self, caller: &Caller, member: &Member, kind: Kind) -> Result<Arc<List>, CallError> {
        let mut record = self.record((caller, member), kind.method(), None);
        let client = self.client(caller, member).await?;
        let server = client.server();
        let mut pages = Pages::new(&self.lists.clock);
        if server.capabilities.contains_key(kind.capability()) {
            let mut cursor: Option<Value> = None;
            for _ in 0..MAX_PAGES {
                let params = cursor.take().map(|cursor| Members::from_iter([("cursor".to_owned(), cursor)]));
                let call = Call {
                    method: kind.method().to_owned(),
                    params: params.unwrap_or_default(),
                    log_level: None,
                    mirrored: Vec::new(),
                };
                let ear = Ear { caller, member, client: &client, back: None };
                let page = match self.request(ear, call).await {
                    Ok(page) => page,
                    // Some servers that have resources do not know what templates are.
                    Err(CallError::Rpc(error)) if error.code == RpcError::METHOD_NOT_FOUND => break,
                    Err(error) => return Err(error),
                };
                cursor = pages.add(page, kind);
                if cursor.is_none() {
                    break;
                }
            }
        }
        record.fate = Fate::Answered;
        let mut list = pages.finish(server.era);
        if kind == Kind::Tools && server.era == Era::Modern {
            without_impossible(&mut list.entries, member);
        }
        let list = Arc::new(list);
        self.lists.keep(caller, member, (kind, server.era), &list);
        Ok(list)
    }

    /// The definition of a tool, as the upstream lists it.
    pub(super) async fn definition(
        self: &Arc<Self>,
        caller: &Caller,
        member: &Arc<Member>,
        (kind, fits): (Kind, impl Fn(&str) -> bool),
    ) -> Option<Value> {
        let find = |list: &List| {
            let fits = |entry: &&Value| entry.get(kind.key()).and_then(Value::as_str).is_some_and(&fits);
            list.entries.iter().find(fits).cloned()
        };
        if let Some(found) = self.lists.last_known(caller, member, kind).and_then(|list| find(&list)) {
            return Some(found);
        }
        let patience = self.settings.load().unified.list_timeout;
        let list = tokio::time::timeout(patience, self.list(caller, member, kind)).await.ok()?.ok()?;
        find(&list)
    }
}

/// Pages that have come.
struct Pages {
    entries: Vec<Value>,
    bytes: usize,
    public: bool,
    ttl: Option<Duration>,
    began: Timestamp,
}

impl Pages {
    fn new(clock: &Clock) -> Self {
        Self { entries: Vec::new(), bytes: 0, public: true, ttl: None, began: clock.now() }
    }

    /// The cursor of the next page.
    fn add(&mut self, mut page: Value, kind: Kind) -> Option<Value> {
        let ttl = page.get("ttlMs").and_then(Value::as_u64).map(Duration::from_millis);
        self.ttl = match (self.ttl, ttl) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (None, ttl) if self.entries.is_empty() => ttl,
            _ => Some(Duration::ZERO),
        };
        self.public &= page.get("cacheScope").and_then(Value::as_str) == Some("public");
        let next = page.get_mut("nextCursor").map(Value::take).filter(Value::is_string);
        if let Some(Value::Array(entries)) = page.get_mut(kind.member()).map(Value::take) {
            for entry in entries {
                self.bytes += size(&entry);
                if self.bytes > MAX_BYTES || self.entries.len() == MAX_ENTRIES {
                    tracing::warn!(
                        kind = kind.method(),
                        "an upstream lists more than anybody can use: the rest is left out"
                    );
                    return None;
                }
                self.entries.push(entry);
            }
        }
        next
    }

    fn finish(self, era: Era) -> List {
        let good = match (era, self.ttl) {
            (Era::Modern, ttl) => ttl.unwrap_or_default().min(LONGEST),
            (Era::Legacy, _) => WITHOUT_HINT,
        };
        List {
            entries: self.entries,
            public: self.public && era == Era::Modern,
            fresh_until: self.began.after(good),
            fetched_at: self.began,
            bytes: u32::try_from(self.bytes).unwrap_or(u32::MAX).saturating_add(1024),
        }
    }
}

/// Tools whose schemas ask for header fields that cannot be must be left out (MCP 2026-07-28, Tools, `x-mcp-header`).
fn without_impossible(tools: &mut Vec<Value>, member: &Member) {
    tools.retain(|tool| match mirrored::of_schema(tool) {
        Ok(_) => true,
        Err(why) => {
            let name = tool.get("name").and_then(Value::as_str).unwrap_or_default();
            tracing::warn!(upstream = %member.authority(), tool = name, why, "a tool cannot be used");
            false
        }
    });
}

/// About as many bytes as its text has.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 16,
        Value::Array(many) => many.iter().map(size).sum::<usize>() + 8,
        Value::Object(members) => members.iter().map(|(key, value)| key.len() + size(value) + 16).sum::<usize>() + 8,
    }
}

fn slow() -> CallError {
    let fault = crate::error::Fault::upstream("it did not answer in time", "a list took too long");
    CallError::Unavailable { fault, retry_after: None }
}
