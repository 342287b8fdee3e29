//! One request to an upstream and the head of its answer: connecting, writing, repeating what may be repeated.

use super::body::{BodyFailure, RequestBody, Sent};
use super::headers::{self, Framing};
use super::lifeline::Lifeline;
use super::peek::Asked;
use super::peer::{ConnectFailure, Connected, Peers};
use super::reply::Refusal;
use super::stream::caller_gone;
use super::trace::{THEIR_ERROR, carry};
use super::wire::Wire;
use crate::connect::{ConnectionKey, Credential};
use crate::telemetry::{SharedSpan, TraceContext};
use crate::upstream::{Failure, Health, Stage, Unavailable, Upstream};
use bytes::Bytes;
use http::{Method, Version, header};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::{HttpSession as Http1, http_req_header_to_wire};
use pingora::{Error, ErrorType, OrErr, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// How often a request is sent that meets a connection which the upstream has just closed.
const MAX_ATTEMPTS: u32 = 3;

/// What is sent, and to whom.
pub(super) struct Exchange<'a> {
    pub(super) peers: &'a Peers,
    pub(super) upstream: &'a Upstream,
    pub(super) health: &'a Arc<Health>,
    pub(super) key: &'a ConnectionKey,
    /// How long the upstream may take to begin its answer.
    pub(super) response_timeout: Duration,
    /// Whether the request calls a tool, or might.
    pub(super) calls_a_tool: bool,
    /// The request's span, if anybody wants traces.
    pub(super) trace: Option<&'a SharedSpan>,
}

/// Why there is no answer of the upstream.
pub(super) enum ExchangeFailure {
    /// The caller is told so.
    Refused(Refusal),
    /// The caller is gone.
    Aborted(Box<Error>),
}

impl Exchange<'_> {
    /// Sends the request of `session` with `credential` in it and waits for the head of the answer.
    ///
    /// # Errors
    /// When the upstream gives no answer, or before it does the caller leaves or what let the request in ends.
    pub(super) async fn send(
        &self,
        session: &mut ServerSession,
        body: &mut RequestBody<'_>,
        credential: &Credential,
        life: &Lifeline,
    ) -> Result<Connected, ExchangeFailure> {
        let Some(trace) = self.trace else { return self.send_as(session, body, (credential, None), life).await };
        let context = trace.client_begins(self.upstream.authority.as_str());
        let sent = self.send_as(session, body, (credential, context.as_ref()), life).await;
        trace.client(|span| match &sent {
            Ok(connected) => {
                let status = connected.session.response_header().map_or(0, |head| head.status.as_u16());
                span.status(status, THEIR_ERROR);
            }
            Err(ExchangeFailure::Refused(Refusal::GatewayTimeout)) => span.fail("timeout"),
            Err(ExchangeFailure::Refused(_)) => span.fail("no_answer"),
            Err(ExchangeFailure::Aborted(_)) => span.fail("caller_gone"),
        });
        sent
    }

    async fn send_as(
        &self,
        session: &mut ServerSession,
        body: &mut RequestBody<'_>,
        (credential, trace): (&Credential, Option<&TraceContext>),
        life: &Lifeline,
    ) -> Result<Connected, ExchangeFailure> {
        let http2 = !session.is_upgrade_req();
        let mut attempts = 1;
        loop {
            let connected = self.connect(http2).await?;
            let reused = connected.reused;
            let mut head = self.head(session, body, credential).map_err(|_| internal())?;
            if let Some(context) = trace {
                carry(context, &mut head).map_err(|_| internal())?;
            }
            match self.attempt(session, connected, head, (body, life)).await {
                Ok(mut connected) => {
                    connected.turn.answered();
                    return Ok(connected);
                }
                Err(Attempt::Final(failure)) => return Err(failure),
                // Most likely the upstream closed a connection of the pool while we were writing.
                Err(Attempt::Lost(error))
                    if reused
                        && attempts < MAX_ATTEMPTS
                        && !took_too_long(&error)
                        && self.may_repeat(session, body) =>
                {
                    attempts += 1
                }
                Err(Attempt::Lost(error)) => {
                    let refusal = lost(&error);
                    self.note(&refusal, reused);
                    return Err(ExchangeFailure::Refused(refusal));
                }
            }
        }
    }

    async fn connect(&self, http2: bool) -> Result<Connected, ExchangeFailure> {
        let refused = |why: &str| ExchangeFailure::Refused(Refusal::BadGateway(why.to_owned()));
        self.peers.connect(self.upstream, self.health, self.key, http2).await.map_err(|failure| match failure {
            ConnectFailure::Timeout => ExchangeFailure::Refused(Refusal::GatewayTimeout),
            ConnectFailure::Refused(why) => ExchangeFailure::Refused(Refusal::BadGateway(why)),
            ConnectFailure::Address(why) => refused(&format!("the upstream cannot be reached: {why}")),
            ConnectFailure::Unavailable(Unavailable::Busy) => ExchangeFailure::Refused(Refusal::Busy),
            ConnectFailure::Unavailable(Unavailable::OutOfOrder { retry_after, timeout }) => {
                ExchangeFailure::Refused(Refusal::OutOfOrder { retry_after, timeout })
            }
        })
    }

    /// Tells the upstream's health that no answer came.
    fn note(&self, refusal: &Refusal, reused: bool) {
        let timeout = matches!(refusal, Refusal::GatewayTimeout);
        // An upstream may close an unused connection at any time, also when it is being used again.
        if timeout || !reused {
            let why = if timeout { "no answer in time" } else { "connections are closed without an answer" };
            self.health.failed(&Failure { stage: Stage::Answering, timeout, why: why.to_owned() });
        }
    }

    fn head(&self, session: &ServerSession, body: &RequestBody<'_>, credential: &Credential) -> Result<RequestHeader> {
        let request = session.req_header();
        let framing = if session.is_upgrade_req() { Framing::Upgrade } else { body.framing() };
        let path = request.uri.path_and_query().map_or(&b"/"[..], |target| target.as_str().as_bytes());
        let mut head = headers::for_upstream(request, path, self.upstream.authority.as_str(), credential, framing)?;
        if self.upstream.tools.is_some() {
            // Lists of tools are to be read on their way back.
            head.insert_header(header::ACCEPT_ENCODING, "identity")?;
        }
        Ok(head)
    }

    /// Whether a request that got no byte of an answer may be sent again on a new connection. It may not when the upstream
    /// could have acted on it already: a tool call. Everything else in MCP only asks (RFC 9110 §9.2.2).
    fn may_repeat(&self, session: &ServerSession, body: &RequestBody<'_>) -> bool {
        let head = session.req_header();
        if head.version == Version::HTTP_10 || !body.is_repeatable() {
            return false;
        }
        // What came without a length may be known by now.
        let calls_a_tool = || self.calls_a_tool && Asked::by_body(body.kept()).calls_a_tool;
        match body.kept() {
            Some(bytes) if head.method == Method::POST && !bytes.is_empty() => !calls_a_tool(),
            _ => head.method.is_idempotent(),
        }
    }

    async fn attempt(
        &self,
        session: &mut ServerSession,
        mut connected: Connected,
        head: RequestHeader,
        (body, life): (&mut RequestBody<'_>, &Lifeline),
    ) -> Result<Connected, Attempt> {
        let opens_stream = head.method == Method::GET;
        connected.session.set_write_timeout(Some(self.response_timeout));
        connected = match body.kept() {
            Some(bytes) => self.write_kept(connected, head, bytes).await.map_err(Attempt::Lost)?,
            None => write_streamed(session, connected, head, body).await?,
        };
        connected.session.set_read_timeout(Some(self.response_timeout));
        // One deadline for the whole head: the time-out of a read begins again with every byte.
        let answered = tokio::time::timeout(self.response_timeout, read_head(&mut connected.session));
        tokio::select! { biased;
            answered = answered => match answered {
                Ok(read) => read.map_err(Attempt::Lost)?,
                Err(_) => return Err(Attempt::Lost(Error::explain(ErrorType::ReadTimedout, "the head of an answer"))),
            },
            // A caller that leaves before the answer cancels the request (MCP 2026-07-28, streamable HTTP).
            gone = caller_gone(session) => return Err(Attempt::Final(ExchangeFailure::Aborted(gone))),
            // Some servers send the head of a stream with its first event.
            () = life.ended(), if opens_stream => {}
        }
        // What the upstream says now is for nobody any more.
        life.check().map_err(|error| Attempt::Final(ExchangeFailure::Refused(Refusal::Unauthorized(error))))?;
        Ok(connected)
    }

    /// Writes head and body. In HTTP/1.1 both go out in one piece: one system call instead of the two or three that
    /// Pingora's own writer takes.
    async fn write_kept(&self, connected: Connected, head: RequestHeader, body: &[u8]) -> Result<Connected> {
        let Connected { session, reused, peer, turn } = connected;
        // Pingora interprets the answers to these two by the request that it wrote itself.
        let coalesced = head.method != Method::HEAD && !head.headers.contains_key(header::UPGRADE);
        let session = match session {
            HttpSession::H1(session) if coalesced => {
                let written = write_coalesced(session, &head, body);
                let written = tokio::time::timeout(self.response_timeout, written).await;
                HttpSession::H1(written.or_err(ErrorType::WriteTimedout, "writing to the upstream")??)
            }
            mut session => {
                session.write_request_header(Box::new(head)).await?;
                if !body.is_empty() {
                    session.write_request_body(Bytes::copy_from_slice(body), true).await?;
                }
                session.finish_request_body().await?;
                session
            }
        };
        Ok(Connected { session, reused, peer, turn })
    }
}

/// Writes the head, and the body as it arrives.
async fn write_streamed(
    session: &mut ServerSession,
    mut connected: Connected,
    mut head: RequestHeader,
    body: &mut RequestBody<'_>,
) -> Result<Connected, Attempt> {
    if let HttpSession::H2(_) = connected.session {
        // Its frames say where a body ends (RFC 9113 §8.2.2).
        head.remove_header(&header::TRANSFER_ENCODING);
    }
    connected.session.write_request_header(Box::new(head)).await.map_err(Attempt::Lost)?;
    // Callers may take their time over bodies: nobody else must be kept out by that.
    connected.turn.yields();
    match body.send(session, &mut connected.session).await {
        // An upstream that stopped taking the body may have said why.
        Sent::Whole | Sent::Partly => {
            connected.turn.waits();
            Ok(connected)
        }
        Sent::Failed(BodyFailure::Refused(refusal)) => Err(Attempt::Final(ExchangeFailure::Refused(refusal))),
        Sent::Failed(BodyFailure::Aborted(error)) => Err(Attempt::Final(ExchangeFailure::Aborted(error))),
    }
}

/// How one attempt failed.
enum Attempt {
    /// No answer came on this connection.
    Lost(Box<Error>),
    /// Trying again is no use.
    Final(ExchangeFailure),
}

async fn write_coalesced(session: Http1, head: &RequestHeader, body: &[u8]) -> Result<Http1> {
    let mut wire = http_req_header_to_wire(head)
        .ok_or_else(|| Error::explain(ErrorType::InvalidHTTPHeader, "the request target cannot be sent"))?;
    wire.extend_from_slice(body);
    let mut stream = session.into_inner();
    stream.write_all(&wire).await.or_err(ErrorType::WriteError, "writing to the upstream")?;
    stream.flush().await.or_err(ErrorType::WriteError, "writing to the upstream")?;
    Ok(Http1::new(Wire::before_answer(stream)))
}

/// Reads the head of the final response; interim ones are not passed on (RFC 9110 §15.2 allows it).
async fn read_head(session: &mut HttpSession) -> Result<()> {
    loop {
        session.read_response_header().await?;
        let status = session.response_header().map(|head| head.status);
        if status.is_some_and(|status| !status.is_informational() || status == http::StatusCode::SWITCHING_PROTOCOLS) {
            return Ok(());
        }
    }
}

fn took_too_long(error: &Error) -> bool {
    matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout)
}

fn lost(error: &Error) -> Refusal {
    if took_too_long(error) {
        return Refusal::GatewayTimeout;
    }
    Refusal::BadGateway("the upstream closed the connection without an answer".to_owned())
}

fn internal() -> ExchangeFailure {
    ExchangeFailure::Refused(Refusal::Internal)
}
