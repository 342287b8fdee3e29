//! The state of one limit, bounded. Keys are spread over shards; a full shard first forgets the buckets that are full
//! again (they are worth nothing), and when that does not help, keys that it does not know share a few overflow buckets:
//! under a flood of new keys, known ones keep their own.

use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;

const SHARDS: usize = 64;
const KEYS_PER_SHARD: usize = 1024;
const OVERFLOW_BUCKETS: usize = 16;
/// Forgetting reads a whole shard, so it happens no more often than this.
const FORGET_EVERY: u64 = Duration::from_secs(1).as_nanos() as u64;

/// The most keys that can have a bucket of their own.
#[cfg(test)]
pub(super) const MAX_KEYS: usize = SHARDS * KEYS_PER_SHARD;

/// All buckets of a limit. A bucket is GCRA's theoretical arrival time, in nanoseconds since the limiter began.
pub(super) struct Buckets {
    /// The time that one cell of the quota stands for.
    interval: u64,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    known: HashMap<u64, u64>,
    overflow: [Option<u64>; OVERFLOW_BUCKETS],
    forget_after: u64,
}

impl Buckets {
    /// No buckets yet, of a limit that lets one through per `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl StateStore for Buckets {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // The low bits choose the shard; the map hashes the whole key again.
        let mut shard = self.shards[(*key % SHARDS as u64) as usize].lock();
        if let Some(bucket) = shard.known.get_mut(key) {
            let (outcome, next) = decide(Some((*bucket).into()))?;
            *bucket = next.into();
            return Ok(outcome);
        }
        let (outcome, next) = decide(None)?;
        let next = u64::from(next);
        // What a fresh bucket becomes is one interval after now.
        shard.make_room(next.saturating_sub(self.interval));
        if shard.known.len() < KEYS_PER_SHARD {
            shard.known.insert(*key, next);
            return Ok(outcome);
        }
        let bucket = &mut shard.overflow[(*key >> 32) as usize % OVERFLOW_BUCKETS];
        let (outcome, next) = decide(bucket.map(Nanos::from))?;
        *bucket = Some(next.into());
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<u64> for Buckets {
    fn retain_recent(&self, drop_below: Nanos) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.known.retain(|_, bucket| *bucket > drop_below.into());
            shard.known.shrink_to(KEYS_PER_SHARD / 8);
        }
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().known.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shard {
    fn make_room(&mut self, now: u64) {
        if self.known.len() < KEYS_PER_SHARD || now < self.forget_after {
            return;
        }
        self.known.retain(|_, bucket| *bucket > now);
        self.forget_after = now.saturating_add(FORGET_EVERY);
    }
}
