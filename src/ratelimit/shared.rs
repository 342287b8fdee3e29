//! Limits that hold for all nodes together (`limits.shared`). Each node counts by itself, and twice a second it tells the
//! database what it let through and learns what all have let through; no request waits for that.
//!
//! What it guarantees: over any time, n nodes let through what one would, and at most n - 1 bursts more, which are taken off
//! afterwards. A node does not know what others let through since it asked last, so the first rush may find a full bucket at
//! each of them; but what the database adds up counts against everybody, so after a rush nobody passes until as much time has
//! gone by as it stands for. Dividing each limit by the number of nodes would exceed nothing at all, but refuse callers whose
//! connection leads to one node most of what they may have.
//!
//! Whoever uses little is not told about: a sixteenth of a burst is kept back, so that only the busy cost a row.

use super::{Limiter, RateLimits};
use crate::config::Limits;
use crate::store::{LimitUsed, Store, StoreError};
use governor::clock::{Clock, DefaultClock, Reference};
use ring::hmac;
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::time::Duration;

/// How often nodes settle with each other.
pub const SETTLE_EVERY: Duration = Duration::from_millis(500);

/// The part of a burst that a key may have used before others are told.
const KEPT_BACK: u32 = 16;

impl RateLimits {
    /// Limits that are shared with every node that has the same `key`.
    pub fn shared(limits: &Limits, key: &[u8]) -> Self {
        Self::shared_with_clock(limits, key, DefaultClock::default())
    }
}

impl<C: Clock + Clone> RateLimits<C> {
    /// The same in the time of `clock`.
    pub fn shared_with_clock(limits: &Limits, key: &[u8], clock: C) -> Self {
        let hasher = Keys::Shared(hmac::Key::new(hmac::HMAC_SHA256, key));
        Self { hasher, ..Self::with_clock(limits, clock) }
    }

    /// Whether other nodes count along.
    pub fn is_shared(&self) -> bool {
        matches!(self.hasher, Keys::Shared(_))
    }

    /// Tells the database what was let through here since the last time, and takes over what all nodes have let through. What
    /// could not be told is told the next time.
    ///
    /// # Errors
    /// When the store fails: until it works again each node counts for itself.
    pub async fn settle(&self, store: &Store) -> Result<(), StoreError> {
        let mut told = Vec::new();
        for (number, limiter) in self.all().into_iter().enumerate() {
            told.extend(limiter.untold().into_iter().map(|(key, times)| (bucket(number, key), limiter, key, times)));
        }
        // In one order everywhere: nodes wait for each other's rows, but not in a circle.
        told.sort_unstable_by_key(|(bucket, ..)| *bucket);
        let used: Vec<_> = told
            .iter()
            .map(|(bucket, limiter, _, times)| LimitUsed {
                bucket: *bucket,
                used: limiter.interval.saturating_mul(*times),
            })
            .collect();
        for (settled, ahead) in store.settle_limits(&used).await? {
            if let Ok(position) = told.binary_search_by_key(&settled, |(bucket, ..)| *bucket)
                && let Some((_, limiter, key, times)) = told.get(position)
            {
                limiter.settle(*key, *times, ahead);
            }
        }
        Ok(())
    }
}

impl<C: Clock> Limiter<C> {
    fn untold(&self) -> Vec<(u64, u32)> {
        self.state.untold((self.burst / KEPT_BACK).max(1), self.nanoseconds(Duration::ZERO))
    }

    /// `ahead` is how far all nodes together have used up a key.
    fn settle(&self, key: u64, told: u32, ahead: Duration) {
        self.state.settle(key, told, self.nanoseconds(ahead));
    }

    /// So far from now, as buckets count.
    fn nanoseconds(&self, ahead: Duration) -> u64 {
        let now = Duration::from(self.buckets.clock().now().duration_since(self.began));
        u64::try_from((now + ahead).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A row for a key of one of the limits.
#[allow(clippy::cast_possible_wrap)] // every number is good
fn bucket(limit: usize, key: u64) -> i64 {
    (key ^ (limit as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) as i64
}

/// What hashes the keys of limits.
#[derive(Clone)]
pub(super) enum Keys {
    /// SipHash under a key of this process.
    Own(RandomState),
    /// HMAC-SHA-256, with the same result at every node.
    Shared(hmac::Key),
}

impl Default for Keys {
    fn default() -> Self {
        Self::Own(RandomState::new())
    }
}

impl BuildHasher for Keys {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        match self {
            Keys::Own(state) => KeyHasher::Own(state.build_hasher()),
            Keys::Shared(key) => KeyHasher::Shared(Box::new(hmac::Context::with_key(key))),
        }
    }
}

pub(super) enum KeyHasher {
    Own(DefaultHasher),
    Shared(Box<hmac::Context>),
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        match self {
            KeyHasher::Own(hasher) => hasher.write(bytes),
            KeyHasher::Shared(context) => context.update(bytes),
        }
    }

    fn finish(&self) -> u64 {
        match self {
            KeyHasher::Own(hasher) => hasher.finish(),
            KeyHasher::Shared(context) => {
                let tag = context.as_ref().clone().sign();
                tag.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
            }
        }
    }
}
