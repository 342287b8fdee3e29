//! How far memory may be trusted. What a process remembers of the database (that a token is not revoked, that a person may use
//! an upstream) is true as of the last time that it read the journal of changes to its end. A process that was cut off from
//! the database, or did not run for a while, must not believe it any longer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;

/// How long a request waits for memory to become current again, before it is refused for now. Longer than a connection to the
/// database takes to be made anew.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a request is told to wait that was refused because memory is not current.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Memory is older than it may be: the journal of changes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the database cannot be reached, and without it nobody knows what was revoked: try again shortly")]
pub struct Outdated;

/// Until when memory is current. It begins without an end; whoever follows the journal sets one and moves it on.
#[derive(Debug)]
pub struct Freshness {
    epoch: Instant,
    /// In nanoseconds after `epoch`, as all here.
    until: AtomicU64,
    /// Everything is known that had happened by then.
    as_of: AtomicU64,
    renewed: Notify,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            until: AtomicU64::new(u64::MAX),
            as_of: AtomicU64::new(0),
            renewed: Notify::new(),
        }
    }
}

impl Freshness {
    /// Whether memory is current: a look at the monotonic clock and an atomic load. A process that was stopped for a while
    /// finds that it is not, before anything of it has run again.
    pub fn is_current(&self) -> bool {
        // Ordered after what was learnt before the last renewal, which costs no more than a relaxed load on most machines.
        self.now() < self.until.load(Ordering::Acquire)
    }

    /// Everything was learnt that had happened by `read_at`, which is good for `validity` after that.
    pub fn renew(&self, read_at: Instant, validity: Duration) {
        let as_of = read_at.saturating_duration_since(self.epoch);
        self.as_of.store(nanoseconds(as_of), Ordering::Release);
        self.until.store(nanoseconds(as_of + validity), Ordering::Release);
        self.renewed.notify_waiters();
    }

    /// For how long memory has not been current; zero while it is.
    pub fn overdue(&self) -> Duration {
        Duration::from_nanos(self.now().saturating_sub(self.until.load(Ordering::Acquire)))
    }

    /// Waits until memory is current, or everything is known that had happened when the wait began, for [`PATIENCE`] at
    /// most. The second is as good for a request that has just come in, and it is all that there is where a machine has so
    /// much to do that what was read is outdated before anybody who waited for it has run.
    ///
    /// # Errors
    /// [`Outdated`] when that was not long enough.
    pub async fn regained(&self) -> Result<(), Outdated> {
        let asked_at = self.now();
        // Compared by the clock, too: a process that was stopped runs on before its timers do.
        let is_known = |now| self.as_of.load(Ordering::Acquire) > asked_at && now - asked_at < nanoseconds(PATIENCE);
        let regained = async {
            loop {
                let renewed = self.renewed.notified();
                tokio::pin!(renewed);
                // Registered before the time is compared, so that a renewal in between is not missed.
                renewed.as_mut().enable();
                if self.is_current() || is_known(self.now()) {
                    return;
                }
                renewed.await;
            }
        };
        timeout(PATIENCE, regained).await.map_err(|_| Outdated)
    }

    fn now(&self) -> u64 {
        nanoseconds(self.epoch.elapsed())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn memory_is_current_until_it_was_not_renewed_in_time() {
        let freshness = Freshness::default();
        assert!(freshness.is_current(), "nobody follows a journal yet");
        freshness.renew(Instant::now(), LONG);
        assert!(freshness.is_current());
        assert_eq!(freshness.overdue(), Duration::ZERO);
        freshness.renew(Instant::now(), Duration::ZERO);
        assert!(!freshness.is_current());
        assert_eq!(freshness.regained().await, Err(Outdated));
        freshness.renew(Instant::now(), LONG);
        assert_eq!(freshness.regained().await, Ok(()));
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_when_memory_is_current_again() {
        let freshness = Arc::new(Freshness::default());
        freshness.renew(Instant::now(), Duration::ZERO);
        let waiting = tokio::spawn({
            let freshness = freshness.clone();
            async move { freshness.regained().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        freshness.renew(Instant::now(), LONG);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_when_everything_is_known_that_happened_before() {
        let freshness = Arc::new(Freshness::default());
        let before = Instant::now();
        freshness.renew(before, Duration::ZERO);
        let waiting = tokio::spawn({
            let freshness = freshness.clone();
            async move { freshness.regained().await }
        });
        tokio::task::yield_now().await;
        freshness.renew(before, Duration::ZERO);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "what was read before it came");
        freshness.renew(Instant::now(), Duration::ZERO);
        assert!(!freshness.is_current());
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }
}
