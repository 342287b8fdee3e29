//! The body of an answer on its way to the caller: as it comes, with heartbeats while it does not, and not longer than the
//! grant and the connection live.

use super::events::EventTracker;
use super::filter::EventFilter;
use super::lifeline::Lifeline;
use super::source::Source;
use super::stopping::StreamEnd;
use bytes::Bytes;
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType, Result};
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A comment (WHATWG HTML §9.2): every parser skips it.
const HEARTBEAT: Bytes = Bytes::from_static(b": keep-alive\n\n");
/// How long an upstream may take to finish an event after a revocation.
const REVOKED_PATIENCE: Duration = Duration::from_millis(500);
/// The same when the stream has lasted as long as it may.
const EXPIRED_PATIENCE: Duration = Duration::from_secs(10);
/// A timer without a deadline is set to this: longer than any process lives.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

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
    let mut clock = StreamClock::start(&bounds);
    let timer = tokio::time::sleep_until(clock.due());
    tokio::pin!(timer);
    let (mut ending, mut revoked) = (false, false);
    let ended = bounds.life.ended();
    tokio::pin!(ended);
    loop {
        // Asked before each read and waited for after it: an answer that is there already never takes a place among those
        // who wait, which costs a lock.
        if !revoked && bounds.life.has_ended() {
            (ending, revoked) = (true, true);
            clock.end_by(REVOKED_PATIENCE, timer.as_mut());
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
                let chunk = match &mut bounds.filter {
                    None => chunk,
                    Some(filter) => filter.feed(chunk).map_err(|error| error.into_up())?,
                };
                if !chunk.is_empty() {
                    tracker.feed(&chunk);
                    clock.last_byte = Instant::now();
                    session.write_response_body(chunk, false).await?;
                }
            }
            Happening::Upstream(Ok(None)) => break,
            Happening::Upstream(Err(error)) => return Err(error.into_up()),
            Happening::CallerGone(error) => return Err(error.into_down()),
            Happening::Stopping => ending = true,
            Happening::Clock => {
                match clock.strike() {
                    Strike::Beat if tracker.at_boundary() => session.write_response_body(HEARTBEAT, false).await?,
                    Strike::Beat | Strike::Early => {}
                    Strike::Expired => {
                        ending = true;
                        clock.end_by(EXPIRED_PATIENCE, timer.as_mut());
                    }
                    Strike::TooLate => {
                        return Error::e_explain(ErrorType::ConnectionClosed, "an event went on when it had to end");
                    }
                }
                timer.as_mut().reset(clock.due());
            }
        }
    }
    if let Some(filter) = &mut bounds.filter {
        session.write_response_body(filter.finish(), false).await?;
    }
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
            Some(chunk) => session.write_response_body(chunk, false).await?,
            None => break,
        }
    }
    session.write_response_body(Bytes::new(), true).await?;
    Ok(End::Complete)
}

/// The deadlines of a stream of events behind one timer.
struct StreamClock {
    heartbeat: Option<Duration>,
    last_byte: Instant,
    /// When it has lasted as long as it may.
    expires: Option<Instant>,
    /// When the event that is under way must have ended.
    end_by: Option<Instant>,
}

/// Why the timer fired.
enum Strike {
    /// For nothing: bytes have flowed meanwhile.
    Early,
    /// A heartbeat is due.
    Beat,
    /// The stream has lasted as long as it may.
    Expired,
    /// The last event takes too long.
    TooLate,
}

impl StreamClock {
    fn start(bounds: &Bounds<'_>) -> Self {
        let now = Instant::now();
        Self {
            heartbeat: bounds.heartbeat,
            last_byte: now,
            expires: bounds.max_duration.map(|duration| now + duration),
            end_by: None,
        }
    }

    /// When to look again. The timer is not moved at every event: one that is moved a thousand times a second costs more
    /// than one that looks at the clock when it fires.
    fn due(&self) -> Instant {
        let beat = self.heartbeat.map(|heartbeat| self.last_byte + heartbeat);
        [beat, self.expires, self.end_by].into_iter().flatten().min().unwrap_or_else(|| Instant::now() + NEVER)
    }

    fn strike(&mut self) -> Strike {
        let now = Instant::now();
        if self.end_by.is_some_and(|deadline| deadline <= now) {
            return Strike::TooLate;
        }
        if self.expires.take_if(|deadline| *deadline <= now).is_some() {
            return Strike::Expired;
        }
        if self.heartbeat.is_some_and(|heartbeat| self.last_byte + heartbeat <= now) {
            self.last_byte = now;
            return Strike::Beat;
        }
        Strike::Early
    }

    fn end_by(&mut self, patience: Duration, timer: Pin<&mut Sleep>) {
        self.end_by = Some(Instant::now() + patience);
        timer.reset(self.due());
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
