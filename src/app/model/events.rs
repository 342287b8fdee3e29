//! What may happen.

use proptest::prelude::*;
use proptest::sample::Index;
use std::time::Duration;

/// How many of each there are.
pub(super) const PEOPLE: usize = 3;
pub(super) const UPSTREAMS: usize = 2;
pub(super) const NODES: usize = 3;

/// One step of an order. An [`Index`] picks one of those that there are by then; a node that issues something is the next one
/// that is not behind.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A person goes through the flow of a client in a browser that signed in just now or before.
    Authorize { person: usize, client: Index, browser: Browser, decision: Decision, node: usize },
    /// A code is exchanged, perhaps again, perhaps by somebody who must not have it.
    Exchange { code: Index, by: By, node: usize },
    /// A refresh token is used, the newest or an older one.
    Refresh { token: Index, node: usize },
    /// The same by this many nodes at once.
    Race { token: Index },
    /// A person connects an upstream, or connects it anew.
    Connect { person: usize, upstream: usize, node: usize },
    /// A client registers.
    Register { upstream: usize, node: usize },
    /// Something is taken away, or given.
    Change { what: Change, node: usize },
    /// The process ends, and another one begins on the same database.
    Restart { node: usize },
    /// The node does not read the journal for a while, shorter than it trusts its memory, or longer.
    Behind { node: usize, for_long: bool },
    /// It reads the journal again, or finds that this does not tell all.
    Back { node: usize, anew: bool },
    /// Open streams were ended because the journal could not be read for long.
    Interrupt { node: usize },
    /// Time passes, for everybody.
    Wait(Duration),
    /// What has expired is removed.
    Sweep { node: usize },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Browser {
    SignsInFirst,
    WasSignedInBefore,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Decision {
    Approve,
    Deny,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum By {
    ItsClient,
    AnotherClient,
    SomebodyWithoutVerifier,
}

/// What administrators, people and clients change.
#[derive(Clone, Debug)]
pub(super) enum Change {
    RevokeGrant(Index),
    /// The person says so.
    Withdraw(Index),
    /// The client says so (RFC 7009).
    RevokeRefreshToken(Index),
    RevokeAccessToken(Index),
    /// Another client says so, in vain.
    RevokeForeign(Index),
    RemoveClient(Index),
    Disconnect {
        person: usize,
        upstream: usize,
    },
    Disable(usize),
    Enable(usize),
    RemovePerson(usize),
    SignOutEverywhere {
        person: usize,
        applications: bool,
    },
    Approve(usize),
    Deny(usize),
    Undecide(usize),
    /// Into the group that there is, and out of it.
    Join(usize),
    Leave(usize),
    /// Only these people, by their numbers, and perhaps the members of the group.
    Restrict {
        upstream: usize,
        to: Vec<usize>,
        group: bool,
    },
    Unrestrict(usize),
    /// Whether a tool may be used that there is at every upstream.
    Tool {
        upstream: usize,
        denied: bool,
    },
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let index = any::<Index>;
    // No sum of waits is a bound to the second, where the model would have to know which side counts.
    let waits = [25, 90, 3600, 90_000, 31 * 86_400].map(Duration::from_secs);
    let waits = [&waits[..3], &waits[..3], &waits[..4], &waits].concat();
    let browser = prop::sample::select(vec![Browser::SignsInFirst, Browser::SignsInFirst, Browser::WasSignedInBefore]);
    let decision = prop::sample::select(vec![Decision::Approve, Decision::Approve, Decision::Approve, Decision::Deny]);
    let by = prop::sample::select(vec![By::ItsClient, By::ItsClient, By::AnotherClient, By::SomebodyWithoutVerifier]);
    prop_oneof![
        5 => (0..PEOPLE, index(), browser, decision, 0..NODES)
            .prop_map(|(person, client, browser, decision, node)| Event::Authorize { person, client, browser, decision, node }),
        6 => (index(), by, 0..NODES).prop_map(|(code, by, node)| Event::Exchange { code, by, node }),
        6 => (index(), 0..NODES).prop_map(|(token, node)| Event::Refresh { token, node }),
        1 => index().prop_map(|token| Event::Race { token }),
        2 => (0..PEOPLE, 0..UPSTREAMS, 0..NODES)
            .prop_map(|(person, upstream, node)| Event::Connect { person, upstream, node }),
        1 => (0..UPSTREAMS, 0..NODES).prop_map(|(upstream, node)| Event::Register { upstream, node }),
        10 => (change(), 0..NODES).prop_map(|(what, node)| Event::Change { what, node }),
        1 => (0..NODES).prop_map(|node| Event::Restart { node }),
        2 => (0..NODES, any::<bool>()).prop_map(|(node, for_long)| Event::Behind { node, for_long }),
        2 => (0..NODES, any::<bool>()).prop_map(|(node, anew)| Event::Back { node, anew }),
        1 => (0..NODES).prop_map(|node| Event::Interrupt { node }),
        3 => prop::sample::select(waits).prop_map(Event::Wait),
        1 => (0..NODES).prop_map(|node| Event::Sweep { node }),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    let upstream = || 0..UPSTREAMS;
    prop_oneof![
        2 => index().prop_map(Change::RevokeGrant),
        1 => index().prop_map(Change::Withdraw),
        1 => index().prop_map(Change::RevokeRefreshToken),
        1 => index().prop_map(Change::RevokeAccessToken),
        1 => index().prop_map(Change::RevokeForeign),
        1 => index().prop_map(Change::RemoveClient),
        2 => (0..PEOPLE, upstream()).prop_map(|(person, upstream)| Change::Disconnect { person, upstream }),
        2 => (0..PEOPLE).prop_map(Change::Disable),
        2 => (0..PEOPLE).prop_map(Change::Enable),
        1 => (0..PEOPLE).prop_map(Change::RemovePerson),
        1 => (0..PEOPLE, any::<bool>())
            .prop_map(|(person, applications)| Change::SignOutEverywhere { person, applications }),
        3 => upstream().prop_map(Change::Approve),
        1 => upstream().prop_map(Change::Deny),
        1 => upstream().prop_map(Change::Undecide),
        2 => (0..PEOPLE).prop_map(Change::Join),
        2 => (0..PEOPLE).prop_map(Change::Leave),
        2 => (upstream(), prop::sample::subsequence(vec![0, 1, 2], 0..=2), any::<bool>())
            .prop_map(|(upstream, to, group)| Change::Restrict { upstream, to, group }),
        2 => upstream().prop_map(Change::Unrestrict),
        1 => (upstream(), any::<bool>()).prop_map(|(upstream, denied)| Change::Tool { upstream, denied }),
    ]
}
