//! Whether something that was granted is still in force: asked with one atomic load, waited for by open streams.

use arc_swap::ArcSwapOption;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use tokio::sync::Notify;

/// The life of a grant or of a connection. It ends once and never begins again: what is granted anew has a new life. There is
/// one for every grant that has a token in memory, so it is small: 48 bytes on the heap.
#[derive(Debug, Default)]
pub struct Life {
    /// Whose it is, by the bytes of its id; zero where nobody asks.
    of: [u8; 16],
    /// Wakes those who wait, once somebody does.
    end: ArcSwapOption<Notify>,
    /// How many answers depend on it.
    answers: AtomicU32,
    ended: AtomicBool,
}

impl Life {
    /// The life of what has this id.
    pub fn of(id: [u8; 16]) -> Self {
        Self { of: id, ..Self::default() }
    }

    /// A life that is over already, of what has this id.
    pub fn over_of(id: [u8; 16]) -> Arc<Self> {
        Arc::new(Self { ended: AtomicBool::new(true), ..Self::of(id) })
    }

    /// A life that is over already.
    pub fn over() -> Arc<Self> {
        Self::over_of([0; 16])
    }

    /// The id of what lives.
    pub fn id(&self) -> [u8; 16] {
        self.of
    }

    /// Whether it is over.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits for its end. Takes a lock when it is polled for the first time and when it is dropped.
    pub async fn ended(&self) {
        let notify = self.notify();
        let end = notify.notified();
        tokio::pin!(end);
        // Registered before the flag is read, so that an end in between is not missed.
        end.as_mut().enable();
        fence(Ordering::SeqCst);
        if !self.has_ended() {
            end.await;
        }
    }

    /// Counts an answer that depends on it, until that is over.
    pub fn answering(self: &Arc<Self>) -> Answering {
        self.answers.fetch_add(1, Ordering::Relaxed);
        Answering(self.clone())
    }

    /// How many answers depend on it now: those that its end would break off.
    pub fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed) as usize
    }

    /// Ends it; everybody who waits is woken.
    pub fn finish(&self) {
        self.ended.store(true, Ordering::Release);
        // Either this sees what wakes a waiter, or the waiter sees the flag: with a fence on both sides, both may not miss.
        fence(Ordering::SeqCst);
        if let Some(end) = &*self.end.load() {
            end.notify_waiters();
        }
    }

    /// What wakes those who wait: made by the first one.
    fn notify(&self) -> Arc<Notify> {
        if let Some(notify) = self.end.load_full() {
            return notify;
        }
        let new = Arc::new(Notify::new());
        let before = self.end.compare_and_swap(&None::<Arc<Notify>>, Some(new.clone()));
        before.as_ref().cloned().unwrap_or(new)
    }
}

/// A life, as long as an answer depends on it.
pub struct Answering(Arc<Life>);

impl Deref for Answering {
    type Target = Life;

    fn deref(&self) -> &Life {
        &self.0
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_count_until_they_are_over() {
        let life = Arc::new(Life::default());
        let (first, second) = (life.answering(), life.answering());
        assert_eq!(life.answers(), 2);
        drop(first);
        life.finish();
        assert_eq!(life.answers(), 1, "an answer takes a moment to notice");
        assert!(second.has_ended());
        drop(second);
        assert_eq!(life.answers(), 0);
    }

    #[tokio::test]
    async fn an_end_reaches_holders_waiters_and_latecomers() {
        let life = Arc::new(Life::default());
        let waiter = tokio::spawn({
            let life = life.clone();
            async move { life.ended().await }
        });
        tokio::task::yield_now().await;
        assert!(!life.has_ended());
        life.finish();
        waiter.await.unwrap();
        assert!(life.has_ended());
        life.ended().await;
        Life::over().ended().await;
    }

    /// What orderings allow is not what a test can list, so it is tried: the end at any moment between the first look of a
    /// waiter and its sleep, from another thread.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn however_waiters_race_with_the_end_all_of_them_are_woken() {
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
        for round in 0..20_000_u32 {
            let life = Arc::new(Life::default());
            let waiters: Vec<_> = (0..3)
                .map(|_| {
                    let life = life.clone();
                    tokio::spawn(async move { life.ended().await })
                })
                .collect();
            let ending = life.clone();
            let end = tokio::spawn(async move {
                (0..round % 64).for_each(|_| std::hint::spin_loop());
                ending.finish();
            });
            for waiter in waiters {
                tokio::time::timeout(PATIENCE, waiter).await.expect("a waiter sleeps on").unwrap();
            }
            end.await.unwrap();
        }
    }
}
