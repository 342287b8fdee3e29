//! What the authorization server knows: clients, pending requests, codes and tokens, all in memory.

use super::{Misbehaviour, Options};
use crate::clock::{Clock, Timestamp};
use crate::devkit::running::Stop;
use crate::ids::Random;
use crate::oauth::pkce::Challenge;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::sync::watch;

/// How long a person may look at the consent page, and how long a code lives.
const PENDING_LIFE: Duration = Duration::from_secs(600);
const CODE_LIFE: Duration = Duration::from_secs(60);
/// How many requests are remembered for tests.
const SEEN: usize = 4096;

pub(super) struct Shared {
    origin: String,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) options: Options,
    pub(super) stop: Stop,
    pub(super) misbehaviours: watch::Sender<BTreeSet<Misbehaviour>>,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) clients: HashMap<String, Client>,
    pub(super) pending: HashMap<String, Pending>,
    pub(super) codes: HashMap<String, Code>,
    pub(super) access: HashMap<String, Access>,
    pub(super) refresh: HashMap<String, Refresh>,
    /// The origins of the resource servers that take tokens from here.
    pub(super) resources: BTreeSet<String>,
    families: u64,
    pub(super) counters: Counters,
    pub(super) seen: Vec<Seen>,
}

#[derive(Clone)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) redirect_uris: Vec<String>,
    /// `None` for a public client.
    pub(super) secret: Option<String>,
}

/// An authorization request that waits for the person's decision.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) scope: String,
    pub(super) resource: String,
    pub(super) challenge: Challenge,
    pub(super) expires: Timestamp,
}

/// An authorization code; a used one is kept, so that its replay is noticed.
#[derive(Clone)]
pub(super) struct Code {
    pub(super) request: Pending,
    pub(super) user: String,
    pub(super) expires: Timestamp,
    /// The family of tokens that it was exchanged for.
    pub(super) used: Option<u64>,
}

/// What a token stands for.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) client_id: String,
    pub(super) user: String,
    pub(super) scope: String,
    pub(super) resource: String,
    pub(super) family: u64,
}

pub(super) struct Access {
    pub(super) grant: Grant,
    pub(super) expires: Timestamp,
}

pub(super) struct Refresh {
    pub(super) grant: Grant,
    /// Whether it was exchanged for its successor; using it again ends the family.
    pub(super) spent: bool,
}

/// How often things have happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Metadata was asked for.
    pub metadata: u32,
    /// Clients that registered.
    pub registrations: u32,
    /// Consent pages shown.
    pub authorizations: u32,
    /// Requests at the token endpoint, whatever came of them.
    pub token_requests: u32,
    /// Codes exchanged.
    pub code_exchanges: u32,
    /// Refresh tokens exchanged.
    pub refreshes: u32,
    /// Refresh requests answered with `invalid_grant`.
    pub refused_refreshes: u32,
    /// Families ended because a spent refresh token or a used code came again.
    pub replays: u32,
    /// Revocation requests.
    pub revocations: u32,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `authorize`, `token`, `register` or `revoke`.
    pub endpoint: &'static str,
    /// The parameters of query or form; for `register` one pair, `body`, with the JSON text.
    pub parameters: Vec<(String, String)>,
}

impl Seen {
    /// The first value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Shared {
    pub(super) fn new(origin: String, clock: Clock, random: Random, options: Options, stop: Stop) -> Self {
        let (misbehaviours, _) = watch::channel(BTreeSet::new());
        Self { origin, clock, random, options, stop, misbehaviours, state: Mutex::default() }
    }

    pub(super) fn issuer(&self) -> String {
        format!("{}{}", self.origin, self.options.issuer_path)
    }

    pub(super) fn misbehaves(&self, how: Misbehaviour) -> bool {
        self.misbehaviours.borrow().contains(&how)
    }

    pub(super) fn remember(&self, endpoint: &'static str, parameters: Vec<(String, String)>) {
        let mut state = self.state.lock();
        if state.seen.len() == SEEN {
            state.seen.remove(0);
        }
        state.seen.push(Seen { endpoint, parameters });
    }

    pub(super) fn pending_until(&self) -> Timestamp {
        self.clock.now().after(PENDING_LIFE)
    }

    pub(super) fn code_for(&self, request: Pending, user: String) -> String {
        let code = format!("demo_code_{}", *self.random.token());
        let expires = self.clock.now().after(CODE_LIFE);
        self.state.lock().codes.insert(code.clone(), Code { request, user, expires, used: None });
        code
    }

    /// An access token for `grant`, and how long it lives.
    pub(super) fn access_token(&self, state: &mut State, grant: &Grant) -> (String, Duration) {
        let token = format!("demo_at_{}", *self.random.token());
        let now = self.clock.now();
        let life =
            if self.misbehaves(Misbehaviour::ShortLivedTokens) { Duration::ZERO } else { self.options.access_ttl };
        state.access.retain(|_, access| access.expires > now);
        state.access.insert(token.clone(), Access { grant: grant.clone(), expires: now.after(life) });
        (token, life)
    }

    pub(super) fn refresh_token(&self, state: &mut State, grant: &Grant) -> String {
        let token = format!("demo_rt_{}", *self.random.token());
        state.refresh.insert(token.clone(), Refresh { grant: grant.clone(), spent: false });
        token
    }
}

impl State {
    pub(super) fn new_family(&mut self) -> u64 {
        self.families += 1;
        self.families
    }

    pub(super) fn end_family(&mut self, family: u64) {
        self.access.retain(|_, access| access.grant.family != family);
        self.refresh.retain(|_, refresh| refresh.grant.family != family);
    }

    pub(super) fn knows_resource(&self, resource: &str) -> bool {
        url::Url::parse(resource)
            .is_ok_and(|url| url.fragment().is_none() && self.resources.contains(&url.origin().ascii_serialization()))
    }
}
