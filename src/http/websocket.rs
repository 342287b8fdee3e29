//! WebSocket (RFC 6455) through the outbound client, so that guard, pinned addresses, TLS and authorities are the same.

use super::client::{HttpClient, Reuse};
use super::{FetchError, Streamed};
use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// What a handshake asks for.
pub struct Handshake<'a> {
    /// The address, with the scheme `https` (or `http` for this very machine).
    pub url: &'a str,
    /// Header fields besides those of the handshake itself.
    pub headers: HeaderMap,
    /// `Sec-WebSocket-Protocol`
    pub protocol: &'static str,
    /// 16 random bytes (RFC 6455 §4.1).
    pub key: [u8; 16],
    /// The largest message taken, in bytes.
    pub max_message: usize,
}

/// How a handshake ended.
pub enum Opened {
    /// With a connection.
    WebSocket(WebSocket),
    /// With another answer.
    Refused(Streamed),
}

/// An open connection.
pub struct WebSocket(WebSocketStream<reqwest::Upgraded>);

/// Why there are no more messages.
#[derive(Debug, thiserror::Error)]
pub enum WebSocketError {
    /// Nothing was connected, or no answer came.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The handshake's answer is not one (RFC 6455 §4.1), or a frame is not one.
    #[error("the WebSocket is broken: {0}")]
    Protocol(String),
}

impl HttpClient {
    /// Opens a WebSocket, over a connection of its own. The caller bounds the time.
    ///
    /// # Errors
    /// When nothing is connected, or the answer is none to a handshake.
    pub async fn websocket(&self, handshake: Handshake<'_>, allow_private: bool) -> Result<Opened, WebSocketError> {
        let key = BASE64.encode(&handshake.key);
        let answer = self.stream(request(&handshake, &key)?, allow_private, Reuse::Upgrade).await?;
        if answer.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Opened::Refused(answer));
        }
        check(&answer.headers, &key, handshake.protocol)?;
        let stream = answer.into_answer().upgrade().await;
        let stream = stream.map_err(|error| WebSocketError::Protocol(error.to_string()))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(handshake.max_message))
            .max_frame_size(Some(handshake.max_message))
            .write_buffer_size(0)
            .max_write_buffer_size(handshake.max_message.saturating_mul(2));
        Ok(Opened::WebSocket(WebSocket(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await)))
    }
}

/// The sending half.
pub struct Sender(SplitSink<WebSocketStream<reqwest::Upgraded>, Message>);

/// The receiving half. Pings are answered while somebody receives.
pub struct Receiver(SplitStream<WebSocketStream<reqwest::Upgraded>>);

impl WebSocket {
    /// Both halves.
    pub fn split(self) -> (Sender, Receiver) {
        let (sink, stream) = self.0.split();
        (Sender(sink), Receiver(stream))
    }
}

impl Sender {
    /// Sends a text.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn text(&mut self, text: String) -> Result<(), WebSocketError> {
        self.0.send(Message::text(text)).await.map_err(broken)
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn ping(&mut self) -> Result<(), WebSocketError> {
        self.0.send(Message::Ping(Bytes::new())).await.map_err(broken)
    }

    /// Says goodbye.
    pub async fn close(&mut self) {
        // Whoever is gone already need not be told.
        drop(self.0.send(Message::Close(None)).await);
    }
}

impl Receiver {
    /// The next message, `None` at the end. An empty one is a sign of life.
    ///
    /// # Errors
    /// When the connection is lost or a message is too large.
    pub async fn next(&mut self) -> Result<Option<Bytes>, WebSocketError> {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => Ok(Some(Bytes::from(text))),
            Some(Ok(Message::Binary(bytes))) => Ok(Some(bytes)),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(Some(Bytes::new())),
            Some(Ok(Message::Close(_))) | None => Ok(None),
            Some(Err(Error::ConnectionClosed)) => Ok(None),
            Some(Err(error)) => Err(broken(error)),
        }
    }
}

fn request(handshake: &Handshake<'_>, key: &str) -> Result<Request<Bytes>, WebSocketError> {
    let mut request = Request::get(handshake.url)
        .version(http::Version::HTTP_11)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, handshake.protocol)
        .body(Bytes::new())
        .map_err(|error| WebSocketError::Protocol(error.to_string()))?;
    request.headers_mut().extend(handshake.headers.clone());
    Ok(request)
}

/// RFC 6455 §4.1, the client's checks of the answer. A server that picks no protocol is taken at its word.
fn check(headers: &HeaderMap, key: &str, protocol: &str) -> Result<(), WebSocketError> {
    let says = |name, text: &str| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(text)))
    };
    let accepted = headers.get(header::SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    let wrong = |why: &str| Err(WebSocketError::Protocol(why.to_owned()));
    if !says(header::UPGRADE, "websocket") || !says(header::CONNECTION, "upgrade") {
        return wrong("the server switched to something else");
    }
    if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return wrong("Sec-WebSocket-Accept does not fit");
    }
    match headers.get(header::SEC_WEBSOCKET_PROTOCOL).map(HeaderValue::as_bytes) {
        Some(chosen) if chosen != protocol.as_bytes() => wrong("the server chose another sub-protocol"),
        _ => Ok(()),
    }
}

fn broken(error: Error) -> WebSocketError {
    WebSocketError::Protocol(error.to_string())
}
