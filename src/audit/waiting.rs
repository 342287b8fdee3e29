//! Requests that are over, until somebody takes them: a push is one clock, one lock that nobody else wants, and a move. It wakes nobody
//! but the first one after a pause does.

use super::UpstreamRequest;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// How many may wait in one part.
pub(super) const ROOM: usize = 16_384;
/// At most so many parts, each used by some of the threads.
const PARTS: usize = 16;
/// A part that was so long once and is not any more gives its memory back.
const SMALL: usize = 512;

/// A request that is over.
pub(super) struct Ended {
    /// When, in nanoseconds since the Unix epoch: how those of several threads are put in order.
    pub(super) nanos: u64,
    /// Whether it becomes a line of the audit log.
    pub(super) is_wanted: bool,
    pub(super) request: UpstreamRequest,
}

/// Those who wait, in parts.
pub(super) struct Waiting {
    parts: Box<[Part]>,
    /// Whether it is known that somebody waits.
    is_known: AtomicBool,
    news: Notify,
}

/// In cache lines of its own, and of the one that is fetched beside it.
#[repr(align(128))]
#[derive(Default)]
struct Part(Mutex<Vec<Ended>>);

impl Waiting {
    /// As many parts as there are cores.
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let parts = cores.next_power_of_two().min(PARTS);
        let parts = std::iter::repeat_with(Part::default).take(parts).collect();
        Self { parts, is_known: AtomicBool::new(false), news: Notify::new() }
    }

    /// False when there is no room.
    pub(super) fn push(&self, ended: Ended) -> bool {
        let part = &self.parts[number_of_thread() & (self.parts.len() - 1)];
        let mut waiting = part.0.lock();
        if waiting.len() >= ROOM {
            return false;
        }
        waiting.push(ended);
        let is_half_full = waiting.len() == ROOM / 2;
        drop(waiting);
        // Whoever takes them says first that it knows of none: so either it finds this one, or this one finds that.
        if is_half_full || (!self.is_known.load(Ordering::Relaxed) && !self.is_known.swap(true, Ordering::Relaxed)) {
            self.news.notify_one();
        }
        true
    }

    /// Until there is one; from then on, until a part is half full.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// All, in the order in which they ended. `spare` is memory from the last time.
    pub(super) fn take(&self, taken: &mut Vec<Ended>, spare: &mut Vec<Ended>) {
        self.is_known.store(false, Ordering::Relaxed);
        for part in &self.parts {
            std::mem::swap(&mut *part.0.lock(), spare);
            let is_large = spare.capacity() > SMALL && spare.len() < spare.capacity() / 16;
            taken.append(spare);
            if is_large {
                *spare = Vec::new();
            }
        }
        // Each part is in order already, which this notices.
        taken.sort_by_key(|ended| ended.nanos);
    }
}

/// Threads are counted as they come.
fn number_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    OWN.try_with(|own| *own).unwrap_or(0)
}
