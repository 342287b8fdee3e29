//! WebSocket (RFC 6455): after the handshake two streams of frames, with our own Ping and Close between them.

use super::frames::FrameTracker;
use super::lifeline::Lifeline;
use super::session::{ClientSession, ServerSession};
use super::stopping::StreamEnd;
use bytes::Bytes;
use pingora::{Error, ErrorType, Result};
use std::time::Duration;
use tokio::time::Instant;

/// An unmasked Ping without payload, as a server sends it (§5.5.2). The Pong travels on to the upstream, which §5.5.3
/// allows: it is a unidirectional heartbeat there.
const PING: Bytes = Bytes::from_static(&[0x89, 0x00]);
/// Close with status 1008, policy violation (§7.4.1): the grant or the connection was revoked.
const CLOSE_POLICY: Bytes = Bytes::from_static(&[0x88, 0x02, 0x03, 0xf0]);
/// Close with status 1001, going away: the gateway stops, or the connection has lasted as long as it may.
const CLOSE_AWAY: Bytes = Bytes::from_static(&[0x88, 0x02, 0x03, 0xe9]);
/// How long the upstream may take to finish a frame, and then the caller to answer a Close.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);
/// After this many heartbeats without a byte from the caller, it is gone.
const MISSED_HEARTBEATS: u32 = 3;

/// A timer without a deadline is set to this: longer than any process lives.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What bounds a WebSocket.
pub(super) struct Bounds<'a> {
    /// Ends with the grant or the connection.
    pub(super) life: &'a Lifeline,
    /// Ends it when the gateway stops.
    pub(super) stopping: StreamEnd,
    /// An idle connection gets a Ping after this long.
    pub(super) heartbeat: Option<Duration>,
    /// A connection is closed after this long.
    pub(super) max_duration: Option<Duration>,
    /// An upstream that takes no byte for this long is gone. (The caller's session knows for itself.)
    pub(super) write_timeout: Duration,
}

enum Happening {
    Upstream(Result<Option<Bytes>>),
    Caller(Result<Option<Bytes>>),
    Ends(Bytes),
    Idle,
}

/// Passes frames in both directions until one side ends. The head of the 101 has been written to the caller.
///
/// # Errors
/// When a side breaks off.
pub(super) async fn pass(session: &mut ServerSession, upstream: &mut ClientSession, bounds: Bounds<'_>) -> Result<()> {
    let Bounds { life, mut stopping, heartbeat, max_duration, write_timeout } = bounds;
    session.streams();
    upstream.streams();
    upstream.set_write_timeout(write_timeout);
    let mut tracker = FrameTracker::default();
    let (mut last_sent, mut last_heard) = (Instant::now(), Instant::now());
    let beat = heartbeat.unwrap_or(NEVER);
    let idle = tokio::time::sleep(beat);
    tokio::pin!(idle);
    let mut closing: Option<Bytes> = None;
    let (ended, due) = (life.ended(), stopping.due());
    let expired = tokio::time::sleep(max_duration.unwrap_or(NEVER));
    tokio::pin!(ended, due, expired);
    loop {
        if let Some(close) = closing.take_if(|_| tracker.at_boundary()) {
            return say_goodbye(session, upstream, close).await;
        }
        let happening = tokio::select! { biased;
            () = &mut ended, if closing.is_none() => Happening::Ends(CLOSE_POLICY),
            () = &mut due, if closing.is_none() => Happening::Ends(CLOSE_AWAY),
            bytes = upstream.read_response_body() => Happening::Upstream(bytes),
            bytes = session.read_body_or_leave(true) => Happening::Caller(bytes),
            () = &mut expired, if closing.is_none() => Happening::Ends(CLOSE_AWAY),
            () = &mut idle => Happening::Idle,
        };
        match happening {
            Happening::Upstream(bytes) => match bytes.map_err(|error| error.into_up())? {
                Some(bytes) => {
                    tracker.feed(&bytes);
                    last_sent = Instant::now();
                    life.bounds(session.write_response_body(bytes, false)).await?;
                }
                None => break,
            },
            Happening::Caller(bytes) => match bytes.map_err(|error| error.into_down())? {
                Some(bytes) => {
                    last_heard = Instant::now();
                    life.bounds(upstream.write_request_body(bytes)).await?;
                }
                None => break,
            },
            Happening::Ends(close) => {
                closing = Some(close);
                idle.as_mut().reset(Instant::now() + CLOSE_PATIENCE);
            }
            Happening::Idle if closing.is_some() => {
                return Error::e_explain(ErrorType::ConnectionClosed, "a frame went on when the connection had to end");
            }
            Happening::Idle => {
                let now = Instant::now();
                if now - last_heard > beat * (MISSED_HEARTBEATS + 1) {
                    return Error::e_explain(ErrorType::ConnectionClosed, "the caller answers no heartbeat");
                }
                if now - last_heard.min(last_sent) >= beat && tracker.at_boundary() {
                    life.bounds(session.write_response_body(PING, false)).await?;
                    last_sent = now;
                }
                idle.as_mut().reset(now + beat);
            }
        }
    }
    upstream.shutdown().await;
    session.write_response_body(Bytes::new(), true).await
}

/// Sends a Close, ends the upstream, and waits a moment for the caller's Close: a connection that is dropped with unread
/// bytes is reset, and the reason for the Close is lost with it.
async fn say_goodbye(session: &mut ServerSession, upstream: &mut ClientSession, close: Bytes) -> Result<()> {
    session.write_response_body(close, false).await?;
    session.flush().await?;
    upstream.shutdown().await;
    let answered = async { while let Ok(Some(_)) = session.read_body_or_leave(true).await {} };
    let _ = tokio::time::timeout(CLOSE_PATIENCE, answered).await;
    session.write_response_body(Bytes::new(), true).await
}
