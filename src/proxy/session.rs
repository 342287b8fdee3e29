//! A request and its answer in whichever version of HTTP they travel: our own HTTP/1.1, or Pingora's HTTP/2. The futures of the latter
//! are large and on the heap: a connection of the former has no room for them.

use super::headers::{CallerHead, UpstreamHead};
use super::http1::{self, Begins, Framing, Line, field};
use super::progress::Progress;
use bytes::Bytes;
use http::header::AsHeaderName;
use http::{HeaderValue, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession as PingoraSession;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::{Error, ErrorType, Result};
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The caller's side.
pub(super) enum ServerSession {
    /// A connection with one request after the other.
    Http1(Box<http1::ServerSession>),
    /// One stream of a connection.
    Http2(Box<PingoraSession>),
}

impl ServerSession {
    /// The head of the request.
    pub(super) fn req_header(&self) -> &RequestHeader {
        match self {
            Self::Http1(session) => session.head(),
            Self::Http2(session) => session.req_header(),
        }
    }

    /// The first field of that name.
    pub(super) fn get_header(&self, name: impl AsHeaderName) -> Option<&HeaderValue> {
        self.req_header().headers.get(name)
    }

    /// Who is at the other end of the connection.
    pub(super) fn peer(&self) -> IpAddr {
        let peer = match self {
            Self::Http1(session) => Some(session.client().ip()),
            Self::Http2(session) => session.client_addr().and_then(|peer| peer.as_inet()).map(|peer| peer.ip()),
        };
        peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// How whoever accepted the connection hears of its requests; HTTP/2 only.
    pub(super) fn progress(&self) -> Option<Progress> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(session) => Progress::of(session),
        }
    }

    /// Whether the caller begins a WebSocket over HTTP/1.1 (RFC 6455 §4.1).
    pub(super) fn is_upgrade_req(&self) -> bool {
        match self {
            Self::Http1(session) => session.asks_for_upgrade(),
            Self::Http2(_) => false,
        }
    }

    /// Whether the request has no body, or all of it was read.
    pub(super) fn is_body_done(&mut self) -> bool {
        match self {
            Self::Http1(session) => session.is_body_done(),
            Self::Http2(session) => session.is_body_done(),
        }
    }

    /// The next bytes of the request, `None` at its end.
    ///
    /// # Errors
    /// When the caller breaks off, or does not keep to its framing.
    pub(super) async fn read_request_body(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Http1(session) => session.read_body().await,
            Self::Http2(session) => Box::pin(session.read_request_body()).await,
        }
    }

    /// Reads the rest of the request away, for as long as that takes a moment.
    ///
    /// # Errors
    /// When the caller breaks off or is slow.
    pub(super) async fn drain_request_body(&mut self) -> Result<()> {
        match self {
            Self::Http1(session) => session.drain().await,
            Self::Http2(session) => Box::pin(session.drain_request_body()).await,
        }
    }

    /// The next bytes of the request if they are wanted, otherwise waits for the caller to leave. What was written and not sent yet
    /// is sent meanwhile.
    ///
    /// # Errors
    /// When the caller has left.
    pub(super) async fn read_body_or_leave(&mut self, wants_body: bool) -> Result<Option<Bytes>> {
        match self {
            Self::Http1(session) => session.read_body_or_leave(wants_body).await,
            Self::Http2(session) => Box::pin(session.read_body_or_idle(!wants_body)).await,
        }
    }

    /// No request comes after this one.
    pub(super) fn close_after(&mut self) {
        if let Self::Http1(session) = self {
            session.close_after();
        }
    }

    /// Lets a caller go on that waits for permission to send its body (RFC 9110 §10.1.1).
    ///
    /// # Errors
    /// When the caller is gone.
    pub(super) async fn write_continue_response(&mut self) -> Result<()> {
        match self {
            Self::Http1(session) => session.write_continue().await,
            Self::Http2(session) => Box::pin(session.write_continue_response()).await,
        }
    }

    /// Begins the answer. Over HTTP/1.1 its head leaves with what follows: at the latest with the end of the answer, by
    /// [`ServerSession::flush`], or while [`ServerSession::read_body_or_leave`] waits.
    ///
    /// # Errors
    /// When the caller is gone.
    pub(super) async fn write_response_header(&mut self, head: Box<ResponseHeader>) -> Result<()> {
        match self {
            Self::Http1(session) => {
                session.write_head(&head);
                Ok(())
            }
            Self::Http2(session) => Box::pin(session.write_response_header(head)).await,
        }
    }

    /// The same with an upstream's answer.
    ///
    /// # Errors
    /// As [`ServerSession::write_response_header`].
    pub(super) async fn write_answer(&mut self, head: &CallerHead<'_>) -> Result<()> {
        match self {
            Self::Http1(session) => {
                let begins =
                    Begins { status: head.status(), body: head.body(), dated: head.is_dated(), size: head.size() };
                session.begin(begins, |out| head.each(|name, value| field(out, name, value)));
                Ok(())
            }
            Self::Http2(session) => Box::pin(session.write_response_header(head.to_header()?)).await,
        }
    }

    /// Goes on with the answer; with its end, everything is sent.
    ///
    /// # Errors
    /// When the caller is gone or takes nothing, or this is more than was announced.
    pub(super) async fn write_response_body(&mut self, bytes: Bytes, end: bool) -> Result<()> {
        match self {
            Self::Http1(session) => session.write_body(bytes, end).await,
            Self::Http2(session) => Box::pin(session.write_response_body(bytes, end)).await,
        }
    }

    /// Sends what was written.
    ///
    /// # Errors
    /// When the caller is gone or takes nothing.
    pub(super) async fn flush(&mut self) -> Result<()> {
        match self {
            Self::Http1(session) => session.flush().await,
            Self::Http2(_) => Ok(()),
        }
    }

    /// The status that the answer has begun with.
    pub(super) fn status_written(&self) -> Option<StatusCode> {
        match self {
            Self::Http1(session) => session.status(),
            Self::Http2(session) => session.response_written().map(|head| head.status),
        }
    }

    /// What follows may be quiet for hours: nothing is kept for it.
    pub(super) fn streams(&mut self) {
        match self {
            Self::Http1(session) => session.streams(),
            Self::Http2(session) => session.set_read_timeout(None),
        }
    }

    /// Closes the connection, or resets the stream.
    pub(super) async fn shutdown(&mut self) {
        match self {
            Self::Http1(session) => session.close().await,
            Self::Http2(session) => Box::pin(session.shutdown()).await,
        }
    }
}

/// The upstream's side.
pub(super) enum ClientSession {
    /// A connection of our own.
    Http1(Box<http1::ClientSession>),
    /// One stream of a connection that Pingora keeps.
    Http2(Box<Http2Session>),
}

impl ClientSession {
    /// The head of the answer, once it was read.
    pub(super) fn response_header(&self) -> Option<&ResponseHeader> {
        match self {
            Self::Http1(session) => session.head(),
            Self::Http2(session) => session.response_header(),
        }
    }

    /// Writes the head of a request. It is sent with what follows.
    ///
    /// # Errors
    /// When it cannot be a head, or the connection has ended.
    pub(super) fn write_request_header(&mut self, head: &UpstreamHead<'_>, timeout: Duration) -> Result<()> {
        match self {
            Self::Http1(session) => {
                let line =
                    Line { method: head.method(), target: head.target(), framing: head.framing, size: head.size() };
                session.write_head(line, timeout, |out| head.each(|name, value| field(out, name, value)));
                Ok(())
            }
            Self::Http2(session) => {
                session.write_timeout = Some(timeout);
                let bodiless = matches!(head.framing, Framing::None | Framing::Length(0));
                session.write_request_header(Box::new(head.to_header()?), bodiless)
            }
        }
    }

    /// Sends the head, and with it a body that is known.
    ///
    /// # Errors
    /// When the upstream is gone, or takes nothing.
    pub(super) async fn send_whole(&mut self, body: &[u8]) -> Result<()> {
        match self {
            Self::Http1(session) => session.send_whole(body).await,
            Self::Http2(_) if body.is_empty() => Ok(()),
            Self::Http2(session) => Box::pin(session.write_request_body(Bytes::copy_from_slice(body), true)).await,
        }
    }

    /// Sends the head of a request whose body follows.
    ///
    /// # Errors
    /// As [`ClientSession::send_whole`].
    pub(super) async fn send_head(&mut self) -> Result<()> {
        match self {
            Self::Http1(session) => session.send(Bytes::new()).await,
            Self::Http2(_) => Ok(()),
        }
    }

    /// Reads the head of the final answer within `timeout`; from then on, each piece of its body may take as long.
    ///
    /// # Errors
    /// When the upstream gives none.
    pub(super) async fn read_response_header(&mut self, timeout: Duration) -> Result<()> {
        match self {
            Self::Http1(session) => session.read_head(timeout).await,
            Self::Http2(session) => {
                session.read_timeout = Some(timeout);
                let late = |_| Error::explain(ErrorType::ReadTimedout, "the head of an answer");
                Box::pin(tokio::time::timeout(timeout, session.read_response_header())).await.map_err(late)?
            }
        }
    }

    /// Sends the next bytes of the request's body.
    ///
    /// # Errors
    /// When the upstream takes no more.
    pub(super) async fn write_request_body(&mut self, bytes: Bytes) -> Result<()> {
        match self {
            Self::Http1(session) => session.send(bytes).await,
            Self::Http2(session) => Box::pin(session.write_request_body(bytes, false)).await,
        }
    }

    /// Says that the request is complete.
    ///
    /// # Errors
    /// When the upstream takes no more.
    pub(super) async fn finish_request_body(&mut self) -> Result<()> {
        match self {
            Self::Http1(session) => session.send_end().await,
            Self::Http2(session) => session.finish_request_body(),
        }
    }

    /// The next bytes of the answer, `None` at its end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the upstream breaks off, or does not keep to its framing.
    pub(super) async fn read_response_body(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Http1(session) => poll_fn(|context| session.poll_body(context)).await,
            Self::Http2(session) => Box::pin(session.read_response_body()).await,
        }
    }

    /// What follows may be quiet for hours: nothing is kept for it, and no time-out waits.
    pub(super) fn streams(&mut self) {
        match self {
            Self::Http1(session) => session.streams(),
            Self::Http2(session) => session.read_timeout = None,
        }
    }

    /// How long a write may take from now on.
    pub(super) fn set_write_timeout(&mut self, timeout: Duration) {
        match self {
            Self::Http1(session) => session.set_write_timeout(timeout),
            Self::Http2(session) => session.write_timeout = Some(timeout),
        }
    }

    /// Closes the connection, or ends the stream.
    pub(super) async fn shutdown(&mut self) {
        match self {
            Self::Http1(session) => session.close().await,
            Self::Http2(session) => session.shutdown(),
        }
    }
}
