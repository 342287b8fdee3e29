//! What is remembered of a session of a caller's: its clients toward upstreams, and what it said once for all of them.

use super::Aggregate;
use super::members::Member;
use crate::connect::ConnectionKey;
use crate::ids::{GrantId, UserId};
use crate::mcp::era::Era;
use crate::mcp::rpc::Members;
use crate::mcp_client::{CallError, Client, Principal, Resumption};
use crate::unified::Caller;
use moka::sync::Cache;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// What nobody used for so long is forgotten; the door still knows the session then, and it is begun anew at upstreams.
const IDLE: Duration = Duration::from_secs(3600);
const MOST: u64 = 100_000;

/// All sessions of this process.
pub(super) struct Sessions(Cache<SessionKey, Arc<Session>>);

/// A session belongs to a person and a consent: its name alone is worth nothing.
type SessionKey = (UserId, GrantId, Arc<str>);

/// What a legacy caller subscribed to at upstreams that know no such request, by connection.
pub(super) type Subscriptions = HashMap<ConnectionKey, BTreeSet<String>>;

/// One of them.
pub(super) struct Session {
    /// Who keeps them closes those that nobody uses.
    clients: Mutex<HashMap<ConnectionKey, Weak<Client>>>,
    resumptions: Mutex<HashMap<ConnectionKey, Resumption>>,
    /// What a legacy caller set with `logging/setLevel`.
    pub(super) level: Mutex<Option<String>>,
    /// The level that legacy upstreams were told.
    pub(super) told: Mutex<HashMap<ConnectionKey, String>>,
    pub(super) subscribed: watch::Sender<Subscriptions>,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build())
    }

    pub(super) fn of(&self, caller: &Caller) -> Arc<Session> {
        let made = || {
            Arc::new(Session {
                clients: Mutex::default(),
                resumptions: Mutex::default(),
                level: Mutex::default(),
                told: Mutex::default(),
                subscribed: watch::Sender::default(),
            })
        };
        self.0.get_with((caller.user, caller.grant, caller.session.clone()), made)
    }

    pub(super) fn remove(&self, caller: &Caller) {
        self.0.invalidate(&(caller.user, caller.grant, caller.session.clone()));
    }
}

impl Session {
    /// The clients that were used already.
    pub(super) fn clients(&self) -> Vec<Arc<Client>> {
        self.clients.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// What another process needs to go on, by [`ConnectionKey`] as a text.
    pub(super) fn resumptions(&self) -> impl Iterator<Item = (ConnectionKey, Resumption)> + use<> {
        let clients = self.clients.lock();
        let alive = clients.iter().filter_map(|(key, client)| Some((key.clone(), client.upgrade()?)));
        let alive: Vec<_> = alive.collect();
        alive.into_iter().filter_map(|(key, client)| Some((key, client.resumption()?)))
    }

    pub(super) fn resume(&self, key: ConnectionKey, resumption: Resumption) {
        self.resumptions.lock().insert(key, resumption);
    }
}

impl Aggregate {
    /// The client of a caller at a member, with its session begun.
    pub(super) async fn client(&self, caller: &Caller, member: &Member) -> Result<Arc<Client>, CallError> {
        let session = self.sessions.of(caller);
        let before = session.resumptions.lock().remove(&member.key);
        let principal = Principal {
            key: member.key.clone(),
            session: caller.session.clone(),
            info: caller.info.clone(),
            capabilities: capabilities_for_upstreams(caller),
        };
        let client = self.parts.clients.open(&member.upstream, &principal, before).await?;
        let known = session.clients.lock().insert(member.key.clone(), Arc::downgrade(&client));
        if known.is_none_or(|known| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(&client))) {
            // Another session at the upstream: it was told nothing yet.
            session.told.lock().remove(&member.key);
        }
        Ok(client)
    }
}

/// What upstreams may ask of a caller. Not tasks of the caller's (2025-11-25): several upstreams would see each other's.
fn capabilities_for_upstreams(caller: &Caller) -> Members {
    let mut capabilities = caller.capabilities.clone();
    if caller.era == Era::Legacy {
        capabilities.remove("tasks");
    }
    capabilities
}
