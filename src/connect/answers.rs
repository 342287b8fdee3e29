//! Answers of token endpoints that are not in the database yet, and the way there. Each is tried until the database has
//! taken it or has something newer, as long as the process lives; meanwhile requests are served from it.

use super::flights::Outcome;
use super::inject::bearer;
use super::sealed::Tokens;
use super::{ConnectionKey, Connections};
use crate::checkpoints::Step;
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::ids::ConnectionId;
use crate::store::{Renewed, Swapped};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use zeroize::Zeroizing;

/// The pauses between two attempts to store an answer grow from the first to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = if cfg!(test) { Duration::from_millis(100) } else { Duration::from_secs(5) };

/// What a token endpoint gave for the tokens of one version of a connection.
pub(super) struct Answer {
    pub(super) connection: ConnectionId,
    pub(super) key: ConnectionKey,
    /// The version that these tokens replace.
    pub(super) version: i64,
    /// Under which fence the answer was received.
    pub(super) fence: i64,
    pub(super) tokens: Tokens,
    pub(super) scope: String,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) received_at: Timestamp,
    /// Whether it is on the disk.
    pub(super) spooled: AtomicBool,
}

/// What became of storing an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storing {
    UnderWay,
    Stored,
    /// Something newer is there.
    Superseded,
}

/// All that this process knows of, by name.
#[derive(Default)]
pub(super) struct Answers {
    waiting: Mutex<HashMap<String, Arc<Answer>>>,
    /// Asked before the lock is taken: nearly always there are none.
    number: AtomicUsize,
    changed: Notify,
}

impl Answers {
    pub(super) fn has(&self, name: &str) -> bool {
        self.waiting.lock().contains_key(name)
    }

    /// The newest answer for these tokens of a connection.
    pub(super) fn of(&self, id: ConnectionId, version: i64) -> Option<Arc<Answer>> {
        self.find(|answer| answer.connection == id && answer.version == version)
    }

    /// The newest answer for a connection, for when the database does not say which tokens it has.
    pub(super) fn of_key(&self, key: &ConnectionKey) -> Option<Arc<Answer>> {
        self.find(|answer| answer.key == *key)
    }

    fn find(&self, wanted: impl Fn(&Answer) -> bool) -> Option<Arc<Answer>> {
        if self.number.load(Ordering::Acquire) == 0 {
            return None;
        }
        let waiting = self.waiting.lock();
        waiting.values().filter(|answer| wanted(answer)).max_by_key(|answer| (answer.version, answer.fence)).cloned()
    }

    /// Resolves when nothing waits any more that this process must not end with. What is on the disk can wait for the next
    /// process, but gets this chance.
    pub(super) async fn settled(&self, chance: Duration) {
        let all = self.none_left(|_| true);
        if tokio::time::timeout(chance, all).await.is_err() {
            self.none_left(|answer| !answer.spooled.load(Ordering::Acquire)).await;
        }
    }

    async fn none_left(&self, concerns: impl Fn(&Answer) -> bool) {
        loop {
            let changed = self.changed.notified();
            if !self.waiting.lock().values().any(|answer| concerns(answer)) {
                return;
            }
            changed.await;
        }
    }

    /// `false` when it is known already.
    fn insert(&self, answer: &Arc<Answer>) -> bool {
        let mut waiting = self.waiting.lock();
        let is_new = waiting.insert(answer.name(), answer.clone()).is_none();
        self.number.store(waiting.len(), Ordering::Release);
        is_new
    }

    fn remove(&self, name: &str) {
        let mut waiting = self.waiting.lock();
        waiting.remove(name);
        self.number.store(waiting.len(), Ordering::Release);
        drop(waiting);
        self.changed.notify_waiters();
    }
}

impl Answer {
    /// No two answers have the same: a fence is given out once.
    pub(super) fn name(&self) -> String {
        format!("{}-{}-{}", self.connection, self.version, self.fence)
    }

    pub(super) fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let document = Document {
            connection: self.connection.to_string(),
            version: self.version,
            fence: self.fence,
            user: self.key.user.to_string(),
            target: self.key.target.to_string(),
            account: self.key.account_text().to_owned(),
            tokens: self.tokens.clone(),
            scope: self.scope.clone(),
            expires_at: self.expires_at.map(Timestamp::seconds),
            received_at: self.received_at.seconds(),
        };
        serde_json::to_vec(&document).map(Zeroizing::new).map_err(Fault::gateway)
    }

    pub(super) fn from_json(json: &[u8]) -> Option<Self> {
        let document: Document = serde_json::from_slice(json).ok()?;
        Some(Self {
            connection: document.connection.parse().ok()?,
            key: ConnectionKey::parse(document.user.parse().ok()?, &document.target, &document.account)?,
            version: document.version,
            fence: document.fence,
            tokens: document.tokens,
            scope: document.scope,
            expires_at: document.expires_at.map(Timestamp),
            received_at: Timestamp(document.received_at),
            spooled: AtomicBool::new(true),
        })
    }
}

/// An [`Answer`] in its file.
#[derive(Serialize, Deserialize)]
struct Document {
    connection: String,
    version: i64,
    fence: i64,
    user: String,
    target: String,
    account: String,
    tokens: Tokens,
    scope: String,
    expires_at: Option<i64>,
    received_at: i64,
}

impl Connections {
    /// From here on an answer is not lost as long as the process lives: it is known, then on the disk, then on its way
    /// to the database.
    pub(super) async fn take_in(self: &Arc<Self>, answer: Arc<Answer>) -> watch::Receiver<Storing> {
        self.answers.insert(&answer);
        match self.write_to_spool(&answer).await {
            Ok(()) => answer.spooled.store(true, Ordering::Release),
            Err(fault) => tracing::error!(
                connection = %answer.connection,
                %fault,
                "an answer cannot be written to the spool: until the database has it, it is in memory only; make room for \
                 store.spool"
            ),
        }
        self.checkpoints.reached(Step::Spooled).await;
        self.store_in_time(answer)
    }

    /// Takes over an answer that is on the disk.
    pub(super) fn take_over(self: &Arc<Self>, answer: Answer) {
        let answer = Arc::new(answer);
        if self.answers.insert(&answer) {
            self.store_in_time(answer);
        }
    }

    async fn write_to_spool(&self, answer: &Answer) -> Result<(), Fault> {
        let (name, sealed) = (answer.name(), self.seal_answer(answer)?);
        let spool = self.spool.clone();
        let written = blocking(move || spool.write(&name, &sealed)).await?;
        self.checkpoints.reached(Step::Written).await;
        match written {
            Some(written) => blocking(move || written.sync()).await,
            None => Ok(()),
        }
    }

    /// In a task of its own.
    fn store_in_time(self: &Arc<Self>, answer: Arc<Answer>) -> watch::Receiver<Storing> {
        let (tell, told) = watch::channel(Storing::UnderWay);
        let this = self.clone();
        tokio::spawn(async move {
            let stored = this.store_until_taken(&answer).await;
            this.checkpoints.reached(Step::Swapped).await;
            if stored == Storing::Stored {
                this.refreshes.recovered(answer.connection);
            }
            this.forget(answer.connection);
            tell.send_replace(stored);
            let (spool, name) = (this.spool.clone(), answer.name());
            let removed = name.clone();
            let _ = tokio::task::spawn_blocking(move || spool.remove(&removed)).await;
            this.checkpoints.reached(Step::Deleted).await;
            this.answers.remove(&name);
        });
        told
    }

    async fn store_until_taken(&self, answer: &Answer) -> Storing {
        let (mut pause, mut complained) = (FIRST_PAUSE, false);
        loop {
            match self.store_answer(answer).await {
                Ok(Swapped::Yes) => {
                    if complained {
                        tracing::info!(connection = %answer.connection, "renewed tokens are stored at last");
                    }
                    return Storing::Stored;
                }
                Ok(Swapped::Superseded) => return Storing::Superseded,
                Ok(Swapped::Busy) => self.checkpoints.reached(Step::Waiting).await,
                Err(fault) => complain(answer, &fault, std::mem::replace(&mut complained, true)),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn store_answer(&self, answer: &Answer) -> Result<Swapped, Fault> {
        let sealed = self.seal_tokens(&answer.key, &answer.tokens)?;
        let renewed =
            Renewed { sealed: &sealed, scope: &answer.scope, expires_at: answer.expires_at, at: answer.received_at };
        let now = self.store.now().await?;
        let replaces = (answer.connection, answer.version, answer.fence);
        Ok(self.store.finish_refresh(replaces, &renewed, now).await?)
    }

    /// Serves a request from an answer, whether or not the database has it; `None` when its access token has expired.
    pub(super) fn serve(&self, answer: &Answer, epoch: u64) -> Option<Outcome> {
        if answer.expires_at.is_some_and(|end| end <= self.clock.now()) {
            return None;
        }
        let identity = (answer.connection, answer.version + 1, answer.expires_at);
        let header = bearer(&answer.tokens.access_token);
        Some(header.map(|header| self.inject(&answer.key, identity, Some(header), epoch)).map_err(Into::into))
    }
}

/// Loudly only once.
fn complain(answer: &Answer, fault: &Fault, again: bool) {
    if again {
        return tracing::debug!(connection = %answer.connection, %fault, "not stored yet");
    }
    let on_disk = answer.spooled.load(Ordering::Acquire);
    let text = "renewed tokens cannot be stored in the database yet: trying again";
    tracing::error!(connection = %answer.connection, on_disk, %fault, "{text}");
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Fault::gateway),
        Err(error) => Err(Fault::task(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostname::Authority;
    use crate::ids::UserId;

    fn answer(number: u8, version: i64, fence: i64) -> Arc<Answer> {
        let authority = Authority::parse("mcp.example").unwrap();
        Arc::new(Answer {
            connection: ConnectionId([number; 16]),
            key: ConnectionKey::upstream(UserId([number; 16]), authority, None),
            version,
            fence,
            tokens: Tokens::default(),
            scope: String::new(),
            expires_at: None,
            received_at: Timestamp(0),
            spooled: AtomicBool::new(false),
        })
    }

    #[test]
    fn of_several_answers_the_newest_for_just_these_tokens_is_found() {
        let answers = Answers::default();
        let all = [answer(1, 1, 1), answer(1, 1, 2), answer(1, 2, 3), answer(2, 1, 9)];
        let fence_of = |number: u8, version| answers.of(ConnectionId([number; 16]), version).map(|found| found.fence);
        assert_eq!(fence_of(1, 1), None);
        for answer in &all {
            assert!(!answers.has(&answer.name()) && answers.insert(answer) && answers.has(&answer.name()));
        }
        assert!(!answers.insert(&all[0]), "it is known already");
        assert_eq!([fence_of(1, 1), fence_of(1, 2), fence_of(2, 1), fence_of(2, 2)], [Some(2), Some(3), Some(9), None]);
        let newest = |answer: &Answer| answers.of_key(&answer.key).map(|found| found.fence);
        assert_eq!([newest(&all[0]), newest(&all[3])], [Some(3), Some(9)]);
        answers.remove(&all[2].name());
        assert_eq!([newest(&all[0]), fence_of(1, 2)], [Some(2), None]);
        assert!(!answers.has(&all[2].name()));
    }
}
