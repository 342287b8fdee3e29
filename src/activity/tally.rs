//! Requests added up before they are queued: those of a quarter of a second are few sums.

use super::counter::count_one;
use super::recorder::Party;
use super::slices::step_of;
use crate::clock::Timestamp;
use crate::store::ActivityCounts;
use crate::telemetry::Fate;
use crate::tokens::AccessToken;
use crate::upstream::Upstream;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// What [`super::EndedRequest`] is, in the hands of somebody else.
pub(crate) struct Tallied<'a> {
    pub(crate) at: Timestamp,
    pub(crate) token: &'a Arc<AccessToken>,
    pub(crate) upstream: &'a Arc<Upstream>,
    /// The tool that was called.
    pub(crate) tool: Option<&'a Arc<str>>,
    pub(crate) fate: Fate,
    pub(crate) status: Option<u16>,
    pub(crate) took: Option<Duration>,
}

/// Requests of one party within a minute.
pub(super) struct Sum {
    pub(super) minute: Timestamp,
    pub(super) party: Party,
    pub(super) counts: ActivityCounts,
}

/// Tokens and upstreams are told apart by where they are, which says enough: two sums of the same party are added up later.
struct Same<'a> {
    minute: Timestamp,
    token: &'a Arc<AccessToken>,
    upstream: &'a Arc<Upstream>,
    tool: Option<&'a Arc<str>>,
}

#[allow(clippy::mutable_key_type)] // only where they are is looked at
pub(super) fn sums_of<'a>(requests: impl Iterator<Item = Tallied<'a>>) -> Vec<Sum> {
    let mut sums: HashMap<Same<'a>, ActivityCounts> = HashMap::new();
    for request in requests {
        let Tallied { token, upstream, tool, fate, status, took, .. } = request;
        let minute = step_of(request.at, super::Range::Hour.resolution());
        count_one(fate, status, took, sums.entry(Same { minute, token, upstream, tool }).or_default());
    }
    let sums = sums.into_iter().map(|(Same { minute, token, upstream, tool }, counts)| {
        let party = Party { token: token.clone(), upstream: Some(upstream.clone()), tool: tool.cloned() };
        Sum { minute, party, counts }
    });
    sums.collect()
}

impl PartialEq for Same<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.minute == other.minute
            && Arc::ptr_eq(self.token, other.token)
            && Arc::ptr_eq(self.upstream, other.upstream)
            && self.tool == other.tool
    }
}

impl Eq for Same<'_> {}

impl Hash for Same<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(self.token).hash(state);
        Arc::as_ptr(self.upstream).hash(state);
        self.tool.hash(state);
    }
}
