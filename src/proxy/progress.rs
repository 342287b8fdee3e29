//! What the transport of a connection and the gate tell each other: how much a head may be, and that a request came.

use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::raw_connect::ProxyDigest;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What may be read before the end of a head, in bytes: Pingora itself would collect a megabyte. Some more than
/// `route::MAX_HEAD`, for TLS.
const HEAD_BUDGET: usize = 66 * 1024;
const UNLIMITED: usize = usize::MAX;

/// Shared by the transport of one connection, whoever accepted it, and the gate.
#[derive(Clone, Default)]
pub struct Progress(Arc<Shared>);

struct Shared {
    budget: AtomicUsize,
    request: Notify,
}

impl Default for Shared {
    fn default() -> Self {
        Self { budget: AtomicUsize::new(UNLIMITED), request: Notify::new() }
    }
}

impl Progress {
    /// How it reaches the gate: the one place in which Pingora carries data of ours with a plain connection as well as
    /// with TLS.
    ///
    /// # Errors
    /// Never: the response is a constant.
    pub fn carried(&self) -> pingora::Result<ProxyDigest> {
        Ok(ProxyDigest::new(Box::new(ResponseHeader::build_no_case(200, Some(0))?), Some(Box::new(self.clone()))))
    }

    /// How many bytes may be read now; 0: the head is too large.
    pub fn may_read(&self) -> usize {
        self.0.budget.load(Ordering::Relaxed)
    }

    /// Bytes were read.
    pub fn has_read(&self, bytes: usize) {
        // One task reads a connection at a time, so nothing is lost between the two operations.
        let budget = self.0.budget.load(Ordering::Relaxed);
        if budget != UNLIMITED {
            self.0.budget.store(budget.saturating_sub(bytes), Ordering::Relaxed);
        }
    }

    /// Waits for a head that `read` reads: `patience` until it begins, and from then on no longer than `whole`. `None` when
    /// it does not come in time.
    pub(super) async fn head_in_time<T>(
        &self,
        read: impl Future<Output = T>,
        patience: Duration,
        whole: Duration,
    ) -> Option<T> {
        let (began, deadline) = (Instant::now(), tokio::time::sleep(patience));
        tokio::pin!(read, deadline);
        let mut in_the_middle = false;
        poll_fn(|context| {
            if let Poll::Ready(read) = read.as_mut().poll(context) {
                return Poll::Ready(Some(read));
            }
            // The reader was woken by the first bytes, and they were not all.
            if !in_the_middle && self.may_read() < HEAD_BUDGET {
                in_the_middle = true;
                let at = (Instant::now() + whole).min(began + patience);
                deadline.as_mut().reset(at);
            }
            deadline.as_mut().poll(context).map(|()| None)
        })
        .await
    }

    /// Waits for the first request. Only one task may wait.
    pub async fn first_request(&self) {
        self.0.request.notified().await;
    }

    /// That of a session.
    pub(super) fn of(session: &ServerSession) -> Option<Self> {
        session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref().cloned()
    }

    /// From now on a head is read.
    pub(super) fn expects_head(&self) {
        self.0.budget.store(HEAD_BUDGET, Ordering::Relaxed);
    }

    /// A head is there.
    pub(super) fn has_head(&self) {
        self.0.budget.store(UNLIMITED, Ordering::Relaxed);
    }

    /// A request came over HTTP/2.
    pub(super) fn has_request(&self) {
        self.0.request.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_a_budget_and_a_body_has_not() {
        let progress = Progress::default();
        progress.has_read(1 << 30);
        progress.expects_head();
        progress.has_read(HEAD_BUDGET - 1);
        assert_eq!(progress.may_read(), 1);
        progress.has_read(1);
        assert_eq!(progress.may_read(), 0);
        progress.has_head();
        progress.has_read(1 << 30);
        assert_eq!(progress.may_read(), UNLIMITED);
    }
}
