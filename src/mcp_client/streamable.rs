//! A client over Streamable HTTP, in both eras: each message is a POST of its own, and its answer is JSON or a stream that ends
//! with it.

use super::envelope::{self, SESSION, progress_of};
use super::filter::is_change;
use super::hearing::Hearing;
use super::messages::{Broken, Messages};
use super::session::{self, Refused, Session, post, to_bytes};
use super::switchboard::{Port, Switchboard};
use super::wire::{Answer, Outgoing, To, Wire};
use super::{Call, CallError, Event, Events, Principal, Resumption};
use crate::error::Fault;
use crate::http::Reuse;
use crate::mcp::era::LEGACY;
use crate::mcp::rpc::{Id, Notification, Request, Response, Rpc, RpcError};
use crate::upstream::Upstream;
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How often in a row a stream is gone on with that brings nothing.
const MAX_FRUITLESS: u32 = 5;
/// How long to wait before that, where the server does not say.
const USUAL_RETRY: Duration = Duration::from_secs(1);
/// The longest that a server can make us wait before that.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// How long a cancellation, or the end of a session, may take.
const PARTING: Duration = Duration::from_secs(5);

/// One client: one session, or none where the server needs none.
pub(super) struct Streamable {
    pub(super) wire: Arc<Wire>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) principal: Principal,
    /// Of the endpoint.
    pub(super) path: String,
    pub(super) session: ArcSwap<Session>,
    /// One `initialize` at a time.
    renewing: tokio::sync::Mutex<()>,
    pub(super) board: Arc<Switchboard>,
    pub(super) port: Port,
    pub(super) hearing: Hearing,
}

impl Streamable {
    /// A client that goes on with what was agreed on.
    pub(super) fn new(
        wire: Arc<Wire>,
        upstream: Arc<Upstream>,
        principal: Principal,
        path: String,
        session: Session,
    ) -> Arc<Self> {
        let board = Arc::new(Switchboard::default());
        let port = board.plug();
        let session = ArcSwap::from_pointee(session);
        Arc::new(Self {
            wire,
            upstream,
            principal,
            path,
            session,
            renewing: Default::default(),
            board,
            port,
            hearing: Hearing::default(),
        })
    }

    /// Sends a request and waits for its result.
    pub(super) async fn request(self: &Arc<Self>, call: Call, events: &Events) -> Result<Value, CallError> {
        let session = self.session.load_full();
        let (number, _) = self.board.call(self.port, events)?;
        let mut under_way = UnderWay { client: self, number, cancels: false };
        let Call { method, mut params, log_level, mirrored } = call;
        let token = envelope::claim_progress(&mut params, number);
        self.board.report_as(number, token.clone());
        let mut headers = session.headers();
        envelope::trace(&params, &mut headers);
        if session.is_modern() {
            envelope::modern(&mut params, &self.principal, log_level.as_deref());
            envelope::mirrors(&method, &params, &mut headers);
            headers.extend(mirrored);
        }
        // Whether anything was done by it already is not known of a tool's call that is lost, so it is sent once.
        let reuse = if method == "tools/call" { Reuse::Once } else { Reuse::Repeat };
        let body = to_bytes(Rpc::Request(Request { id: Id::from(number), method, params }));
        under_way.cancels = !session.is_modern();
        let out = Outgoing { method: Method::POST, headers, body, reuse };
        let outcome = async {
            let answer = self.sent(&session, out).await?;
            self.answered(answer, number, token.as_ref(), events).await
        };
        let outcome = outcome.await;
        // A connection that was lost cancels nothing (MCP 2025-11-25, Transports), a caller that leaves does.
        under_way.cancels = false;
        outcome
    }

    /// Sends a notification. Clients of the modern era have none to send.
    pub(super) async fn notify(&self, notification: Notification) -> Result<(), CallError> {
        if self.session.load().is_modern() {
            return Ok(());
        }
        self.tell(Rpc::Notification(notification)).await
    }

    /// Answers a request of the server's.
    pub(super) async fn respond(&self, id: Id, outcome: Result<Value, RpcError>) -> Result<(), CallError> {
        if self.session.load().is_modern() {
            return Err(Fault::caller("the upstream takes answers with a repeated request only").into());
        }
        self.tell(Rpc::Response(Response { id: Some(id), outcome })).await
    }

    /// Ends the session.
    pub(super) async fn close(&self) {
        let session = self.session.load_full();
        if session.id.is_none() {
            return;
        }
        let out =
            Outgoing { method: Method::DELETE, headers: session.headers(), body: Bytes::new(), reuse: Reuse::Repeat };
        // Servers forget sessions anyhow, and need not allow clients to end them.
        drop(self.wire.send(self.to(), &out, PARTING).await);
    }

    /// What to keep for another process.
    pub(super) fn resumption(&self) -> Option<Resumption> {
        let session = self.session.load();
        let id = session.id.as_ref()?.to_str().ok()?;
        let server = &session.server;
        Some(Resumption {
            path: self.path.clone(),
            session: id.to_owned(),
            version: server.version.clone(),
            capabilities: server.capabilities.clone(),
            info: server.info.clone(),
            instructions: server.instructions.clone(),
        })
    }

    /// Whether the person's authorization has ended, or the endpoint is none any more.
    pub(super) fn is_over(&self) -> bool {
        self.board.ended().is_some()
    }

    pub(super) fn to(&self) -> To<'_> {
        To { upstream: &self.upstream, key: &self.principal.key, path: &self.path }
    }

    /// Begins another session in the place of one that the server forgot.
    pub(super) async fn renew(&self, lost: &Arc<Session>) -> Result<Arc<Session>, CallError> {
        let _one_at_a_time = self.renewing.lock().await;
        let present = self.session.load_full();
        if !Arc::ptr_eq(&present, lost) {
            return Ok(present);
        }
        let version = LEGACY.into_iter().find(|version| **version == *lost.server.version).unwrap_or(LEGACY[0]);
        let began = session::initialize(&self.wire, self.to(), &self.principal, version).await?;
        let began = match began {
            Ok(began) => Arc::new(began),
            Err(refused) => {
                let in_trouble = refused.is_trouble();
                let error = CallError::from(refused);
                if !in_trouble {
                    self.board.end(&error);
                }
                return Err(error);
            }
        };
        self.session.store(began.clone());
        self.board.poke();
        Ok(began)
    }

    /// Opens the stream of what the server says unasked, or goes on with one behind an event.
    pub(super) async fn open_stream(&self, session: &Session, last_id: Option<&str>) -> Result<Answer, CallError> {
        let mut headers = session.headers();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = last_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(LAST_EVENT_ID, id);
        }
        let out = Outgoing { method: Method::GET, headers, body: Bytes::new(), reuse: Reuse::Repeat };
        self.wire.send(self.to(), &out, self.wire.limits.response_timeout).await
    }

    /// Sends a request, once more in a new session where the server forgot the one that it had.
    async fn sent(&self, session: &Arc<Session>, mut out: Outgoing) -> Result<Answer, CallError> {
        if let Some(answer) = self.attempt(session, &out).await? {
            return Ok(answer);
        }
        let session = self.renew(session).await?;
        out.headers.remove(SESSION);
        out.headers.extend(session.headers());
        self.attempt(&session, &out).await?.ok_or_else(|| {
            let private = format!("{} forgets sessions at once", self.upstream.authority);
            Fault::upstream("the upstream forgets its sessions", private).into()
        })
    }

    /// `None`: the server does not know the session any more.
    async fn attempt(&self, session: &Session, out: &Outgoing) -> Result<Option<Answer>, CallError> {
        let answer = self.wire.send(self.to(), out, self.wire.limits.response_timeout).await?;
        let status = answer.streamed.status;
        if status.is_success() {
            return Ok(Some(answer));
        }
        let refused = Refused::of(answer).await;
        // 404 is what the specification says; servers made after the examples of the SDKs say 400 and mention it.
        let mentions = |error: &RpcError| error.message.to_ascii_lowercase().contains("session");
        let forgotten = status == StatusCode::NOT_FOUND
            || (status == StatusCode::BAD_REQUEST && refused.error.as_ref().is_some_and(mentions));
        if session.id.is_some() && forgotten {
            return Ok(None);
        }
        let is_other = is_of_another_kind(session, &refused);
        let error = CallError::from(refused);
        if is_other {
            // Whoever comes next finds out what it is now.
            self.board.end(&error);
        }
        Err(error)
    }

    /// Reads an answer up to the response. A stream that ends before is gone on with where the server numbers its events.
    async fn answered(
        &self,
        answer: Answer,
        number: u64,
        token: Option<&Value>,
        events: &Events,
    ) -> Result<Value, CallError> {
        if !(answer.is_json() || answer.is_events()) {
            return Err(Refused::of(answer).await.into());
        }
        let limits = &self.wire.limits;
        let mut messages = Messages::of(answer, limits.max_message, limits.response_timeout).await?;
        let (mut last_id, mut fruitless) = (None, 0);
        loop {
            let broken = loop {
                match messages.next().await {
                    Ok(Some(message)) => {
                        fruitless = 0;
                        if let Some(outcome) = self.pass(message, number, token, events).await {
                            return outcome;
                        }
                    }
                    Ok(None) => break None,
                    Err(Broken::Lost(error)) => break Some(error),
                    Err(broken) => return Err(broken.into()),
                }
            };
            last_id = messages.last_id().map(str::to_owned).or(last_id);
            let ended =
                || Fault::upstream("the upstream gave no answer", "its stream ended before the response").into();
            let (Some(id), false) = (&last_id, fruitless >= MAX_FRUITLESS || self.session.load().is_modern()) else {
                return Err(broken.map_or_else(ended, CallError::from));
            };
            fruitless += 1;
            tokio::time::sleep(messages.retry().unwrap_or(USUAL_RETRY).min(LONGEST_RETRY)).await;
            let session = self.session.load_full();
            let answer = self.open_stream(&session, Some(id)).await?;
            if !answer.streamed.status.is_success() || !answer.is_events() {
                return Err(ended());
            }
            messages = Messages::of(answer, limits.max_message, limits.response_timeout).await?;
        }
    }

    /// Hands on a message that came on the stream of a request; the outcome, when it is the response.
    async fn pass(
        &self,
        message: Rpc,
        number: u64,
        token: Option<&Value>,
        events: &Events,
    ) -> Option<Result<Value, CallError>> {
        let event = match message {
            Rpc::Response(Response { id, outcome }) => {
                let ours = id.is_none_or(|id| id == Id::from(number));
                return ours.then(|| outcome.map_err(CallError::Rpc));
            }
            Rpc::Request(request) if request.method == "ping" => {
                // Whoever does not get it asks again.
                drop(self.respond(request.id, Ok(json!({}))).await);
                return None;
            }
            Rpc::Request(_) if self.session.load().is_modern() => return None,
            Rpc::Request(request) => Event::Request(request),
            Rpc::Notification(notification) if is_change(&notification) => {
                self.board.take(Rpc::Notification(notification));
                return None;
            }
            Rpc::Notification(mut notification) => {
                if notification.method == "notifications/progress" {
                    if progress_of(&notification.params) != Some(number) {
                        return None;
                    }
                    notification.params.insert("progressToken".to_owned(), token?.clone());
                }
                Event::Notification(notification)
            }
        };
        // Whoever reads no events waits for the result alone.
        drop(events.send(event).await);
        None
    }

    /// Posts what wants no answer.
    pub(super) async fn tell(&self, message: Rpc) -> Result<(), CallError> {
        let session = self.session.load_full();
        let answer = post(&self.wire, self.to(), (session.headers(), Reuse::Repeat), message).await?;
        if answer.streamed.status.is_success() {
            return Ok(());
        }
        Err(Refused::of(answer).await.into())
    }
}

/// Whether a refusal shows that the endpoint is not what it was: of the other era, or none at all.
fn is_of_another_kind(session: &Session, refused: &Refused) -> bool {
    let code = refused.error.as_ref().map(|error| error.code);
    if !session.is_modern() {
        return refused.is_modern();
    }
    let of_json_rpc = RpcError::PARSE_ERROR..=RpcError::INVALID_REQUEST;
    let means_something = refused.is_modern() || code.is_some_and(|code| of_json_rpc.contains(&code));
    code == Some(RpcError::UNSUPPORTED_VERSION)
        || (!means_something && matches!(refused.status.as_u16(), 400 | 404 | 405))
}

/// A request that waits for its answer. Dropped before that, it is cancelled: by the closed connection in the modern era, by a
/// notification before.
struct UnderWay<'a> {
    client: &'a Arc<Streamable>,
    number: u64,
    cancels: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.client.board.hang_up(self.number);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.cancels {
            let (client, params) = (self.client.clone(), envelope::cancelled(self.number));
            runtime.spawn(async move {
                let cancelled = Notification { method: "notifications/cancelled".to_owned(), params };
                // Nobody is there to be told.
                drop(tokio::time::timeout(PARTING, client.notify(cancelled)).await);
            });
        }
    }
}
