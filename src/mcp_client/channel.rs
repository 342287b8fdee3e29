//! Many clients on one two-way channel of messages: HTTP+SSE, WebSocket, the standard input and output of a program. Requests go
//! out under numbers of ours, so that the same ids of different callers do not meet.

use super::envelope;
use super::hearing::Hearing;
use super::http_sse::Posts;
use super::reading::Reading;
use super::session::{discovered, initialized, offered, speaks_nothing, to_bytes, too_late};
use super::switchboard::{Answered, Port, Switchboard};
use super::{Call, CallError, Event, Principal, Server};
use crate::error::Fault;
use crate::mcp::era::{Era, LEGACY};
use crate::mcp::rpc::{Id, Members, Notification, Request, Rpc, RpcError};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OnceCell, mpsc};
use tokio::task::JoinHandle;

/// How long a server has to answer `server/discover` before `initialize` is sent too (MCP 2026-07-28, stdio, Backward
/// Compatibility).
const PROBE: Duration = Duration::from_secs(5);
/// How long it has for the whole of it: a program may be fetched first.
const BEGINNING: Duration = Duration::from_secs(120);

/// A channel and those who share it.
pub struct Multiplexer {
    out: Out,
    pub(super) board: Arc<Switchboard>,
    server: OnceCell<Arc<Server>>,
    /// The port of what is everybody's.
    own: Port,
    pub(super) hearing: Hearing,
    /// A request was given up before it was answered.
    doubts: Arc<Notify>,
    _tasks: Vec<Task>,
}

/// Where messages go.
pub(super) enum Out {
    /// Into a queue.
    Queue(mpsc::Sender<Bytes>),
    /// To an address, each with a request of its own.
    Posts(Posts),
}

/// A task that ends with its owner.
pub(super) struct Task(pub(super) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a server is asked first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// `server/discover`: it may be of either era.
    Discover,
    /// `initialize`: its transport is older than the modern era.
    Initialize,
}

impl Multiplexer {
    /// One on these two ways. `ended` says why, once `incoming` has ended.
    pub(super) fn over(
        out: Out,
        mut incoming: mpsc::Receiver<Bytes>,
        ended: impl Future<Output = CallError> + Send + 'static,
        mut tasks: Vec<Task>,
    ) -> Self {
        let board = Arc::new(Switchboard::default());
        let own = board.number();
        let doubts = Arc::new(Notify::new());
        let reading = Reading { board: board.clone(), back: out.back(), doubts: doubts.clone() };
        tasks.push(Task(tokio::spawn(async move {
            let why = match reading.to_the_end(&mut incoming).await {
                Some(silent) => silent,
                None => ended.await,
            };
            // Whoever reads no more lets the other side go.
            drop(incoming);
            reading.board.end(&why);
        })));
        Self { out, board, server: OnceCell::new(), own, hearing: Hearing::default(), doubts, _tasks: tasks }
    }

    /// Learns what the server is, once for all who share the channel.
    pub(super) async fn begin(self: &Arc<Self>, principal: &Principal, first: First) -> Result<Arc<Server>, CallError> {
        let begun = self.server.get_or_try_init(async || {
            let begun = tokio::time::timeout(BEGINNING, self.negotiated(principal, first)).await;
            begun.unwrap_or_else(|_| Err(too_late())).map(Arc::new)
        });
        begun.await.cloned()
    }

    /// Whether its server is of the modern era, as far as that is known.
    pub(super) fn is_modern(&self) -> bool {
        self.server.get().is_some_and(|server| server.era == Era::Modern)
    }

    /// Sends a request of one who shares the channel, and waits for its result. Dropped before that, it is cancelled.
    pub(super) async fn request(
        self: &Arc<Self>,
        (port, principal): (Port, &Principal),
        call: Call,
        events: &super::Events,
    ) -> Result<Value, CallError> {
        let (number, answered) = self.board.call(port, events)?;
        let _under_way = UnderWay { channel: self.clone(), number, cancels: true };
        let Call { method, mut params, log_level, .. } = call;
        self.board.report_as(number, envelope::claim_progress(&mut params, number));
        if self.is_modern() {
            envelope::modern(&mut params, principal, log_level.as_deref());
        }
        self.send(Rpc::Request(Request { id: Id::from(number), method, params })).await?;
        self.answer(answered).await
    }

    /// A request for everybody who shares the channel.
    pub(super) async fn ask(self: &Arc<Self>, method: &str, params: Members) -> Result<Value, CallError> {
        let (unread, _) = mpsc::channel::<Event>(1);
        let (number, answered) = self.board.subscription(self.own, &unread)?;
        let _under_way = UnderWay { channel: self.clone(), number, cancels: false };
        self.send(Rpc::Request(Request { id: Id::from(number), method: method.to_owned(), params })).await?;
        self.answer(answered).await
    }

    /// Begins a `subscriptions/listen`; its acknowledgement comes to `events`, its end to the other.
    pub(super) async fn subscribe(
        self: &Arc<Self>,
        mut params: Members,
        (principal, events): (&Principal, &super::Events),
    ) -> Result<(UnderWay, Answered), CallError> {
        let (number, answered) = self.board.subscription(self.own, events)?;
        let under_way = UnderWay { channel: self.clone(), number, cancels: true };
        envelope::modern(&mut params, principal, None);
        let method = "subscriptions/listen".to_owned();
        self.send(Rpc::Request(Request { id: Id::from(number), method, params })).await?;
        Ok((under_way, answered))
    }

    /// Sends a message; waits while the server takes none.
    pub(super) async fn send(&self, message: Rpc) -> Result<(), CallError> {
        match &self.out {
            Out::Posts(posts) => posts.send(message).await,
            Out::Queue(queue) => match queue.send(to_bytes(message)).await {
                Ok(()) => Ok(()),
                Err(_) => Err(self.why()),
            },
        }
    }

    /// Why the channel is of no more use.
    fn why(&self) -> CallError {
        let unknown = || Fault::upstream("the connection to the upstream was lost", "its channel ended").into();
        self.board.ended().unwrap_or_else(unknown)
    }

    async fn answer(&self, answered: Answered) -> Result<Value, CallError> {
        answered.await.unwrap_or_else(|_| Err(self.why()))
    }

    async fn negotiated(self: &Arc<Self>, principal: &Principal, first: First) -> Result<Server, CallError> {
        if first == First::Initialize {
            return self.initialized(principal, LEGACY[0]).await;
        }
        let mut params = Members::new();
        envelope::modern(&mut params, principal, None);
        let discover = self.ask("server/discover", params);
        tokio::pin!(discover);
        let version = match tokio::time::timeout(PROBE, &mut discover).await {
            Ok(outcome) => match self.of_discovery(outcome)? {
                Ok(server) => return Ok(server),
                Err(version) => version,
            },
            Err(_) => {
                // It may be slow, or of the kind that does not answer: the first good answer counts.
                let initialize = self.initialized(principal, LEGACY[0]);
                tokio::pin!(initialize);
                tokio::select! {
                    outcome = &mut discover => match self.of_discovery(outcome)? {
                        Ok(server) => return Ok(server),
                        Err(_) => return initialize.await,
                    },
                    outcome = &mut initialize => match outcome {
                        Ok(server) => return Ok(server),
                        Err(refused) => return match self.of_discovery(discover.await)? {
                            Ok(server) => Ok(server),
                            Err(_) => Err(refused),
                        },
                    },
                }
            }
        };
        self.initialized(principal, version).await
    }

    /// The server, or with which version it is to be initialized.
    fn of_discovery(&self, outcome: Result<Value, CallError>) -> Result<Result<Server, &'static str>, CallError> {
        match outcome {
            Ok(result) => match discovered(&result) {
                Some(server) => Ok(Ok(server)),
                None => Ok(Err(offered(Some(&result), "supportedVersions").unwrap_or(LEGACY[0]))),
            },
            Err(CallError::Rpc(error)) if error.code == RpcError::UNSUPPORTED_VERSION => {
                let version = offered(error.data.as_ref(), "supported");
                version.map(Err).ok_or_else(|| speaks_nothing("it supports none of our versions"))
            }
            Err(CallError::Rpc(_)) => Ok(Err(LEGACY[0])),
            Err(error) => Err(error),
        }
    }

    async fn initialized(self: &Arc<Self>, principal: &Principal, version: &str) -> Result<Server, CallError> {
        let result = self.ask("initialize", envelope::initialize(principal, version)).await?;
        let server = initialized(result)?;
        let method = "notifications/initialized".to_owned();
        self.send(Rpc::Notification(Notification { method, params: Members::new() })).await?;
        Ok(server)
    }
}

/// The way of what is answered at once.
pub(super) enum Back {
    Queue(mpsc::WeakSender<Bytes>),
    Posts(Posts),
}

impl Out {
    fn back(&self) -> Back {
        match self {
            Out::Queue(queue) => Back::Queue(queue.downgrade()),
            Out::Posts(posts) => Back::Posts(posts.clone()),
        }
    }
}

impl Back {
    /// A server that takes no answers gets none: nobody waits for it.
    pub(super) fn send(&self, message: Rpc) {
        match self {
            Back::Queue(queue) => {
                if let Some(queue) = queue.upgrade() {
                    drop(queue.try_send(to_bytes(message)));
                }
            }
            Back::Posts(posts) => {
                let posts = posts.clone();
                tokio::spawn(async move { drop(posts.send(message).await) });
            }
        }
    }
}

/// A request that waits for its answer; dropped before that, it is cancelled (MCP 2026-07-28, Cancellation).
pub(super) struct UnderWay {
    channel: Arc<Multiplexer>,
    number: u64,
    /// `initialize` must not be, and `server/discover` need not.
    cancels: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // Posts need a runtime, which is gone when the process ends.
        if self.channel.board.hang_up(self.number) && self.cancels && tokio::runtime::Handle::try_current().is_ok() {
            let method = "notifications/cancelled".to_owned();
            let params = envelope::cancelled(self.number);
            self.channel.out.back().send(Rpc::Notification(Notification { method, params }));
            self.channel.doubts.notify_one();
        }
    }
}
