//! The task that takes the requests that are over, a few times a second: they are counted, and go on to the writer if they are
//! wanted. It waits for no database, so it always has room.

use super::waiting::{Ended, Waiting};
use super::{Losses, UpstreamRequest};
use crate::activity::Recorder;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// How long a request waits for others, so that a transaction is worth its disk write.
pub(super) const COMPANY: Duration = Duration::from_millis(250);
/// How much may wait for the database, in bytes: some 200,000 requests.
pub(super) const BACKLOG: usize = 32 << 20;

/// Requests on their way to the writer.
pub(super) struct Batch {
    pub(super) requests: Vec<UpstreamRequest>,
    size: usize,
    backlog: Arc<AtomicUsize>,
}

/// Takes requests until nobody can record any.
pub(super) struct Collector {
    waiting: Arc<Waiting>,
    activity: Arc<OnceLock<Recorder>>,
    losses: Arc<Losses>,
    batches: mpsc::UnboundedSender<Batch>,
    backlog: Arc<AtomicUsize>,
    taken: Vec<Ended>,
    spare: Vec<Ended>,
}

impl Collector {
    /// And where its batches come out.
    pub(super) fn new(
        waiting: Arc<Waiting>,
        activity: Arc<OnceLock<Recorder>>,
        losses: Arc<Losses>,
    ) -> (Self, mpsc::UnboundedReceiver<Batch>) {
        let (batches, written) = mpsc::unbounded_channel();
        let backlog = Arc::default();
        (Self { waiting, activity, losses, batches, backlog, taken: Vec::new(), spare: Vec::new() }, written)
    }

    /// `asked`: to be answered when everything so far is on its way.
    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<oneshot::Sender<()>>) {
        let mut company = None;
        loop {
            let pause = async move {
                match company {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let done = tokio::select! { biased;
                asked = asked.recv() => match asked {
                    Some(done) => Some(done),
                    None => break,
                },
                () = self.waiting.news() => {
                    if company.is_none() {
                        company = Some(Instant::now() + COMPANY);
                        continue;
                    }
                    // A part is half full.
                    None
                }
                () = pause => None,
            };
            company = None;
            self.collect();
            if let Some(done) = done {
                // Whoever asked may have given up.
                let _ = done.send(());
            }
        }
        self.collect();
    }

    fn collect(&mut self) {
        self.waiting.take(&mut self.taken, &mut self.spare);
        if self.taken.is_empty() {
            return;
        }
        if let Some(activity) = self.activity.get() {
            activity.tallied(self.taken.iter().map(|ended| ended.request.tallied()));
        }
        let room = BACKLOG.saturating_sub(self.backlog.load(Ordering::Relaxed));
        let (mut size, mut lost) = (0, 0);
        let mut requests = Vec::with_capacity(self.taken.len());
        for Ended { request, .. } in self.taken.drain(..).filter(|ended| ended.is_wanted) {
            // Those that are missing are missing together.
            if lost > 0 || size + request.size() > room {
                lost += 1;
                continue;
            }
            size += request.size();
            requests.push(request);
        }
        self.losses.add(lost);
        if !requests.is_empty() {
            self.backlog.fetch_add(size, Ordering::Relaxed);
            // Fails only when the writer is gone, with the runtime.
            let _ = self.batches.send(Batch { requests, size, backlog: self.backlog.clone() });
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.backlog.fetch_sub(self.size, Ordering::Relaxed);
    }
}
