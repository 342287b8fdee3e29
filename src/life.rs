//! Whether something that was granted is still in force: asked with one atomic load, waited for by open streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// The life of a grant or of a connection. It ends once and never begins again: what is granted anew has a new life.
#[derive(Debug, Default)]
pub struct Life {
    ended: AtomicBool,
    end: Notify,
}

impl Life {
    /// A life that is over already.
    pub fn over() -> Arc<Self> {
        Arc::new(Self { ended: AtomicBool::new(true), end: Notify::new() })
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

    /// Ends it; everybody who waits is woken.
    pub fn finish(&self) {
        self.ended.store(true, Ordering::Release);
        self.end.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
