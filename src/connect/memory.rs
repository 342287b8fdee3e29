//! Credentials in memory: read by nearly every request, forgotten the moment a connection changes.

use super::{ConnectionKey, Credential};
use crate::clock::Timestamp;
use crate::ids::ConnectionId;
use moka::sync::Cache;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How many credentials are kept.
const CAPACITY: u64 = 100_000;
/// One that nobody used for so long is dropped.
const IDLE: Duration = Duration::from_secs(1800);

/// Credentials by key, and an index by connection.
pub(super) struct Memory {
    capacity: u64,
    slots: Cache<ConnectionKey, Arc<Slot>>,
    index: Mutex<Index>,
}

/// Written together with the slots, under one lock.
#[derive(Default)]
struct Index {
    /// Counts what was forgotten: a row read before that must not be put afterwards.
    epoch: u64,
    /// Exactly the slots that may still be read: a weak reference dies with its slot.
    by_id: HashMap<ConnectionId, Weak<Slot>>,
}

struct Slot {
    credential: Arc<Credential>,
    /// For what the configuration gives: the registry's generation that it was read in.
    generation: Option<u64>,
    forgotten: AtomicBool,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self::of(CAPACITY)
    }

    fn of(capacity: u64) -> Self {
        let slots = Cache::builder().max_capacity(capacity).time_to_idle(IDLE).build();
        Self { capacity, slots, index: Mutex::default() }
    }

    /// Takes no lock besides what the map does inside.
    pub(super) fn get(&self, key: &ConnectionKey, now: Timestamp, generation: u64) -> Option<Arc<Credential>> {
        let slot = self.slots.get(key)?;
        let good = !slot.forgotten.load(Ordering::Acquire)
            && !slot.credential.life.has_ended()
            && slot.credential.expires_at.is_none_or(|end| now < end)
            && slot.generation.is_none_or(|of| of == generation);
        good.then(|| slot.credential.clone())
    }

    /// To be read before the row that [`Memory::put`] is going to be about.
    pub(super) fn epoch(&self) -> u64 {
        self.index.lock().epoch
    }

    /// Keeps a credential, unless something was forgotten since `epoch`: then it is good for this once.
    pub(super) fn put(&self, key: &ConnectionKey, credential: Credential, epoch: u64) -> Arc<Credential> {
        let credential = Arc::new(credential);
        let Some(id) = credential.connection else { return credential };
        let slot = Slot::new(&credential, None);
        let mut index = self.index.lock();
        if index.epoch == epoch {
            index.by_id.insert(id, Arc::downgrade(&slot));
            if index.by_id.len() as u64 > 2 * self.capacity {
                index.by_id.retain(|_, slot| slot.strong_count() > 0);
            }
            self.slots.insert(key.clone(), slot);
        }
        credential
    }

    /// Keeps what everybody shares, as long as the registry does not change.
    pub(super) fn put_shared(&self, key: &ConnectionKey, credential: Credential, generation: u64) -> Arc<Credential> {
        let credential = Arc::new(credential);
        self.slots.insert(key.clone(), Slot::new(&credential, Some(generation)));
        credential
    }

    /// After the configuration of upstreams has changed, and with it perhaps what an authorization is good for.
    pub(super) fn forget_all(&self) {
        let mut index = self.index.lock();
        index.epoch += 1;
        for slot in index.by_id.drain().filter_map(|(_, slot)| slot.upgrade()) {
            slot.forgotten.store(true, Ordering::Release);
        }
    }

    pub(super) fn forget(&self, id: ConnectionId) {
        let mut index = self.index.lock();
        index.epoch += 1;
        if let Some(slot) = index.by_id.remove(&id).and_then(|slot| slot.upgrade()) {
            slot.forgotten.store(true, Ordering::Release);
        }
    }
}

impl Slot {
    fn new(credential: &Arc<Credential>, generation: Option<u64>) -> Arc<Self> {
        Arc::new(Self { credential: credential.clone(), generation, forgotten: AtomicBool::new(false) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostname::Authority;
    use crate::ids::{Random, UserId};
    use std::sync::atomic::AtomicI64;

    fn key() -> ConnectionKey {
        let authority = Authority::parse("mcp.example").unwrap();
        ConnectionKey::upstream(UserId::random(&Random::default()), authority, None)
    }

    fn credential(key: &ConnectionKey, id: ConnectionId) -> Credential {
        let (target, life) = (key.target.clone(), Arc::default());
        Credential {
            target,
            connection: Some(id),
            version: 1,
            header: None,
            expires_at: None,
            life,
            used: AtomicI64::default(),
        }
    }

    #[test]
    fn what_is_forgotten_or_expired_is_not_found() {
        let (memory, key, id) = (Memory::new(), key(), ConnectionId([1; 16]));
        let mortal = Credential { expires_at: Some(Timestamp(10)), ..credential(&key, id) };
        memory.put(&key, mortal, memory.epoch());
        assert!(memory.get(&key, Timestamp(9), 0).is_some());
        assert!(memory.get(&key, Timestamp(10), 0).is_none());
        memory.forget(id);
        assert!(memory.get(&key, Timestamp(9), 0).is_none());
        memory.put(&key, credential(&key, id), memory.epoch());
        assert!(memory.get(&key, Timestamp(9), 0).is_some());
        memory.forget_all();
        assert!(memory.get(&key, Timestamp(9), 0).is_none());
        let ended = memory.put(&key, credential(&key, id), memory.epoch());
        ended.life.finish();
        assert!(memory.get(&key, Timestamp(9), 0).is_none());
    }

    #[test]
    fn a_row_read_before_something_changed_is_not_kept() {
        let (memory, key, id) = (Memory::new(), key(), ConnectionId([1; 16]));
        let epoch = memory.epoch();
        memory.forget(id);
        memory.put(&key, credential(&key, id), epoch);
        assert!(memory.get(&key, Timestamp(0), 0).is_none());
    }

    #[test]
    fn what_everybody_shares_lasts_as_long_as_the_registry_s_generation() {
        let (memory, key) = (Memory::new(), key());
        let shared = Credential { connection: None, ..credential(&key, ConnectionId([1; 16])) };
        memory.put_shared(&key, shared, 3);
        assert!(memory.get(&key, Timestamp(0), 3).is_some());
        assert!(memory.get(&key, Timestamp(0), 4).is_none());
    }
    /// Puts `count` distinct connections, each with a header of `length` bytes, and reads every one again.
    fn fill(memory: &Memory, count: u64, length: usize) {
        let random = Random::default();
        for _ in 0..count {
            let (key, id) = (key(), ConnectionId::random(&random));
            let value = http::HeaderValue::from_bytes(&vec![b'x'; length]).unwrap();
            let header = Some((http::header::AUTHORIZATION, value));
            memory.put(&key, Credential { header, ..credential(&key, id) }, memory.epoch());
            memory.get(&key, Timestamp(0), 0);
            let index = memory.index.lock().by_id.len() as u64;
            assert!(index <= 2 * memory.capacity, "{index} in the index of {}", memory.capacity);
        }
        memory.slots.run_pending_tasks();
    }

    #[test]
    fn it_does_not_grow_with_the_number_of_connections() {
        let memory = Memory::of(2_000);
        fill(&memory, 10_000, 100);
        assert!(memory.slots.entry_count() <= 2_000, "{}", memory.slots.entry_count());
        assert!(memory.slots.entry_count() > 1_000, "{}: what is used is kept", memory.slots.entry_count());
    }

    /// For docs/performance.md: alone, since it reads the memory of the whole process.
    #[test]
    #[ignore = "a measurement"]
    fn a_million_connections() {
        let memory = Memory::new();
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
        };
        let before = resident();
        for count in [CAPACITY, 1_000_000] {
            fill(&memory, count, 1024);
            println!("{count} connections: {} kept, {before} -> {} MiB", memory.slots.entry_count(), resident());
        }
    }
}
