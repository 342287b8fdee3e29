//! Sheds load before memory is gone. The kernel ends a process that takes more than it may, and with it every stream that it carries;
//! so connections are refused when it comes near to that, and requests when it comes nearer. What is under way goes on.

mod limit;
#[cfg(test)]
mod tests;

use crate::telemetry::{self, Metrics};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often memory is looked at, whatever happens.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// It is also looked at when this share of the limit was taken by those who say so.
const LOOK_AT: u64 = 128;

/// The share of the limit, in percent, from which on connections are refused.
const NO_CONNECTIONS: u64 = 75;

/// The share from which on requests over open connections are refused, too.
const NO_REQUESTS: u64 = 85;

/// By how much the share has to fall below where something began to be refused before it is not any more, in percent.
const RELIEF: u64 = 5;

/// How near this process is to the memory that it may take.
pub struct Overload {
    /// In bytes.
    limit: AtomicU64,
    /// A [`Level`].
    level: AtomicU8,
    /// `None` where the kernel does not say how much it is.
    usage: Option<Usage>,
    /// What was taken since somebody looked, in bytes.
    taken: AtomicU64,
    metrics: Arc<Metrics>,
}

/// What is refused; each takes in the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Nothing,
    Connections,
    Requests,
}

impl Level {
    /// By how many percent of the limit are taken.
    fn of(share: u64) -> Self {
        match share {
            NO_REQUESTS.. => Level::Requests,
            NO_CONNECTIONS.. => Level::Connections,
            _ => Level::Nothing,
        }
    }
}

impl Overload {
    /// For a process that may take `most` bytes, or as many as the machine and its control groups allow, whatever is less.
    pub fn new(most: Option<u64>, metrics: Arc<Metrics>) -> Self {
        let usage = Usage::of_this_process();
        if let Err(error) = &usage {
            tracing::warn!(%error, "memory cannot be looked at: no load is shed for its sake");
        }
        let (limit, level, taken) = (AtomicU64::default(), AtomicU8::new(Level::Nothing as u8), AtomicU64::default());
        let new = Self { limit, level, usage: usage.ok(), taken, metrics };
        new.allow(most);
        new
    }

    /// Another limit from now on, as for [`Overload::new`].
    pub fn allow(&self, most: Option<u64>) {
        let limit = limit::of_this_process().min(most.unwrap_or(u64::MAX));
        self.limit.store(limit, Ordering::Relaxed);
        self.metrics.memory_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// Whether there may be a connection more, which takes about this many bytes.
    pub fn has_room_for_connection(&self, bytes: u64) -> bool {
        self.note(bytes);
        !self.is_at(Level::Connections)
    }

    /// Whether a request may take this many bytes more.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.note(bytes as u64);
        self.has_room()
    }

    /// Whether a request may begin. Costs nothing.
    pub fn has_room(&self) -> bool {
        !self.is_at(Level::Requests)
    }

    /// Callers who come all at once are faster than a clock.
    fn note(&self, bytes: u64) {
        let taken = self.taken.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if taken > self.limit.load(Ordering::Relaxed) / LOOK_AT {
            self.look();
        }
    }

    fn is_at(&self, level: Level) -> bool {
        self.level.load(Ordering::Relaxed) >= level as u8
    }

    /// Looks at the memory of this process for as long as it runs.
    pub async fn watch(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
        }
    }

    fn look(&self) {
        self.taken.store(0, Ordering::Relaxed);
        if let Some(used) = self.usage.as_ref().and_then(Usage::bytes) {
            self.judge(used);
        }
    }

    fn judge(&self, used: u64) {
        let limit = self.limit.load(Ordering::Relaxed);
        let share = used.saturating_mul(100) / limit.max(1);
        let (at_least, at_most) = (Level::of(share), Level::of(share.saturating_add(RELIEF)));
        let level = if self.is_at(at_most) { at_most } else { at_least };
        if self.level.swap(level as u8, Ordering::Relaxed) == level as u8 {
            return;
        }
        let (used, limit) = (format!("{} MiB", used >> 20), format!("{} MiB", limit >> 20));
        match level {
            Level::Nothing => tracing::info!(used, limit, "there is memory again: nothing is refused"),
            Level::Connections => tracing::warn!(used, limit, "memory runs out: connections are refused"),
            Level::Requests => tracing::warn!(used, limit, "memory is nearly gone: requests are refused"),
        }
    }
}

/// The memory that this process takes, and that the kernel cannot take back without ending it: its anonymous pages.
struct Usage {
    /// [`telemetry::STATUS`], open all the time, because when memory runs out there may be no descriptors either.
    status: File,
}

impl Usage {
    fn of_this_process() -> io::Result<Self> {
        Ok(Self { status: File::open(telemetry::STATUS)? })
    }

    /// In bytes (`RssAnon`, proc_pid_status(5)); `None` when the kernel does not say.
    fn bytes(&self) -> Option<u64> {
        let mut text = [0; 8192];
        let length = self.status.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(text.get(..length)?).ok()?;
        telemetry::memory_in(text, "RssAnon")
    }
}
