//! The body of an answer on its way to the caller: as it comes, with heartbeats while it does not, and not longer than the
//! grant lives.

use super::endpoint::EndpointEvent;
use super::events::EventTracker;
use super::peer::Connected;
use crate::tokens::GrantLife;
use bytes::Bytes;
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType, Result};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A comment (WHATWG HTML §9.2): every parser skips it.
const HEARTBEAT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// What bounds a stream.
pub(super) struct Bounds<'a> {
    /// Ends with the grant.
    pub(super) life: &'a GrantLife,
    /// Turns true when the gateway stops.
    pub(super) stopping: watch::Receiver<bool>,
    /// An idle event stream gets a comment after this long.
    pub(super) heartbeat: Duration,
    /// Whether the answer is a stream of events.
    pub(super) events: bool,
    /// Keeps what a stream of the transport of 2024 begins with on our hostname.
    pub(super) endpoint: Option<EndpointEvent<'a>>,
}

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The upstream finished its answer; its connection can be used again.
    Complete,
    /// We ended it at the boundary of an event: the grant was revoked, or the gateway stops.
    Cut,
}

/// Something that happened to a stream.
enum Happening {
    Upstream(Result<Option<Bytes>>),
    CallerGone(Box<Error>),
    Revoked,
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
    let mut ending = false;
    let ended = bounds.life.ended();
    tokio::pin!(ended);
    if bounds.events {
        upstream.session.set_read_timeout(None);
    }
    loop {
        let happening = tokio::select! { biased;
            () = &mut ended => Happening::Revoked,
            chunk = upstream.session.read_response_body() => Happening::Upstream(chunk),
            gone = caller_gone(session) => Happening::CallerGone(gone),
            _ = bounds.stopping.wait_for(|stopping| *stopping), if bounds.events && !ending => Happening::Stopping,
            () = &mut idle, if bounds.events => Happening::Idle,
        };
        match happening {
            Happening::Upstream(Ok(Some(chunk))) => {
                let chunk = match &mut bounds.endpoint {
                    None => chunk,
                    Some(endpoint) => endpoint.feed(chunk),
                };
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
            Happening::Revoked if bounds.events && tracker.at_boundary() => return cut(session, upstream).await,
            Happening::Revoked => return Error::e_explain(ErrorType::ConnectionClosed, "the grant was revoked"),
            Happening::Stopping => ending = true,
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
        if ending && tracker.at_boundary() {
            return cut(session, upstream).await;
        }
    }
    let rest = bounds.endpoint.as_mut().map(EndpointEvent::finish).unwrap_or_default();
    if !rest.is_empty() {
        session.write_response_body(rest, false).await?;
    }
    session.write_response_body(Bytes::new(), true).await?;
    Ok(End::Complete)
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
