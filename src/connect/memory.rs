//! Credentials in memory: read by nearly every request, forgotten the moment a connection changes.

use super::{ConnectionKey, Credential};
use crate::clock::Timestamp;
use crate::ids::ConnectionId;
use crate::table::{Entry, Table};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// How many credentials are kept. Beyond that one that was not used lately gives way.
const CAPACITY: usize = 100_000;

/// Credentials by key, and an index by connection.
pub(super) struct Memory {
    capacity: usize,
    slots: Table<Slot>,
    /// Keys are hashed under a secret key: nobody outside can make two of them collide.
    keys: RandomState,
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
    key: ConnectionKey,
    hash: u64,
    credential: Arc<Credential>,
    /// For what the configuration gives: the registry's generation that it was read in.
    generation: Option<u64>,
    forgotten: AtomicBool,
    /// Since somebody asked for it last.
    used: AtomicBool,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self::of(CAPACITY)
    }

    fn of(capacity: usize) -> Self {
        Self { capacity, slots: Table::new(capacity), keys: RandomState::new(), index: Mutex::default() }
    }

    /// Takes the short lock of a table, and that is all.
    pub(super) fn get(&self, key: &ConnectionKey, now: Timestamp, generation: u64) -> Option<Arc<Credential>> {
        let slot = self.slots.find(self.keys.hash_one(key), |slot| slot.key == *key)?;
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
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
        let slot = self.slot(key, &credential, None);
        let mut index = self.index.lock();
        if index.epoch == epoch {
            index.by_id.insert(id, Arc::downgrade(&slot));
            if index.by_id.len() > 2 * self.capacity {
                index.by_id.retain(|_, slot| slot.strong_count() > 0);
            }
            self.slots.insert(slot, |known| known.key == *key);
        }
        credential
    }

    /// Keeps what everybody shares, as long as the registry does not change.
    pub(super) fn put_shared(&self, key: &ConnectionKey, credential: Credential, generation: u64) -> Arc<Credential> {
        let credential = Arc::new(credential);
        self.slots.insert(self.slot(key, &credential, Some(generation)), |known| known.key == *key);
        credential
    }

    fn slot(&self, key: &ConnectionKey, credential: &Arc<Credential>, generation: Option<u64>) -> Arc<Slot> {
        let (hash, credential) = (self.keys.hash_one(key), credential.clone());
        let (forgotten, used) = (AtomicBool::new(false), AtomicBool::new(true));
        Arc::new(Slot { key: key.clone(), hash, credential, generation, forgotten, used })
    }

    /// After the configuration of upstreams has changed, and with it perhaps what an authorization is good for.
    pub(super) fn forget_all(&self) {
        let mut index = self.index.lock();
        index.epoch += 1;
        for slot in index.by_id.drain().filter_map(|(_, slot)| slot.upgrade()) {
            slot.forgotten.store(true, Ordering::Release);
        }
    }

    /// Drops what was forgotten, and what nobody has used since this was done last.
    pub(super) fn sweep(&self) {
        self.slots.retain(|slot| slot.was_used());
        self.index.lock().by_id.retain(|_, slot| slot.strong_count() > 0);
    }

    pub(super) fn forget(&self, id: ConnectionId) {
        let mut index = self.index.lock();
        index.epoch += 1;
        if let Some(slot) = index.by_id.remove(&id).and_then(|slot| slot.upgrade()) {
            slot.forgotten.store(true, Ordering::Release);
        }
    }
}

impl Entry for Slot {
    fn hash(&self) -> u64 {
        self.hash
    }

    /// The next request would have to read a row and open it.
    fn was_used(&self) -> bool {
        !self.forgotten.load(Ordering::Relaxed) && self.used.swap(false, Ordering::Relaxed)
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
        let epoch = memory.epoch();
        memory.forget_all();
        memory.put(&key, credential(&key, id), epoch);
        assert!(memory.get(&key, Timestamp(0), 0).is_none());
    }

    #[test]
    fn what_is_kept_can_be_forgotten_however_many_there_are() {
        let memory = Memory::of(10);
        let all: Vec<_> = (1..=21).map(|number| (key(), ConnectionId([number; 16]))).collect();
        for (key, id) in &all {
            memory.put(key, credential(key, *id), memory.epoch());
        }
        let is_there = |key: &ConnectionKey| memory.get(key, Timestamp(0), 0).is_some();
        assert!(all.iter().any(|(key, _)| is_there(key)));
        all.iter().for_each(|(_, id)| memory.forget(*id));
        assert!(!all.iter().any(|(key, _)| is_there(key)));
    }

    #[test]
    fn what_everybody_shares_lasts_as_long_as_the_registry_s_generation() {
        let (memory, key) = (Memory::new(), key());
        let shared = Credential { connection: None, ..credential(&key, ConnectionId([1; 16])) };
        memory.put_shared(&key, shared, 3);
        assert!(memory.get(&key, Timestamp(0), 3).is_some());
        assert!(memory.get(&key, Timestamp(0), 4).is_none());
        let newer = Credential { connection: None, ..credential(&key, ConnectionId([1; 16])) };
        memory.put_shared(&key, newer, 4);
        assert!(memory.get(&key, Timestamp(0), 3).is_none() && memory.get(&key, Timestamp(0), 4).is_some());
        assert_eq!(memory.slots.len(), 1);
    }

    #[test]
    fn a_sweep_drops_what_nobody_used_since_the_last_one() {
        let memory = Memory::new();
        let (used, unused) = (key(), key());
        for (number, key) in [(1, &used), (2, &unused)] {
            memory.put(key, credential(key, ConnectionId([number; 16])), memory.epoch());
        }
        memory.sweep();
        assert!(memory.get(&used, Timestamp(0), 0).is_some());
        memory.sweep();
        assert!(memory.get(&used, Timestamp(0), 0).is_some() && memory.get(&unused, Timestamp(0), 0).is_none());
        assert_eq!((memory.slots.len(), memory.index.lock().by_id.len()), (1, 1));
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
            let index = memory.index.lock().by_id.len();
            assert!(index <= 2 * memory.capacity, "{index} in the index of {}", memory.capacity);
        }
    }

    #[test]
    fn it_does_not_grow_with_the_number_of_connections() {
        let memory = Memory::of(2_000);
        fill(&memory, 10_000, 100);
        assert!(memory.slots.len() <= 2_000, "{}", memory.slots.len());
        assert!(memory.slots.len() > 1_000, "{}: what is used is kept", memory.slots.len());
    }

    /// For docs/performance.md: alone, since it reads the memory of the whole process.
    #[test]
    #[ignore = "a measurement"]
    fn a_million_connections() {
        let memory = Memory::new();
        let resident = || crate::telemetry::resident_memory().unwrap() >> 20;
        let before = resident();
        for count in [CAPACITY as u64, 1_000_000] {
            fill(&memory, count, 1024);
            println!("{count} connections: {} kept, {before} -> {} MiB", memory.slots.len(), resident());
        }
    }
}
