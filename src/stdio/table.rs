//! Which processes run, who has a place, and who has to wait.

use super::backoff::Backoff;
use super::life::Why;
use super::users::Users;
use super::{Ended, Ending, Inner, Key, Pace};
use crate::config::{self, Command};
use crate::hostname::Authority;
use crate::ids::UserId;
use crate::secret::Secret;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// How many processes of one upstream a person may have: one for each account, within reason.
const PER_PERSON: usize = 8;

/// A process as those who use it know it.
pub(super) struct Running<M> {
    pub(super) key: Key,
    pub(super) command: Arc<Command>,
    /// Of the person.
    pub(super) secrets: Vec<(String, Secret)>,
    pub(super) shared: Arc<M>,
    pub(super) users: Arc<Users>,
    pub(super) tell: watch::Sender<Option<Why>>,
    pub(super) ended: Ended,
    /// Whether somebody ends it with what its person uses it with.
    pub(super) minded: AtomicBool,
}

pub(super) struct Table<M> {
    slots: HashMap<Key, Slot<M>>,
    /// Of every process that runs or is being started.
    places: Vec<Key>,
    closed: bool,
}

struct Slot<M> {
    /// One start at a time.
    gate: Arc<tokio::sync::Mutex<()>>,
    running: Option<Arc<Running<M>>>,
    backoff: Backoff,
}

/// The processes among which there is no place.
pub(super) enum Crowd {
    All,
    Upstream(Authority),
    Person(Authority, UserId),
}

/// The place of one process; dropping it gives it back.
pub(super) struct Place<M> {
    inner: Arc<Inner<M>>,
    key: Key,
}

impl<M> Running<M> {
    /// Whether it was started as it would be started now.
    pub(super) fn fits(&self, command: &Arc<Command>, secrets: &[(String, Secret)]) -> bool {
        let same = |((name, secret), (other, expected)): (&(String, Secret), &(String, Secret))| {
            name == other && secret.matches(expected.expose())
        };
        (Arc::ptr_eq(&self.command, command) || self.command.is_same(command))
            && self.secrets.len() == secrets.len()
            && self.secrets.iter().zip(secrets).all(same)
    }

    /// Ends it. Only the first reason counts.
    pub(super) fn stop(&self, why: Why) {
        self.users.close();
        self.tell.send_if_modified(|told| {
            let first = told.is_none();
            told.get_or_insert(why);
            first
        });
    }

    /// Waits until it has ended.
    pub(super) async fn gone(&self) {
        self.ended.clone().wait().await;
    }
}

impl<M> Default for Table<M> {
    fn default() -> Self {
        Self { slots: HashMap::new(), places: Vec::new(), closed: false }
    }
}

impl<M> Table<M> {
    /// Where those wait who want the same process.
    pub(super) fn gate(&mut self, key: &Key, pace: &Pace) -> Arc<tokio::sync::Mutex<()>> {
        if let Some(slot) = self.slots.get(key) {
            return slot.gate.clone();
        }
        self.slots.retain(|_, slot| {
            slot.running.is_some() || Arc::strong_count(&slot.gate) > 1 || !slot.backoff.is_over(pace)
        });
        let slot = Slot { gate: Arc::default(), running: None, backoff: Backoff::default() };
        self.slots.entry(key.clone()).or_insert(slot).gate.clone()
    }

    pub(super) fn running(&self, key: &Key) -> Option<Arc<Running<M>>> {
        self.slots.get(key)?.running.clone()
    }

    pub(super) fn all(&self) -> Vec<Arc<Running<M>>> {
        self.slots.values().filter_map(|slot| slot.running.clone()).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    pub(super) fn insert(&mut self, running: Arc<Running<M>>) {
        if self.closed {
            running.stop(Why::Stopping);
        }
        if let Some(slot) = self.slots.get_mut(&running.key) {
            slot.running = Some(running);
        }
    }

    pub(super) fn remove(&mut self, key: &Key, running: &Weak<Running<M>>) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.running.take_if(|current| Weak::ptr_eq(running, &Arc::downgrade(current)));
        }
    }

    pub(super) fn failed(&mut self, key: &Key, life: Duration, ending: Ending, pace: &Pace) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.backoff.failed(life, ending, pace);
        }
    }

    /// How long nobody may start it, and why.
    pub(super) fn waiting(&self, key: &Key) -> Option<(Duration, &Ending)> {
        self.slots.get(key)?.backoff.waiting()
    }

    /// Nothing is started any more; what runs.
    pub(super) fn close(&mut self) -> Vec<Arc<Running<M>>> {
        self.closed = true;
        self.all()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Among whom there is no place for one more.
    pub(super) fn crowd(&self, key: &Key, settings: &config::Stdio) -> Option<Crowd> {
        let user = key.person.as_ref().map(|(user, _)| *user);
        let person = user.map(|user| Crowd::Person(key.upstream.clone(), user));
        let crowds = [
            (person, PER_PERSON),
            (Some(Crowd::Upstream(key.upstream.clone())), settings.max_processes_per_upstream as usize),
            (Some(Crowd::All), settings.max_processes as usize),
        ];
        let is_full = |crowd: &Crowd, most| self.places.iter().filter(|place| crowd.has(place)).count() >= most;
        crowds.into_iter().find_map(|(crowd, most)| crowd.filter(|crowd| is_full(crowd, most)))
    }

    /// The one of a crowd that nobody has used for the longest time.
    pub(super) fn least_used(&self, crowd: &Crowd) -> Option<Arc<Running<M>>> {
        let all = self.slots.values().filter_map(|slot| slot.running.as_ref());
        let unused = all.filter(|one| crowd.has(&one.key)).filter_map(|one| Some((one.users.unused_since()?, one)));
        unused.min_by_key(|(since, _)| *since).map(|(_, one)| one.clone())
    }
}

impl Crowd {
    fn has(&self, key: &Key) -> bool {
        match self {
            Crowd::All => true,
            Crowd::Upstream(upstream) => key.upstream == *upstream,
            Crowd::Person(upstream, user) => {
                key.upstream == *upstream && key.person.as_ref().is_some_and(|(person, _)| person == user)
            }
        }
    }
}

impl<M> Place<M> {
    pub(super) fn take(inner: &Arc<Inner<M>>, table: &mut Table<M>, key: &Key) -> Self {
        table.places.push(key.clone());
        Self { inner: inner.clone(), key: key.clone() }
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }
}

impl<M> Drop for Place<M> {
    fn drop(&mut self) {
        let mut table = self.inner.table.lock();
        if let Some(at) = table.places.iter().position(|place| *place == self.key) {
            table.places.swap_remove(at);
        }
    }
}
