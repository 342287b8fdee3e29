//! What others do to be counted: one push into a bounded queue for what happened, and nothing else. Requests come many at a time from the
//! audit log, which has them all.

use super::tally::{Sum, Tallied, sums_of};
use crate::clock::Timestamp;
use crate::ids::{ConnectionId, UserId};
use crate::telemetry::Fate;
use crate::tokens::AccessToken;
use crate::upstream::Upstream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How many may wait to be counted. Beyond that they are not.
const ENTRIES: usize = 16_384;

/// Takes what happened. Cloning shares the queue; the default one counts nothing.
#[derive(Clone, Default)]
pub struct Recorder(Option<Queues>);

#[derive(Clone)]
struct Queues {
    entries: mpsc::Sender<Entry>,
    flushes: mpsc::Sender<oneshot::Sender<()>>,
    lost: Arc<AtomicU64>,
    /// Whoever has requests that are not pushed yet, and pushes them when asked.
    feeder: Arc<OnceLock<mpsc::WeakSender<oneshot::Sender<()>>>>,
}

/// The other end.
pub(super) struct Waiting {
    pub(super) entries: mpsc::Receiver<Entry>,
    /// To be answered when everything before it is in the database, or has failed to get there.
    pub(super) flushes: mpsc::Receiver<oneshot::Sender<()>>,
    /// What found the queue full.
    pub(super) lost: Arc<AtomicU64>,
}

/// Something that happened.
pub(super) enum Entry {
    Ended(EndedRequest),
    Summed(Vec<Sum>),
    Refreshed {
        at: Timestamp,
        user: UserId,
        upstream: String,
    },
    /// It is open as long as somebody else has the mark.
    Opened {
        party: Party,
        mark: Arc<()>,
    },
    Used {
        at: Timestamp,
        connection: ConnectionId,
    },
}

/// Whose it is, where it goes, by which client and tool.
#[derive(Clone)]
pub struct Party {
    /// Whose, by which client.
    pub token: Arc<AccessToken>,
    /// Where; `None` where it is all upstreams at once.
    pub upstream: Option<Arc<Upstream>>,
    /// The tool that was called.
    pub tool: Option<Arc<str>>,
}

/// A request to an upstream that is over.
pub struct EndedRequest {
    /// When it ended.
    pub at: Timestamp,
    /// Whose, where, by what.
    pub party: Party,
    /// What became of it.
    pub fate: Fate,
    /// The status of the answer, if one was begun.
    pub status: Option<u16>,
    /// How long it took; `None` for what lasts as long as somebody listens.
    pub took: Option<Duration>,
}

/// Keeps a stream counted for as long as it lives.
#[must_use]
pub struct OpenStream {
    _mark: Option<Arc<()>>,
}

impl Recorder {
    /// A queue and its end.
    pub(super) fn new() -> (Self, Waiting) {
        let (entries, waiting) = mpsc::channel(ENTRIES);
        let (flushes, asked) = mpsc::channel(16);
        let lost = Arc::<AtomicU64>::default();
        let queues = Queues { entries, flushes, lost: lost.clone(), feeder: Arc::default() };
        (Self(Some(queues)), Waiting { entries: waiting, flushes: asked, lost })
    }

    /// Counts a request that is over. Waits for nothing.
    pub fn ended(&self, request: EndedRequest) {
        self.push(|| Entry::Ended(request));
    }

    /// Counts requests that are over, many at a time.
    pub(crate) fn tallied<'a>(&self, requests: impl Iterator<Item = Tallied<'a>>) {
        let Some(queues) = &self.0 else { return };
        let sums = sums_of(requests);
        let requests = sums.iter().map(|sum| sum.counts.requests).sum();
        if queues.entries.try_send(Entry::Summed(sums)).is_err() {
            self.missed(requests);
        }
    }

    /// Counts requests that are not counted.
    pub(crate) fn missed(&self, requests: u64) {
        if let Some(queues) = &self.0 {
            queues.lost.fetch_add(requests, Ordering::Relaxed);
        }
    }

    /// From now on whoever waits until everything is written waits for the answer to this as well. The first one stays.
    pub(crate) fn fed_by(&self, feeder: mpsc::WeakSender<oneshot::Sender<()>>) {
        if let Some(queues) = &self.0 {
            let _ = queues.feeder.set(feeder);
        }
    }

    /// Counts a refresh of an upstream's tokens.
    pub fn refreshed(&self, at: Timestamp, user: UserId, upstream: &str) {
        self.push(|| Entry::Refreshed { at, user, upstream: upstream.to_owned() });
    }

    /// Remembers that a connection was used.
    pub fn used(&self, at: Timestamp, connection: ConnectionId) {
        self.push(|| Entry::Used { at, connection });
    }

    /// Counts a stream until what comes back is dropped: an end that found the queue full would be open for ever.
    pub fn opened(&self, token: &Arc<AccessToken>, upstream: Option<&Arc<Upstream>>) -> OpenStream {
        if self.0.is_none() {
            return OpenStream::uncounted();
        }
        let mark = Arc::new(());
        let party = Party { token: token.clone(), upstream: upstream.cloned(), tool: None };
        self.push(|| Entry::Opened { party, mark: mark.clone() });
        OpenStream { _mark: Some(mark) }
    }

    /// Waits until everything so far is in the database, or has failed to get there.
    pub(super) async fn flush(&self) {
        let Some(queues) = &self.0 else { return };
        if let Some(feeder) = queues.feeder.get().and_then(mpsc::WeakSender::upgrade) {
            let (done, fed) = oneshot::channel();
            if feeder.send(done).await.is_ok() {
                let _ = fed.await;
            }
        }
        let (done, written) = oneshot::channel();
        if queues.flushes.send(done).await.is_ok() {
            // Fails only when the counter is gone, and then there is nothing to wait for.
            let _ = written.await;
        }
    }

    fn push(&self, entry: impl FnOnce() -> Entry) {
        if let Some(queues) = &self.0
            && queues.entries.try_send(entry()).is_err()
        {
            queues.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl OpenStream {
    /// Where nobody counts.
    pub(crate) fn uncounted() -> Self {
        Self { _mark: None }
    }
}

impl Party {
    /// Whose, where, by which client, by which tool; empty where there is none.
    pub(super) fn names(&self) -> [&str; 4] {
        let upstream = self.upstream.as_ref().map_or("", |upstream| upstream.authority.as_str());
        [&self.token.username, upstream, &self.token.client_id, self.tool.as_deref().unwrap_or_default()]
    }
}

impl PartialEq for Party {
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}

impl Eq for Party {}

impl std::hash::Hash for Party {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.names().hash(state);
    }
}
