//! The body of an answer on its way to the caller: as it comes, with heartbeats while it does not, and not longer than the
//! grant and the connection live.

use super::deadlines::{Deadlines, Strike};
use super::endpoint::EndpointEvent;
use super::events::EventTracker;
use super::filter::EventFilter;
use super::lifeline::{self, Lifeline};
use super::session::ClientSession;
use super::session::ServerSession;
use super::stopping::StreamEnd;
use bytes::Bytes;
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
    /// What is changed in it.
    pub(super) rewriting: Rewriting<'a>,
}

/// What becomes of the bytes of a stream.
pub(super) struct Rewriting<'a> {
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

/// Passes a stream of events on, with heartbeats. The head has been written already.
///
/// # Errors
/// When either side breaks off. The caller's connection must not be used again then; above all the terminating chunk is
/// not sent, so that a torn answer is seen to be torn.
pub(super) async fn pass_events(
    session: &mut ServerSession,
    source: &mut ClientSession,
    bounds: Bounds<'_>,
) -> Result<End> {
    let Bounds { life, mut stopping, heartbeat, max_duration, mut rewriting } = bounds;
    let mut tracker = EventTracker::default();
    let mut deadlines = Deadlines::start(heartbeat, max_duration);
    let timer = tokio::time::sleep_until(deadlines.due());
    let (mut ending, mut revoked, mut stopped) = (false, false, false);
    // Made once: whoever begins to wait for one of these, and whoever stops waiting, takes a lock.
    let (ended, due) = (life.ended(), stopping.due());
    tokio::pin!(timer, ended, due);
    loop {
        // Asked before each read and waited for after it: an answer that is there already never takes a place among those
        // who wait, which costs a lock.
        if !revoked && life.has_ended() {
            (ending, revoked) = (true, true);
            deadlines.end_by(lifeline::PATIENCE, timer.as_mut());
        }
        if ending && tracker.at_boundary() {
            source.shutdown().await;
            session.write_response_body(Bytes::new(), true).await?;
            return Ok(End::Cut);
        }
        let happening = tokio::select! { biased;
            chunk = source.read_response_body() => Happening::Upstream(chunk),
            gone = caller_gone(session) => Happening::CallerGone(gone),
            () = &mut ended, if !revoked => continue,
            () = &mut due, if !stopped => Happening::Stopping,
            () = &mut timer => Happening::Clock,
        };
        match happening {
            Happening::Upstream(Ok(Some(chunk))) => {
                let chunk = rewriting.rewritten(chunk).map_err(|error| error.into_up())?;
                if !chunk.is_empty() {
                    tracker.feed(&chunk);
                    deadlines.last_byte = Instant::now();
                    life.bounds(session.write_response_body(chunk, false)).await?;
                }
            }
            Happening::Upstream(Ok(None)) => break,
            Happening::Upstream(Err(error)) => return Err(error.into_up()),
            Happening::CallerGone(error) => return Err(error.into_down()),
            Happening::Stopping => (ending, stopped) = (true, true),
            Happening::Clock => {
                match deadlines.strike() {
                    Strike::Beat if tracker.at_boundary() => {
                        life.bounds(session.write_response_body(HEARTBEAT, false)).await?;
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
    let rest = rewriting.rest().map_err(|error| error.into_up())?;
    session.write_response_body(rest, false).await?;
    session.write_response_body(Bytes::new(), true).await?;
    Ok(End::Complete)
}

/// Passes an answer on that is no stream of events: nothing may be put into it, and nothing but its grant ends it early.
///
/// # Errors
/// As [`pass_events`].
pub(super) async fn pass(session: &mut ServerSession, source: &mut ClientSession, life: &Lifeline) -> Result<End> {
    let ended = life.ended();
    tokio::pin!(ended);
    loop {
        let revoked = || Error::e_explain(ErrorType::ConnectionClosed, "what let the request in was revoked");
        if life.has_ended() {
            return revoked();
        }
        let chunk = tokio::select! { biased;
            chunk = source.read_response_body() => chunk.map_err(|error| error.into_up())?,
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

impl Rewriting<'_> {
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

/// Waits for the caller to leave. What it sends meanwhile belongs to its next request, and is kept for that; what
/// was written to it and not sent yet is sent.
pub(super) async fn caller_gone(session: &mut ServerSession) -> Box<Error> {
    loop {
        if let Err(error) = session.read_body_or_leave(false).await {
            return error;
        }
    }
}
