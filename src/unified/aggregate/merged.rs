//! The lists of all members as one: in a fixed order, page by page, with a word about those that are missing.

use super::cursor::{self, Place};
use super::lists::{Kind, List};
use super::members::{Member, Membership};
use super::prefix::OURS;
use super::{Aggregate, connecting, meta_tools};
use crate::clock::Timestamp;
use crate::mcp::era::Era;
use crate::mcp::rpc::{Members, RpcError};
use crate::mcp_client::CallError;
use crate::unified::{Caller, View};
use crate::upstream::Access;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// How many entries a page has at most. Many clients never ask for a second one, so it is large.
const PAGE: usize = 1000;

/// What a member has to say, and whether it is news.
pub(super) enum Said {
    /// Its list.
    Now(Arc<List>),
    /// The last one that is known.
    Before(Arc<List>),
    /// Nothing; why.
    Nothing(String),
}

/// One list of all members.
pub(super) struct Gathered {
    pub(super) entries: Vec<Entry>,
    /// Prefixes of those whose last known list stands in.
    stale: Vec<String>,
    unavailable: Vec<Value>,
    fresh_until: Option<Timestamp>,
    public: bool,
}

/// An entry as the caller knows it.
pub(super) struct Entry {
    pub(super) prefix: String,
    pub(super) key: String,
    pub(super) value: Value,
}

impl Aggregate {
    /// Answers `tools/list` and the like.
    pub(super) async fn merged(
        self: &Arc<Self>,
        caller: &Caller,
        kind: Kind,
        params: &Members,
    ) -> Result<Value, RpcError> {
        let after = match params.get("cursor") {
            None | Some(Value::Null) => None,
            Some(Value::String(cursor)) => Some(cursor::open(&self.parts.vault, caller.user, kind, cursor)?),
            Some(_) => return Err(cursor::stale()),
        };
        let members = self.members(caller).await.map_err(super::answers::ours)?;
        let gathered = match kind {
            Kind::Tools if self.shows_meta_tools(caller) => Gathered::of_ours(meta_tools::definitions()),
            _ => self.gather(caller, &members, kind).await,
        };
        let ours = if kind == Kind::Tools { connecting::definition(caller, &members) } else { None };
        self.page(caller, (kind, gathered.with_ours(ours)), after)
    }

    /// Asks all members at once, and waits until the deadline.
    pub(super) async fn gather(self: &Arc<Self>, caller: &Caller, members: &Membership, kind: Kind) -> Gathered {
        let deadline = tokio::time::Instant::now() + self.settings.load().unified.list_timeout;
        let ask = |member: Arc<Member>| async move {
            let said = tokio::time::timeout_at(deadline, self.list(caller, &member, kind)).await;
            let why = match said {
                Ok(Ok(list)) => return (member, Said::Now(list)),
                Ok(Err(why)) => reason(&why),
                Err(_) => "it did not answer in time".to_owned(),
            };
            tracing::warn!(upstream = %member.authority(), list = kind.method(), why, "a list is missing");
            match self.lists.last_known(caller, &member, kind) {
                Some(list) => (member, Said::Before(list)),
                None => (member, Said::Nothing(why)),
            }
        };
        let said = join_all(members.ready().cloned().map(ask)).await;
        let mut gathered = Gathered::of(said, kind);
        gathered.public &= match &caller.view {
            View::One { upstream, .. } => upstream.access == Access::Everybody,
            View::Everything => false,
        };
        gathered
    }

    fn page(
        &self,
        caller: &Caller,
        (kind, gathered): (Kind, Gathered),
        after: Option<Place>,
    ) -> Result<Value, RpcError> {
        let Gathered { entries, stale, unavailable, fresh_until, public } = gathered;
        let start = match after {
            None => 0,
            Some(place) => {
                let at = entries.iter().position(|entry| entry.prefix == place.prefix && entry.key == place.key);
                at.ok_or_else(cursor::stale)? + 1
            }
        };
        let mut result = Members::new();
        let end = entries.len().min(start + PAGE);
        let last = (end < entries.len()).then(|| entries.get(end - 1)).flatten();
        let place = last.map(|last| Place { prefix: last.prefix.clone(), key: last.key.clone() });
        let page: Vec<Value> = entries.into_iter().skip(start).take(PAGE).map(|entry| entry.value).collect();
        result.insert(kind.member().to_owned(), Value::Array(page));
        if let Some(place) = place {
            let next = cursor::seal(&self.parts.vault, caller.user, kind, &place);
            result.insert("nextCursor".to_owned(), next.into());
        }
        if caller.era == Era::Modern {
            let good = fresh_until.filter(|_| unavailable.is_empty() && stale.is_empty());
            let ttl = good.map_or(0, |until| until.since(self.parts.clock.now()).as_millis());
            result.insert("resultType".to_owned(), "complete".into());
            result.insert("ttlMs".to_owned(), u64::try_from(ttl).unwrap_or(0).into());
            result.insert("cacheScope".to_owned(), if public { "public" } else { "private" }.into());
        }
        let mut meta = Members::new();
        if !unavailable.is_empty() {
            meta.insert("portcullis/unavailable".to_owned(), Value::Array(unavailable));
        }
        if !stale.is_empty() {
            meta.insert("portcullis/stale".to_owned(), json!(stale));
        }
        if !meta.is_empty() {
            result.insert("_meta".to_owned(), Value::Object(meta));
        }
        Ok(Value::Object(result))
    }
}

impl Gathered {
    fn of(said: Vec<(Arc<Member>, Said)>, kind: Kind) -> Self {
        let alone = said.len() == 1;
        let mut gathered = Self::of_ours(Vec::new());
        let mut seen = HashSet::new();
        for (member, said) in said {
            let list = match said {
                Said::Now(list) => list,
                Said::Before(list) => {
                    gathered.stale.push(member.prefix.to_string());
                    list
                }
                Said::Nothing(why) => {
                    let (prefix, name) = (member.prefix.as_str(), member.name());
                    gathered.unavailable.push(json!({ "upstream": prefix, "name": name, "reason": why }));
                    continue;
                }
            };
            gathered.public = alone && list.public;
            gathered.fresh_until = match gathered.fresh_until {
                Some(until) => Some(until.min(list.fresh_until)),
                None => Some(list.fresh_until),
            };
            for entry in &list.entries {
                let Some(original) = entry.get(kind.key()).and_then(Value::as_str) else { continue };
                if kind == Kind::Tools && member.upstream.tools.as_ref().is_some_and(|policy| !policy.permits(original))
                {
                    continue;
                }
                let mut value = entry.clone();
                member.outward().entry(&mut value, kind.key());
                let Some(key) = value.get(kind.key()).and_then(Value::as_str).map(str::to_owned) else { continue };
                // An upstream that names two things alike is asked for the first one.
                if (kind == Kind::Tools && is_ours(&key)) || !seen.insert(key.clone()) {
                    continue;
                }
                gathered.entries.push(Entry { prefix: member.prefix.to_string(), key, value });
            }
        }
        gathered
    }

    fn of_ours(definitions: Vec<Value>) -> Self {
        let nothing =
            Self { entries: Vec::new(), stale: Vec::new(), unavailable: Vec::new(), fresh_until: None, public: false };
        nothing.with_ours(definitions)
    }

    /// With tools of ours, at their place in the order.
    fn with_ours(mut self, definitions: impl IntoIterator<Item = Value>) -> Self {
        let at = self.entries.partition_point(|entry| entry.prefix.as_str() < OURS);
        let ours = definitions.into_iter().filter_map(|value| {
            let key = value.get("name")?.as_str()?.to_owned();
            Some(Entry { prefix: OURS.to_owned(), key, value })
        });
        let ours: Vec<Entry> = ours.collect();
        self.public &= ours.is_empty();
        self.entries.splice(at..at, ours);
        self
    }

    /// Who is missing, in words.
    pub(super) fn missing(&self) -> Vec<String> {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.unavailable.iter().map(|one| format!("{}: {}", text(one, "name"), text(one, "reason"))).collect()
    }
}

/// Whether a tool is one of the gateway's. No upstream can take its place: it leads people to pages of ours.
pub(super) fn is_ours(name: &str) -> bool {
    name == connecting::TOOL || meta_tools::TOOLS.contains(&name)
}

/// Why a member's list is missing, for people and models.
fn reason(why: &CallError) -> String {
    match why {
        CallError::Rpc(error) => format!("it answered with an error: {}", error.message),
        CallError::NeedsConsent => "it needs to be connected again".to_owned(),
        CallError::Unavailable { fault, .. } => fault.public.to_string(),
    }
}
