//! Proofs are used up in batches: those that come while one is being written are the next one. So however many come, the
//! database has one commit of theirs to do at a time, and everything else gets its turn between them.

use crate::clock::Timestamp;
use crate::error::Fault;
use crate::ids::Digest;
use crate::store::Store;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The proofs that wait to be written.
pub(super) struct Claims(Arc<Queue>);

struct Queue {
    store: Store,
    waiting: Mutex<Vec<Claim>>,
    turn: tokio::sync::Mutex<()>,
}

struct Claim {
    proof: Digest,
    expires_at: Timestamp,
    answer: oneshot::Sender<Result<bool, Fault>>,
}

impl Claims {
    pub(super) fn new(store: Store) -> Self {
        Self(Arc::new(Queue { store, waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }))
    }

    /// Whether this is the first use of a proof, here or anywhere. It is remembered until `expires_at`.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn claim(&self, proof: Digest, expires_at: Timestamp) -> Result<bool, Fault> {
        let (answer, answered) = oneshot::channel();
        self.0.waiting.lock().push(Claim { proof, expires_at, answer });
        // In a task of its own: a caller that hangs up takes nobody's claim along.
        let queue = self.0.clone();
        tokio::spawn(async move { queue.write().await });
        answered.await.unwrap_or_else(|_| Err(Fault::gateway("a proof of possession was not written")))
    }
}

impl Queue {
    async fn write(&self) {
        let _alone = self.turn.lock().await;
        let batch = std::mem::take(&mut *self.waiting.lock());
        if batch.is_empty() {
            // Somebody else's turn had it.
            return;
        }
        let proofs: Vec<_> = batch.iter().map(|claim| (claim.proof, claim.expires_at)).collect();
        let written = self.store.use_each_once(&proofs).await;
        for (position, claim) in batch.into_iter().enumerate() {
            let answer = match &written {
                Ok(first) => Ok(first.get(position).copied().unwrap_or(false)),
                Err(error) => Err(Fault::gateway(error)),
            };
            // Whoever does not wait any more needs no answer.
            let _ = claim.answer.send(answer);
        }
    }
}
