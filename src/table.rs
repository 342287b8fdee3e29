//! A bounded hash table for all threads, of shared values that carry their own keys: what is remembered of tokens, hostnames
//! and credentials, up to a million of each. An entry costs a pointer and a byte beside the value. Nothing takes long: there
//! are many small tables with a lock each, which grow, and are swept, one piece at a time.

use hashbrown::HashTable;
use parking_lot::Mutex;
use std::sync::Arc;

/// How many entries a shard holds at most: a table of 8,192 buckets is full then and would have to grow.
const SHARD: usize = 8192 / 8 * 7;
/// With fewer, threads would wait for each other.
const MIN_SHARDS: usize = 16;
/// How many buckets are looked at under one lock: a few microseconds.
const STRIDE: usize = 256;
/// How many entries in use may be spared before one of them has to give way all the same.
const SPARED: usize = 32;

/// A value that knows where it belongs.
pub trait Entry {
    /// The hash of its key, the same for its whole life. Whoever chooses keys must not be able to choose hashes: they come from
    /// a keyed function or from something that was signed.
    fn hash(&self) -> u64;

    /// Whether it was used since this was asked last, when room is needed: then another one gives way (the "clock" algorithm).
    /// Unless finding it again is expensive, there is no point in knowing.
    fn was_used(&self) -> bool {
        false
    }
}

/// The table. Finding something takes one short lock and allocates nothing.
pub struct Table<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    /// The most entries of one shard.
    room: usize,
}

struct Shard<V> {
    entries: HashTable<Arc<V>>,
    /// Where the search for an entry that may go begins the next time.
    hand: usize,
}

impl<V: Entry> Table<V> {
    /// Room for `capacity` entries, or a few more.
    pub fn new(capacity: usize) -> Self {
        let shards = capacity.div_ceil(SHARD).max(MIN_SHARDS);
        let shard = || Mutex::new(Shard { entries: HashTable::new(), hand: 0 });
        Self { shards: (0..shards).map(|_| shard()).collect(), room: capacity.div_ceil(shards).max(1) }
    }

    /// The entry of this hash that `is_it`.
    pub fn find(&self, hash: u64, is_it: impl Fn(&V) -> bool) -> Option<Arc<V>> {
        self.shard(hash).lock().entries.find(hash, |entry| is_it(entry)).cloned()
    }

    /// Puts an entry in the place of the one that is `same`, or into a new one. When there is no room, another entry gives way.
    pub fn insert(&self, value: Arc<V>, same: impl Fn(&V) -> bool) {
        let hash = value.hash();
        let mut shard = self.shard(hash).lock();
        // Dropped after the lock is released.
        let _gone = if let Some(entry) = shard.entries.find_mut(hash, |entry| same(entry)) {
            Some(std::mem::replace(entry, value))
        } else {
            let gone = if shard.entries.len() >= self.room { shard.make_room() } else { None };
            shard.entries.insert_unique(hash, value, |entry| entry.hash());
            gone
        };
        drop(shard);
    }

    /// The entry of this hash that `is_it`, or the one that is made if there is none: of many who ask at once, all get the same.
    pub fn find_or_insert(&self, hash: u64, is_it: impl Fn(&V) -> bool, make: impl FnOnce() -> Arc<V>) -> Arc<V> {
        if let Some(found) = self.find(hash, &is_it) {
            return found;
        }
        let new = make();
        let mut shard = self.shard(hash).lock();
        if let Some(found) = shard.entries.find(hash, |entry| is_it(entry)) {
            return found.clone();
        }
        let _gone = if shard.entries.len() >= self.room { shard.make_room() } else { None };
        shard.entries.insert_unique(hash, new.clone(), |entry| entry.hash());
        drop(shard);
        new
    }

    /// Drops what is not to be kept, a few buckets under one lock. What is inserted meanwhile may be looked at or not.
    pub fn retain(&self, keep: impl Fn(&Arc<V>) -> bool) {
        for shard in &self.shards {
            let mut begin = 0;
            loop {
                let mut gone = Vec::new();
                let mut shard = shard.lock();
                let end = (begin + STRIDE).min(shard.entries.num_buckets());
                for bucket in begin..end {
                    let Ok(entry) = shard.entries.get_bucket_entry(bucket) else { continue };
                    if !keep(entry.get()) {
                        gone.push(entry.remove().0);
                    }
                }
                begin = end;
                if end == shard.entries.num_buckets() {
                    if shard.entries.len() < shard.entries.capacity() / 4 {
                        shard.entries.shrink_to_fit(|entry| entry.hash());
                    }
                    break;
                }
            }
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().entries.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries, as they were when their turn came.
    pub fn all(&self) -> Vec<Arc<V>> {
        self.shards.iter().flat_map(|shard| shard.lock().entries.iter().cloned().collect::<Vec<_>>()).collect()
    }

    /// By bits from the middle: the table inside takes those at both ends.
    #[allow(clippy::indexing_slicing)] // the product is below the length
    fn shard(&self, hash: u64) -> &Mutex<Shard<V>> {
        &self.shards[((((hash >> 16) & 0xffff_ffff) * self.shards.len() as u64) >> 32) as usize]
    }
}

impl<V: Entry> Shard<V> {
    /// Takes out the next entry that nobody used lately.
    fn make_room(&mut self) -> Option<Arc<V>> {
        let buckets = self.entries.num_buckets();
        let mut spared = 0;
        for _ in 0..2 * buckets {
            self.hand = if self.hand + 1 < buckets { self.hand + 1 } else { 0 };
            let Ok(entry) = self.entries.get_bucket_entry(self.hand) else { continue };
            if spared >= SPARED || !entry.get().was_used() {
                return Some(entry.remove().0);
            }
            spared += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, RandomState};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

    struct Number {
        number: u64,
        used: AtomicBool,
    }

    impl Entry for Number {
        fn hash(&self) -> u64 {
            KEYS.hash_one(self.number)
        }

        fn was_used(&self) -> bool {
            self.used.swap(false, Ordering::Relaxed)
        }
    }

    fn number(number: u64) -> Arc<Number> {
        Arc::new(Number { number, used: AtomicBool::new(false) })
    }

    fn put(table: &Table<Number>, n: u64) {
        table.insert(number(n), |entry| entry.number == n);
    }

    fn get(table: &Table<Number>, n: u64) -> Option<Arc<Number>> {
        table.find(KEYS.hash_one(n), |entry| entry.number == n)
    }

    #[test]
    fn what_is_put_is_found_and_the_same_key_has_one_entry() {
        let table = Table::new(100_000);
        for n in (0..50_000).chain(0..50_000) {
            put(&table, n);
        }
        assert_eq!(table.len(), 50_000);
        assert!((0..50_000).all(|n| get(&table, n).unwrap().number == n));
        assert!(get(&table, 50_000).is_none());
        let first = get(&table, 7).unwrap();
        let again = table.find_or_insert(KEYS.hash_one(7_u64), |entry| entry.number == 7, || number(7));
        assert!(Arc::ptr_eq(&first, &again));
    }

    #[test]
    fn it_is_bounded_and_what_is_used_stays_longer() {
        let table = Table::new(10_000);
        (0..10_000).for_each(|n| put(&table, n));
        let used: Vec<_> = (0..200).filter_map(|n| get(&table, n)).collect();
        assert!(used.len() > 150, "hashes spread over the shards: {}", used.len());
        for n in 10_000..15_000 {
            used.iter().for_each(|entry| entry.used.store(true, Ordering::Relaxed));
            put(&table, n);
        }
        assert!(table.len() <= 10_000, "{}", table.len());
        assert!(table.len() > 9_500, "{}", table.len());
        assert!(used.iter().all(|entry| get(&table, entry.number).is_some()));
        assert!((0..10_000).filter(|n| get(&table, *n).is_none()).count() > 4_000, "others made room");
    }

    #[test]
    fn everybody_in_use_does_not_mean_that_nobody_gives_way() {
        let table = Table::new(2_000);
        for n in 0..5_000 {
            put(&table, n);
            table.all().iter().take(1).for_each(|entry| entry.used.store(true, Ordering::Relaxed));
            if let Some(entry) = get(&table, n) {
                entry.used.store(true, Ordering::Relaxed);
            }
        }
        assert!(table.len() <= 2_000);
        assert!(get(&table, 4_999).is_some());
    }

    #[test]
    fn a_sweep_leaves_what_is_to_be_kept_and_gives_memory_back() {
        let table = Table::new(100_000);
        (0..100_000).for_each(|n| put(&table, n));
        table.retain(|entry| entry.number % 10 == 0);
        assert!((0..100_000).all(|n| n % 10 == 0 || get(&table, n).is_none()));
        let (left, buckets): (usize, usize) = table.shards.iter().fold((0, 0), |(left, buckets), shard| {
            let shard = shard.lock();
            (left + shard.entries.len(), buckets + shard.entries.num_buckets())
        });
        assert!((9_000..=10_000).contains(&left), "{left}");
        assert!(buckets < 40_000, "{buckets}");
        table.retain(|_| false);
        assert!(table.is_empty());
    }

    /// A later entry of a key never gives way to an earlier one, whatever others put, find and sweep meanwhile.
    #[test]
    fn no_thread_ever_finds_what_was_replaced_or_swept_by_the_one_that_did_it() {
        struct Version {
            key: u64,
            version: u64,
        }
        impl Entry for Version {
            fn hash(&self) -> u64 {
                KEYS.hash_one(self.key)
            }
        }
        const KEYS_EACH: u64 = 64;
        const ROUNDS: u64 = 3_000;
        let table: Table<Version> = Table::new(300);
        let find = |key: u64| table.find(KEYS.hash_one(key), |entry| entry.key == key);
        std::thread::scope(|threads| {
            for thread in 0..4 {
                let (table, find) = (&table, &find);
                threads.spawn(move || {
                    for version in 1..ROUNDS {
                        let key = thread * KEYS_EACH + version * 7 % KEYS_EACH;
                        table.insert(Arc::new(Version { key, version }), |entry| entry.key == key);
                        // Somebody else's may have taken its place, but nothing older has.
                        assert!(find(key).is_none_or(|entry| entry.key == key && entry.version == version));
                        if version % 16 == 0 {
                            table.retain(|entry| entry.key != key);
                            let other = find((key + KEYS_EACH) % (4 * KEYS_EACH));
                            assert!(other.is_none_or(|entry| entry.key == (key + KEYS_EACH) % (4 * KEYS_EACH)));
                        }
                    }
                });
            }
        });
        assert!(table.len() <= 320, "{}", table.len());
        table.retain(|_| false);
        assert!(table.is_empty());
    }
}
