//! The state of one limit, bounded. Keys are spread over shards; a full shard first forgets the buckets that are full
//! again (they are worth nothing), and when that does not help, keys that it does not know share a few overflow buckets:
//! under a flood of new keys, known ones keep their own.

use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const SHARDS: usize = 64;
const KEYS_PER_SHARD: usize = 1024;
const OVERFLOW_BUCKETS: usize = 16;
/// Forgetting reads a whole shard, so it happens no more often than this.
const FORGET_EVERY: u64 = Duration::from_secs(1).as_nanos() as u64;

/// The most keys that can have a bucket of their own.
#[cfg(test)]
pub(super) const MAX_KEYS: usize = SHARDS * KEYS_PER_SHARD;

/// All buckets of a limit; cloning shares them.
#[derive(Clone)]
pub(super) struct Buckets {
    /// The time that one cell of the quota stands for.
    interval: u64,
    shards: Arc<[Mutex<Shard>; SHARDS]>,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// GCRA's theoretical arrival time, in nanoseconds since the limiter began.
    arrives_at: u64,
    /// How often it let somebody through that other nodes have not been told of.
    untold: u32,
    /// Whether other nodes were ever told: then they may have told, too.
    is_shared: bool,
}

#[derive(Default)]
struct Shard {
    known: HashMap<u64, Bucket>,
    overflow: [Option<u64>; OVERFLOW_BUCKETS],
    forget_after: u64,
}

impl Buckets {
    /// No buckets yet, of a limit that lets one through per `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            shards: Arc::new(std::array::from_fn(|_| Mutex::default())),
        }
    }
}

impl Buckets {
    /// The keys that were let through at least `least` times since other nodes were told, and how often; and those that they
    /// were told of before and that are not full again.
    pub(super) fn untold(&self, least: u32, now: u64) -> Vec<(u64, u32)> {
        let mut untold = Vec::new();
        for shard in self.shards.iter() {
            let shard = shard.lock();
            let is_busy = |bucket: &Bucket| bucket.untold >= least || bucket.is_shared && bucket.arrives_at > now;
            let busy = shard.known.iter().filter(|(_, bucket)| is_busy(bucket));
            untold.extend(busy.map(|(key, bucket)| (*key, bucket.untold)));
        }
        untold
    }

    /// Other nodes were told of `told`, and `arrives_at` is what all of them together have come to.
    pub(super) fn settle(&self, key: u64, told: u32, arrives_at: u64) {
        let mut shard = self.shard(key).lock();
        let Some(bucket) = shard.known.get_mut(&key) else { return };
        (bucket.untold, bucket.is_shared) = (bucket.untold.saturating_sub(told), true);
        let here = u64::from(bucket.untold).saturating_mul(self.interval);
        bucket.arrives_at = bucket.arrives_at.max(arrives_at.saturating_add(here));
    }

    /// The low bits choose the shard; the map hashes the whole key again.
    #[allow(clippy::indexing_slicing)] // the remainder is below the length
    fn shard(&self, key: u64) -> &Mutex<Shard> {
        &self.shards[(key % SHARDS as u64) as usize]
    }
}

impl StateStore for Buckets {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.shard(*key).lock();
        if let Some(bucket) = shard.known.get_mut(key) {
            let (outcome, next) = decide(Some(bucket.arrives_at.into()))?;
            (bucket.arrives_at, bucket.untold) = (next.into(), bucket.untold.saturating_add(1));
            return Ok(outcome);
        }
        let (outcome, next) = decide(None)?;
        let next = u64::from(next);
        // What a fresh bucket becomes is one interval after now.
        shard.make_room(next.saturating_sub(self.interval));
        if shard.known.len() < KEYS_PER_SHARD {
            shard.known.insert(*key, Bucket { arrives_at: next, untold: 1, is_shared: false });
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
        for shard in self.shards.iter() {
            let mut shard = shard.lock();
            shard.known.retain(|_, bucket| bucket.arrives_at > drop_below.into());
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
        self.known.retain(|_, bucket| bucket.arrives_at > now);
        self.forget_after = now.saturating_add(FORGET_EVERY);
    }
}
