//! The body of an answer on its way to the caller: as it comes, with heartbeats while it does not, and not longer than the
//! grant and the connection live.

use super::deadlines::{Deadlines, Strike};
use super::endpoint::EndpointEvent;
use super::events::EventTracker;
use super::filter::EventFilter;
use super::lifeline::{self, Lifeline};
use super::source::Source;
use super::stopping::StreamEnd;
use bytes::Bytes;
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType, Result};
use std::time::Duration;
use tokio::time::Instant;

/// A comment (WHATWG HTML §9.2): every parser skips it.
const HEARTBEAT: Bytes = Bytes::from_static(b": keep-alive\n\n");
/// How long an upstream may take to finish an event when the stream has lasted as long as it may.
const EXPIRED_PATIENCE: Duration = Duration::from_secs(10);

/// What bounds a stream.
pub(super) struct Bounds<'a> {
    /// Ends with the grant or the connection.
    pub(super) life: &'a Lifeline,
    /// Ends it when the gateway stops.
    pub(super) stopping: StreamEnd,
    /// An idle event stream gets a comment after this long.
    pub(super) heartbeat: Option<Duration>,
    /// An event stream is ended after this long.
    pub(super) max_duration: Option<Duration>,
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
    /// We ended it at the boundary of an event: something was revoked, the gateway stops, or it has lasted long enough.
    Cut,
}

/// Something that happened to a stream.
enum Happening {
    Upstream(Result<Option<Bytes>>),
    CallerGone(Box<Error>),
    Stopping,
    Clock,
}

/// Passes the body on. The head has been written already.
///
/// # Errors
/// When either side breaks off. The caller's connection must not be used again then; above all the terminating chunk is
/// not sent, so that a torn answer is seen to be torn.
pub(super) async fn pass(session: &mut ServerSession, source: &mut Source, mut bounds: Bounds<'_>) -> Result<End> {
    if !bounds.events {
        return pass_plain(session, source, bounds.life).await;
    }
    let mut tracker = EventTracker::default();
    let mut deadlines = Deadlines::start(bounds.heartbeat, bounds.max_duration);
    let timer = tokio::time::sleep_until(deadlines.due());
    tokio::pin!(timer);
    let (mut ending, mut revoked) = (false, false);
    let ended = bounds.life.ended();
    tokio::pin!(ended);
    loop {
        // Asked before each read and waited for after it: an answer that is there already never takes a place among those
        // who wait, which costs a lock.
        if !revoked && bounds.life.has_ended() {
            (ending, revoked) = (true, true);
            deadlines.end_by(lifeline::PATIENCE, timer.as_mut());
        }
        if ending && tracker.at_boundary() {
            source.shutdown().await;
            session.write_response_body(Bytes::new(), true).await?;
            return Ok(End::Cut);
        }
        let happening = tokio::select! { biased;
            chunk = source.next() => Happening::Upstream(chunk),
            gone = caller_gone(session) => Happening::CallerGone(gone),
            () = &mut ended, if !revoked => continue,
            () = bounds.stopping.due(), if !ending => Happening::Stopping,
            () = &mut timer => Happening::Clock,
        };
        match happening {
            Happening::Upstream(Ok(Some(chunk))) => {
                let chunk = bounds.rewritten(chunk).map_err(|error| error.into_up())?;
                if !chunk.is_empty() {
                    tracker.feed(&chunk);
                    deadlines.last_byte = Instant::now();
                    bounds.life.bounds(session.write_response_body(chunk, false)).await?;
                }
            }
            Happening::Upstream(Ok(None)) => break,
            Happening::Upstream(Err(error)) => return Err(error.into_up()),
            Happening::CallerGone(error) => return Err(error.into_down()),
            Happening::Stopping => ending = true,
            Happening::Clock => {
                match deadlines.strike() {
                    Strike::Beat if tracker.at_boundary() => {
                        bounds.life.bounds(session.write_response_body(HEARTBEAT, false)).await?;
                    }
                    Strike::Beat | Strike::Early => {}
                    Strike::Expired => {
                        ending = true;
                        deadlines.end_by(EXPIRED_PATIENCE, timer.as_mut());
                    }
                    Strike::TooLate => {
                        return Error::e_explain(ErrorType::ConnectionClosed, "an event went on when it had to end");
                    }
                }
                timer.as_mut().reset(deadlines.due());
            }
        }
    }
    let rest = bounds.rest().map_err(|error| error.into_up())?;
    session.write_response_body(rest, false).await?;
    session.write_response_body(Bytes::new(), true).await?;
    Ok(End::Complete)
}

/// An answer that is no stream of events: nothing may be put into it, and nothing but its grant ends it early.
async fn pass_plain(session: &mut ServerSession, source: &mut Source, life: &Lifeline) -> Result<End> {
    let ended = life.ended();
    tokio::pin!(ended);
    loop {
        let revoked = || Error::e_explain(ErrorType::ConnectionClosed, "what let the request in was revoked");
        if life.has_ended() {
            return revoked();
        }
        let chunk = tokio::select! { biased;
            chunk = source.next() => chunk.map_err(|error| error.into_up())?,
            gone = caller_gone(session) => return Err(gone.into_down()),
            () = &mut ended => return revoked(),
        };
        match chunk {
            Some(chunk) => life.bounds(session.write_response_body(chunk, false)).await?,
            None => break,
        }
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

/// Waits for the caller to leave. What it sends meanwhile belongs to its next request, and Pingora keeps it for that.
pub(super) async fn caller_gone(session: &mut ServerSession) -> Box<Error> {
    loop {
        if let Err(error) = session.read_body_or_idle(true).await {
            return error;
        }
    }
}
