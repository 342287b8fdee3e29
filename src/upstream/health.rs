//! How upstreams do, as the data path sees it: a circuit breaker and a bound on waiting requests for each, so that one
//! that is dead or hangs costs the others nothing, and notes for people.
//!
//! Only trouble in connecting and missing answers count. What an upstream answers is its own business, 5xx included.

mod circuit;
mod metrics;
#[cfg(test)]
mod tests;

use crate::clock::{Clock, Timestamp};
use crate::hostname::Authority;
use crate::ids::Random;
use crate::table::{Entry, Table};
use arc_swap::ArcSwapOption;
use circuit::{Admission, Circuit};
use parking_lot::Mutex;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How many upstreams are watched. Beyond that one gives way that is in no trouble and answers nobody.
const CAPACITY: usize = 1 << 17;
/// How long the address that won a race is tried first.
const FAVOURITE: Duration = Duration::from_secs(600);

/// All upstreams that requests were sent to, bounded. Cloning shares it.
#[derive(Clone)]
pub struct HealthTable {
    table: Arc<Table<Health>>,
    /// Hashes are made under a secret key.
    keys: RandomState,
    clock: Clock,
    random: Random,
    max_requests: u32,
}

/// One upstream, under all its names. Reading and counting is atomic; there is a lock for as long as it is in trouble.
pub struct Health {
    authority: Authority,
    hash: u64,
    clock: Clock,
    random: Random,
    max_requests: u32,
    requests: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
    waiting: AtomicU32,
    /// Whether the circuit has anything to say.
    troubled: AtomicBool,
    circuit: Mutex<Circuit>,
    favourite: ArcSwapOption<(SocketAddr, Timestamp)>,
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was being done.
    pub stage: Stage,
    /// Whether it took too long, as opposed to being refused or broken off.
    pub timeout: bool,
    /// In words that may be shown to anybody.
    pub why: String,
}

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Name, TCP or TLS.
    Connecting,
    /// The request was sent.
    Answering,
}

/// A request is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The upstream was out of order a moment ago.
    OutOfOrder {
        /// When to come again.
        retry_after: Duration,
        /// Whether it did not answer in time, as opposed to refusing.
        timeout: bool,
    },
    /// As many requests as allowed wait for its answers.
    Busy,
}

/// Whether requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// They are.
    Closed,
    /// They are refused for a while.
    Open,
    /// One is on its way, to see whether the upstream is back.
    Probing,
}

/// What is known about an upstream.
#[derive(Clone, Debug)]
pub struct Note {
    /// Which.
    pub authority: Authority,
    /// Requests that were to be sent to it, refused ones included.
    pub requests: u64,
    /// Requests that found no connection or got no answer.
    pub failures: u64,
    /// Requests refused because it was out of order or busy.
    pub refused: u64,
    /// Requests without a complete answer at this moment; open streams do not count.
    pub waiting: u32,
    /// Failures since the last success.
    pub consecutive: u32,
    /// The last one, while it has not been followed by a success.
    pub last_failure: Option<(Timestamp, String)>,
    /// Whether requests are sent.
    pub state: State,
}

impl HealthTable {
    /// At most `max_requests` may wait for one upstream.
    pub fn new(clock: Clock, random: Random, max_requests: u32) -> Self {
        Self { table: Arc::new(Table::new(CAPACITY)), keys: RandomState::new(), clock, random, max_requests }
    }

    /// The entry of an upstream, made when it is not there.
    pub fn of(&self, authority: &Authority) -> Arc<Health> {
        let is_it = |health: &Health| health.authority == *authority;
        self.table.find_or_insert(self.keys.hash_one(authority), is_it, || self.unlisted(authority))
    }

    /// An entry that is in no table: for hostnames that anybody can make up.
    pub fn unlisted(&self, authority: &Authority) -> Arc<Health> {
        Arc::new(Health {
            authority: authority.clone(),
            hash: self.keys.hash_one(authority),
            clock: self.clock.clone(),
            random: self.random.clone(),
            max_requests: self.max_requests,
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            troubled: AtomicBool::new(false),
            circuit: Mutex::default(),
            favourite: ArcSwapOption::empty(),
        })
    }

    /// What is known about an upstream, if a request was sent to it lately.
    pub fn find(&self, authority: &Authority) -> Option<Note> {
        let found = self.table.find(self.keys.hash_one(authority), |health| health.authority == *authority);
        found.map(|health| health.note())
    }

    /// What is known about every upstream that a request was sent to, most requests first.
    pub fn notes(&self) -> Vec<Note> {
        let mut notes: Vec<Note> =
            self.table.all().iter().filter(|health| health.is_known()).map(|health| health.note()).collect();
        notes.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.authority.cmp(&b.authority)));
        notes
    }
}

impl Entry for Health {
    fn hash(&self) -> u64 {
        self.hash
    }

    fn was_used(&self) -> bool {
        self.troubled.load(Ordering::Acquire) || self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Health {
    /// A place for one request.
    ///
    /// # Errors
    /// When the upstream is out of order or has too many already.
    pub fn begin(self: &Arc<Self>) -> Result<Turn, Unavailable> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let busy = self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_requests;
        // From here on dropping it gives the place back.
        let mut turn = Turn { health: self.clone(), waits: true, probes: false };
        let refused = if busy {
            Unavailable::Busy
        } else if !self.troubled.load(Ordering::Acquire) {
            return Ok(turn);
        } else {
            match self.circuit.lock().admit(self.clock.now()) {
                Admission::Granted => return Ok(turn),
                Admission::Probe => {
                    turn.probes = true;
                    return Ok(turn);
                }
                Admission::Denied { retry_after, timeout } => Unavailable::OutOfOrder { retry_after, timeout },
            }
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(refused)
    }

    /// Records that a request found no connection, or got no answer.
    pub fn failed(&self, failure: &Failure) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let [jitter] = self.random.bytes();
        let opened = {
            let mut circuit = self.circuit.lock();
            self.troubled.store(true, Ordering::Release);
            circuit.failed(failure, self.clock.now(), jitter)
        };
        if let Some(pause) = opened {
            tracing::warn!(upstream = %self.authority, why = failure.why, ?pause, "an upstream is out of order");
        }
    }

    /// The address that won the last race, and whether that was long ago.
    pub fn favourite(&self) -> Option<(SocketAddr, bool)> {
        let favourite = self.favourite.load();
        let (address, since) = **favourite.as_ref()?;
        Some((address, self.clock.now().since(since) > FAVOURITE))
    }

    /// Remembers the winner of a race.
    pub fn prefer(&self, address: SocketAddr) {
        self.favourite.store(Some(Arc::new((address, self.clock.now()))));
    }

    /// What is known.
    pub fn note(&self) -> Note {
        let circuit = self.circuit.lock();
        Note {
            authority: self.authority.clone(),
            requests: self.requests.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            consecutive: circuit.consecutive(),
            last_failure: circuit.last().map(|(at, failure)| (at, failure.why.clone())),
            state: circuit.state(),
        }
    }

    /// Whether a request was to be sent to it.
    fn is_known(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    fn succeeded(&self, stage: Stage) {
        if !self.troubled.load(Ordering::Acquire) {
            return;
        }
        let mut circuit = self.circuit.lock();
        // A connection says nothing about answers that stay away.
        if stage == Stage::Connecting && circuit.failed_while(Stage::Answering) {
            return;
        }
        let was = circuit.state();
        *circuit = Circuit::default();
        self.troubled.store(false, Ordering::Release);
        drop(circuit);
        if was != State::Closed {
            tracing::info!(upstream = %self.authority, "an upstream works again");
        }
    }
}

/// A request's place among those that wait for an upstream; given back when dropped.
pub struct Turn {
    health: Arc<Health>,
    waits: bool,
    probes: bool,
}

impl Turn {
    /// A new connection is there.
    pub fn connected(&mut self) {
        self.health.succeeded(Stage::Connecting);
    }

    /// The head of an answer is there.
    pub fn answered(&mut self) {
        self.health.succeeded(Stage::Answering);
        self.probes = false;
    }

    /// The request is complete: from now on it waits for the upstream, and takes a place again.
    pub fn waits(&mut self) {
        if !std::mem::replace(&mut self.waits, true) {
            self.health.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What follows lasts as long as the caller likes, a body that is still arriving or a stream: it takes no place.
    pub fn yields(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.health.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.yields();
        if self.probes {
            self.health.circuit.lock().probe_lost();
        }
    }
}
