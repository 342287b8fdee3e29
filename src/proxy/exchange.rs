//! One request to an upstream and the head of its answer: connecting, writing, repeating what may be repeated.

use super::body::{BodyFailure, RequestBody, Sent};
use super::headers::UpstreamHead;
use super::http1::Framing;
use super::lifeline::Lifeline;
use super::peek::Asked;
use super::peer::{ConnectFailure, Connected, Peers};
use super::reply::Refusal;
use super::session::ServerSession;
use super::stream::caller_gone;
use super::trace::THEIR_ERROR;
use crate::connect::{ConnectionKey, Credential};
use crate::telemetry::{SharedSpan, TraceContext};
use crate::upstream::{Failure, Health, Stage, Unavailable, Upstream};
use http::{Method, Version};
use pingora::{Error, ErrorType, Result};
use std::sync::Arc;
use std::time::Duration;

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
            // Most find a connection at once. Who has to wait for one may leave meanwhile, and a flood of such callers would
            // have all that their requests hold kept until every connection is made, or not to be had.
            let connected = tokio::select! { biased;
                connected = self.connect(http2) => connected?,
                gone = caller_gone(session) => return Err(ExchangeFailure::Aborted(gone)),
            };
            let reused = connected.reused;
            match self.attempt(session, connected, (credential, trace), (body, life)).await {
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
        (credential, trace): (&Credential, Option<&TraceContext>),
        (body, life): (&mut RequestBody<'_>, &Lifeline),
    ) -> Result<Connected, Attempt> {
        let request = session.req_header();
        let opens_stream = request.method == Method::GET;
        let head = UpstreamHead {
            request,
            host: self.upstream.authority.as_str(),
            credential,
            framing: if session.is_upgrade_req() { Framing::Upgrade } else { body.framing() },
            trace,
            // Lists of tools are to be read on their way back.
            uncompressed: self.upstream.tools.is_some(),
        };
        connected.session.write_request_header(&head, self.response_timeout).map_err(Attempt::Lost)?;
        match body.kept() {
            Some(bytes) => connected.session.send_whole(bytes).await.map_err(Attempt::Lost)?,
            None => send_streamed(session, &mut connected, body).await?,
        }
        let answered = connected.session.read_response_header(self.response_timeout);
        tokio::select! { biased;
            answered = answered => answered.map_err(Attempt::Lost)?,
            // A caller that leaves before the answer cancels the request (MCP 2026-07-28, streamable HTTP).
            gone = caller_gone(session) => return Err(Attempt::Final(ExchangeFailure::Aborted(gone))),
            // Some servers send the head of a stream with its first event.
            () = life.ended(), if opens_stream => {}
        }
        // What the upstream says now is for nobody any more.
        life.check().map_err(|error| Attempt::Final(ExchangeFailure::Refused(Refusal::Unauthorized(error))))?;
        Ok(connected)
    }
}

/// Sends the head, and the body as it arrives.
async fn send_streamed(
    session: &mut ServerSession,
    connected: &mut Connected,
    body: &mut RequestBody<'_>,
) -> Result<(), Attempt> {
    connected.session.send_head().await.map_err(Attempt::Lost)?;
    // Callers may take their time over bodies: nobody else must be kept out by that.
    connected.turn.yields();
    match body.send(session, &mut connected.session).await {
        // An upstream that stopped taking the body may have said why.
        Sent::Whole | Sent::Partly => {
            connected.turn.waits();
            Ok(())
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

fn took_too_long(error: &Error) -> bool {
    matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout)
}

fn lost(error: &Error) -> Refusal {
    if took_too_long(error) {
        return Refusal::GatewayTimeout;
    }
    Refusal::BadGateway("the upstream closed the connection without an answer".to_owned())
}
