//! Whether something that was granted is still in force: asked with one atomic load, waited for by open streams.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// The life of a grant or of a connection. It ends once and never begins again: what is granted anew has a new life.
#[derive(Debug, Default)]
pub struct Life {
    ended: AtomicBool,
    end: Notify,
    /// How many answers depend on it.
    answers: AtomicUsize,
}

impl Life {
    /// A life that is over already.
    pub fn over() -> Arc<Self> {
        Arc::new(Self { ended: AtomicBool::new(true), ..Self::default() })
    }

    /// Whether it is over.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits for its end. Takes a lock when it is polled for the first time and when it is dropped.
    pub async fn ended(&self) {
        let end = self.end.notified();
        tokio::pin!(end);
        // Registered before the flag is read, so that an end in between is not missed.
        end.as_mut().enable();
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
        self.answers.load(Ordering::Relaxed)
    }

    /// Ends it; everybody who waits is woken.
    pub fn finish(&self) {
        self.ended.store(true, Ordering::Release);
        self.end.notify_waiters();
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
}
