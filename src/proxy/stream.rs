//! The body of an answer on its way to the caller: as it comes, with heartbeats while it does not, and not longer than the
//! grant and the connection live.

use super::endpoint::EndpointEvent;
use super::events::EventTracker;
use super::filter::EventFilter;
use super::lifeline::Lifeline;
use super::peer::Connected;
use super::stopping::StreamEnd;
use bytes::Bytes;
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType, Result};
use std::time::Duration;
use tokio::time::Instant;

/// A comment (WHATWG HTML §9.2): every parser skips it.
const HEARTBEAT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// How long an upstream may take to finish an event after a revocation.
const REVOKED_PATIENCE: Duration = Duration::from_millis(500);

/// What bounds a stream.
pub(super) struct Bounds<'a> {
    /// Ends with the grant or the connection.
    pub(super) life: &'a Lifeline,
    /// Ends it when the gateway stops.
    pub(super) stopping: StreamEnd,
    /// An idle event stream gets a comment after this long.
    pub(super) heartbeat: Duration,
    /// Whether the answer is a stream of events.
    pub(super) events: bool,
    /// Keeps what a stream of the transport of 2024 begins with on our hostname.
    pub(super) endpoint: Option<EndpointEvent<'a>>,
    /// Takes tools out of it that an administrator denies.
    pub(super) filter: Option<EventFilter<'a>>,
}

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The upstream finished its answer; its connection can be used again.
    Complete,
    /// We ended it at the boundary of an event: something was revoked, or the gateway stops.
    Cut,
}

/// Something that happened to a stream.
enum Happening {
    Upstream(Result<Option<Bytes>>),
    CallerGone(Box<Error>),
    Stopping,
    Idle,
}

/// Passes the body on. The head has been written already.
///
/// # Errors
/// When either side breaks off. The caller's connection must not be used again then; above all the terminating chunk is
/// not sent, so that a torn answer is seen to be torn.
pub(super) async fn pass(session: &mut ServerSession, upstream: &mut Connected, mut bounds: Bounds<'_>) -> Result<End> {
    let mut tracker = EventTracker::default();
    let mut last_byte = Instant::now();
    let idle = tokio::time::sleep_until(last_byte + bounds.heartbeat);
    tokio::pin!(idle);
    let (mut ending, mut revoked) = (false, false);
    let ended = bounds.life.ended();
    tokio::pin!(ended);
    if bounds.events {
        upstream.session.set_read_timeout(None);
    }
    loop {
        // Asked before each read and waited for after it: an answer that is there already never takes a place among those
        // who wait, which costs a lock.
        if !revoked && bounds.life.has_ended() {
            if !bounds.events {
                return Error::e_explain(ErrorType::ConnectionClosed, "what let the request in was revoked");
            }
            (ending, revoked) = (true, true);
            idle.as_mut().reset(Instant::now() + REVOKED_PATIENCE);
        }
        if ending && tracker.at_boundary() {
            return cut(session, upstream).await;
        }
        let happening = tokio::select! { biased;
            chunk = upstream.session.read_response_body() => Happening::Upstream(chunk),
            gone = caller_gone(session) => Happening::CallerGone(gone),
            () = &mut ended, if !revoked => continue,
            () = bounds.stopping.due(), if bounds.events && !ending => Happening::Stopping,
            () = &mut idle, if bounds.events => Happening::Idle,
        };
        match happening {
            Happening::Upstream(Ok(Some(chunk))) => {
                let chunk = bounds.rewritten(chunk).map_err(|error| error.into_up())?;
                if chunk.is_empty() {
                    continue;
                }
                if bounds.events {
                    tracker.feed(&chunk);
                    last_byte = Instant::now();
                }
                session.write_response_body(chunk, false).await?;
            }
            Happening::Upstream(Ok(None)) => break,
            Happening::Upstream(Err(error)) => return Err(error.into_up()),
            Happening::CallerGone(error) => return Err(error.into_down()),
            Happening::Stopping => ending = true,
            Happening::Idle if revoked => {
                return Error::e_explain(ErrorType::ConnectionClosed, "an event went on after a revocation");
            }
            Happening::Idle => {
                // Not reset at every event: a timer that is moved a thousand times a second costs more than one that
                // looks at the clock when it fires.
                let due = last_byte + bounds.heartbeat;
                if due <= Instant::now() {
                    if tracker.at_boundary() {
                        session.write_response_body(HEARTBEAT, false).await?;
                    }
                    last_byte = Instant::now();
                }
                idle.as_mut().reset(last_byte + bounds.heartbeat);
            }
        }
    }
    let rest = bounds.rest().map_err(|error| error.into_up())?;
    if !rest.is_empty() {
        session.write_response_body(rest, false).await?;
    }
    session.write_response_body(Bytes::new(), true).await?;
    Ok(End::Complete)
}

impl Bounds<'_> {
    /// What becomes of the next bytes; perhaps nothing yet.
    fn rewritten(&mut self, chunk: Bytes) -> Result<Bytes> {
        let chunk = match &mut self.endpoint {
            None => chunk,
            Some(endpoint) => endpoint.feed(chunk),
        };
        match &mut self.filter {
            None => Ok(chunk),
            Some(filter) => filter.feed(chunk),
        }
    }

    /// What was held back of a stream that has ended.
    fn rest(&mut self) -> Result<Bytes> {
        let rest = self.endpoint.as_mut().map(EndpointEvent::finish).unwrap_or_default();
        match &mut self.filter {
            None => Ok(rest),
            Some(filter) => Ok([filter.feed(rest)?, filter.finish()].concat().into()),
        }
    }
}

async fn cut(session: &mut ServerSession, upstream: &mut Connected) -> Result<End> {
    upstream.session.shutdown().await;
    session.write_response_body(Bytes::new(), true).await?;
    Ok(End::Cut)
}

/// Waits for the caller to leave. What it sends meanwhile belongs to its next request, and Pingora keeps it for that.
pub(super) async fn caller_gone(session: &mut ServerSession) -> Box<Error> {
    loop {
        if let Err(error) = session.read_body_or_idle(true).await {
            return error;
        }
    }
}
