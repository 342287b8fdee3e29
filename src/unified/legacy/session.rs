//! One session, as far as this process knows it.

use crate::clock::Timestamp;
use crate::ids::{Digest, UserId};
use crate::mcp::era::Era;
use crate::mcp::rpc::{Id, Members, RpcError};
use crate::mcp_client::{Filter, Resumption};
use crate::unified::Caller;
use crate::unified::door::{Guest, Introduction};
use crate::unified::wire::Out;
use data_encoding::HEXLOWER;
use http::HeaderMap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::{OnceCell, mpsc, oneshot, watch};
use tokio::task::AbortHandle;

/// How many requests of a session may be under way.
const RUNNING: usize = 256;
/// How many questions of a session may be open.
const QUESTIONS: usize = 64;
/// How many resources a session may be subscribed to.
const SUBSCRIPTIONS: usize = 1000;

/// What a session remembers, whichever process goes on with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Document {
    /// The version that was agreed on.
    pub(super) version: String,
    /// `clientInfo`
    pub(super) info: Value,
    /// `capabilities` of the client.
    pub(super) capabilities: Members,
    /// From which level on it wants log messages.
    pub(super) log_level: Option<String>,
    /// The resources whose changes it wants to hear of.
    pub(super) subscriptions: BTreeSet<String>,
    /// Its sessions at upstreams, by prefix.
    pub(super) upstreams: BTreeMap<String, Resumption>,
}

/// A session. It belongs to one person and one client, at one place.
pub(in crate::unified) struct Session {
    /// Digest of its id.
    pub(super) token: Digest,
    /// Whose it is.
    pub(super) user: UserId,
    /// Of which client.
    pub(super) client_id: Arc<str>,
    /// Where it was begun.
    pub(super) place: Arc<str>,
    /// What upstreams' sessions of it go by.
    name: Arc<str>,
    document: watch::Sender<Document>,
    /// Requests under way.
    running: Mutex<Running>,
    /// Questions that this process asked, by the id that the client knows.
    questions: Mutex<HashMap<String, oneshot::Sender<Result<Value, RpcError>>>>,
    /// Counts streams that listen: the newest one counts.
    listeners: watch::Sender<u64>,
    /// Where everything goes in a session that is a stream (MCP 2024-11-05).
    pub(super) stream: Option<mpsc::Sender<Out>>,
    /// Whether the upstreams' sessions have been taken over, in a session of another process.
    pub(super) resumed: OnceCell<()>,
    /// When it was used last.
    pub(super) seen: Moment,
    /// When the database was asked last whether it is still there.
    pub(super) checked: Moment,
    /// When its use was noted last.
    pub(super) noted: Moment,
    /// What the database knows of the document.
    pub(super) kept: Mutex<Option<Digest>>,
}

/// A time that changes.
pub(super) struct Moment(AtomicI64);

impl Moment {
    pub(super) fn at(time: Timestamp) -> Self {
        Self(AtomicI64::new(time.0))
    }

    pub(super) fn get(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, time: Timestamp) {
        self.0.store(time.0, Ordering::Relaxed);
    }
}

impl Session {
    /// A session of a guest's, which nothing is kept of yet.
    pub(super) fn new(
        token: Digest,
        (user, client_id, place): (UserId, Arc<str>, Arc<str>),
        document: Document,
        (now, stream): (Timestamp, Option<mpsc::Sender<Out>>),
    ) -> Self {
        Self {
            token,
            user,
            client_id,
            place,
            name: HEXLOWER.encode(&token.0[..16]).into(),
            document: watch::Sender::new(document),
            running: Mutex::default(),
            questions: Mutex::default(),
            listeners: watch::Sender::new(0),
            stream,
            resumed: OnceCell::new(),
            seen: Moment::at(now),
            checked: Moment::at(now),
            noted: Moment::at(now),
            kept: Mutex::new(None),
        }
    }

    /// Whether a guest may use it.
    pub(super) fn is_of(&self, guest: &Guest) -> bool {
        self.user == guest.user && self.client_id == guest.client_id && self.place == guest.place
    }

    /// The session's client, with what let the guest in this time.
    pub(super) fn caller(&self, guest: &Guest) -> Caller {
        let document = self.document.borrow();
        guest.introduced(Introduction {
            era: Era::Legacy,
            version: document.version.clone(),
            info: document.info.clone(),
            capabilities: document.capabilities.clone(),
            log_level: document.log_level.clone(),
            session: self.name.clone(),
            headers: HeaderMap::new(),
        })
    }

    pub(super) fn version(&self) -> String {
        self.document.borrow().version.clone()
    }

    pub(super) fn log_level(&self) -> Option<String> {
        self.document.borrow().log_level.clone()
    }

    /// A copy of what it remembers.
    pub(super) fn document(&self) -> Document {
        self.document.borrow().clone()
    }

    /// Hears of every change of the document.
    pub(super) fn changes(&self) -> watch::Receiver<Document> {
        self.document.subscribe()
    }

    /// Takes over what another process has written.
    pub(super) fn replace(&self, document: Document) {
        self.document.send_if_modified(|known| {
            let differs = *known != document;
            *known = document;
            differs
        });
    }

    /// What the client of a stream has said about itself. Only the first time counts.
    pub(super) fn introduce(&self, document: Document) {
        self.document.send_if_modified(|known| {
            let is_first = known.version.is_empty();
            if is_first {
                *known = document;
            }
            is_first
        });
    }

    /// Notes which sessions at upstreams belong to it; whether that is news.
    pub(super) fn remember(&self, upstreams: BTreeMap<String, Resumption>) -> bool {
        let mut is_news = false;
        // Nobody waits for this.
        self.document.send_if_modified(|document| {
            is_news = document.upstreams != upstreams;
            document.upstreams = upstreams;
            false
        });
        is_news
    }

    pub(super) fn set_log_level(&self, level: &str) {
        self.document.send_modify(|document| document.log_level = Some(level.to_owned()));
    }

    /// # Errors
    /// When it is subscribed to too much.
    pub(super) fn may_subscribe(&self) -> Result<(), RpcError> {
        match self.document.borrow().subscriptions.len() < SUBSCRIPTIONS {
            true => Ok(()),
            false => Err(RpcError::new(RpcError::INTERNAL_ERROR, "the session has too many subscriptions")),
        }
    }

    pub(super) fn subscribe(&self, uri: String) {
        self.document.send_if_modified(|document| document.subscriptions.insert(uri));
    }

    pub(super) fn unsubscribe(&self, uri: &str) {
        self.document.send_if_modified(|document| document.subscriptions.remove(uri));
    }

    /// Everything that a stream of a client of this era is for.
    pub(super) fn filter(&self) -> Filter {
        let subscribed = self.document.borrow().subscriptions.clone();
        Filter { tools: true, prompts: true, resources: true, subscribed }
    }

    /// A stream that listens from now on, in the place of the one that did; hears when another one takes its place.
    pub(super) fn listener(&self) -> watch::Receiver<u64> {
        self.listeners.send_modify(|number| *number += 1);
        self.listeners.subscribe()
    }

    /// Whether something of it is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.listeners.receiver_count() > 0 || self.stream.is_some() || !self.running.lock().tasks.is_empty()
    }

    /// Starts the work on a request under its id. It counts until the work lets go of what it is given.
    ///
    /// # Errors
    /// When the id is in use, or too many requests are under way.
    pub(super) fn start<W: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        id: &Id,
        work: impl FnOnce(UnderWay) -> W,
    ) -> Result<(), RpcError> {
        let mut running = self.running.lock();
        if running.numbers.contains_key(id) {
            return Err(RpcError::new(RpcError::INVALID_REQUEST, "a request with this id is under way already"));
        }
        if running.tasks.len() >= RUNNING {
            return Err(RpcError::new(RpcError::INTERNAL_ERROR, "too many requests are under way in this session"));
        }
        running.begun += 1;
        let number = running.begun;
        // It takes itself out when it is over, which waits for the lock that we hold.
        let task = tokio::spawn(work(UnderWay { session: self.clone(), id: id.clone(), number }));
        running.tasks.insert(number, task.abort_handle());
        running.numbers.insert(id.clone(), number);
        Ok(())
    }

    /// Cancels a request, if it is under way and has no answer yet.
    pub(super) fn cancel(&self, id: &Id) {
        let mut running = self.running.lock();
        let task = running.numbers.remove(id).and_then(|number| running.tasks.remove(&number));
        drop(running);
        if let Some(task) = task {
            task.abort();
        }
    }

    /// Cancels everything and closes every stream.
    pub(super) fn stop(&self) {
        let mut running = self.running.lock();
        running.numbers.clear();
        let tasks = std::mem::take(&mut running.tasks);
        drop(running);
        tasks.into_values().for_each(|task| task.abort());
        self.questions.lock().clear();
        self.listeners.send_modify(|number| *number += 1);
    }

    /// Notes that somebody waits for an answer; the way to it comes back when too many do.
    pub(super) fn expect(
        &self,
        id: String,
        answer: oneshot::Sender<Result<Value, RpcError>>,
    ) -> Result<(), oneshot::Sender<Result<Value, RpcError>>> {
        let mut questions = self.questions.lock();
        questions.retain(|_, answer| !answer.is_closed());
        if questions.len() >= QUESTIONS {
            return Err(answer);
        }
        questions.insert(id, answer);
        Ok(())
    }

    /// Who waits for the answer to a question.
    pub(super) fn asker(&self, id: &str) -> Option<oneshot::Sender<Result<Value, RpcError>>> {
        self.questions.lock().remove(id)
    }
}

/// What is being worked on.
#[derive(Default)]
struct Running {
    /// How many there have been.
    begun: u64,
    /// By their numbers.
    tasks: HashMap<u64, AbortHandle>,
    /// Which one has which id, as long as it has no answer.
    numbers: HashMap<Id, u64>,
}

impl Running {
    /// Frees the id of a request; after it was cancelled, another one may have it.
    fn free(&mut self, id: &Id, number: u64) {
        if self.numbers.get(id) == Some(&number) {
            self.numbers.remove(id);
        }
    }
}

/// A request under way: it counts until this is dropped.
pub(super) struct UnderWay {
    session: Arc<Session>,
    id: Id,
    number: u64,
}

impl UnderWay {
    /// The answer is about to be told, and whoever has it may use the id again, as clients do that number nothing.
    pub(super) fn is_answered(&self) {
        self.session.running.lock().free(&self.id, self.number);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut running = self.session.running.lock();
        running.free(&self.id, self.number);
        running.tasks.remove(&self.number);
    }
}
