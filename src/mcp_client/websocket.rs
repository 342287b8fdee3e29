//! MCP over WebSocket: one JSON-RPC message a text message, sub-protocol `mcp`.

use super::channel::{Multiplexer, Out, Task};
use super::session::Refused;
use super::wire::{Answer, Wire};
use super::{CallError, Principal};
use crate::connect::{Credential, NoCredential};
use crate::error::Fault;
use crate::http::{FetchError, Handshake, Opened, Receiver, Sender, WebSocket, WebSocketError};
use crate::life::Life;
use crate::upstream::Upstream;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many messages may wait either way.
const QUEUE: usize = 64;
/// How often a silent server is asked for a sign of life.
const PING: Duration = Duration::from_secs(30);
/// How long it may be silent.
const SILENCE: Duration = Duration::from_secs(90);

/// Opens a connection. Another answer than that is given back.
pub(super) async fn open(
    wire: &Arc<Wire>,
    upstream: &Arc<Upstream>,
    principal: &Principal,
    path: &str,
) -> Result<Result<Arc<Multiplexer>, Refused>, CallError> {
    let key = &principal.key;
    let mut credential = wire.connections.credential(key).await?;
    let mut repeated = false;
    loop {
        let answer = match shake_hands(wire, upstream, &credential, path).await? {
            Shaken::Open(socket) => return Ok(Ok(channel(socket, credential.life().clone()))),
            Shaken::Refused(answer) => answer,
        };
        if answer.streamed.status != StatusCode::UNAUTHORIZED {
            return Ok(Err(Refused::of(answer).await));
        }
        let challenge = answer.streamed.headers.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        credential = wire.connections.renew(key, &credential, challenge).await.map_err(CallError::from)?;
        if std::mem::replace(&mut repeated, true) {
            return Err(NoCredential::NeedsConsent.into());
        }
    }
}

enum Shaken {
    Open(WebSocket),
    Refused(Answer),
}

async fn shake_hands(
    wire: &Wire,
    upstream: &Upstream,
    credential: &Credential,
    path: &str,
) -> Result<Shaken, CallError> {
    let mut turn = wire.turn(upstream)?;
    let mut headers = HeaderMap::new();
    if let Some((name, value)) = credential.header() {
        headers.insert(name.clone(), value.clone());
    }
    let url = format!("{}{path}", upstream.authority.origin());
    let max_message = wire.limits.max_message;
    let handshake = Handshake { url: &url, headers, protocol: "mcp", key: wire.random.bytes(), max_message };
    let opened = tokio::time::timeout(PATIENCE, wire.http.websocket(handshake, upstream.allow_private)).await;
    let host = || upstream.authority.host().to_owned();
    let opened = opened.unwrap_or_else(|_| Err(WebSocketError::Fetch(FetchError::Timeout(host()))));
    match opened {
        Ok(opened) => {
            turn.answered();
            Ok(match opened {
                Opened::WebSocket(socket) => Shaken::Open(socket),
                Opened::Refused(streamed) => {
                    Shaken::Refused(Answer { streamed, turn, life: credential.life().clone() })
                }
            })
        }
        Err(WebSocketError::Fetch(error)) => {
            wire.failed(upstream, &error);
            Err(error.into())
        }
        Err(error) => Err(lost(error)),
    }
}

fn channel(socket: WebSocket, life: Arc<Life>) -> Arc<Multiplexer> {
    let (outgoing, messages) = mpsc::channel(QUEUE);
    let (sender, incoming) = mpsc::channel(QUEUE);
    let (ending, ended) = oneshot::channel();
    let (sink, stream) = socket.split();
    let task = Task(tokio::spawn(async move {
        let why = tokio::select! {
            () = life.ended() => CallError::NeedsConsent,
            why = read(stream, sender) => why,
            why = write(sink, messages) => why,
        };
        // Whoever made this channel may be gone.
        drop(ending.send(why));
    }));
    let ended = async { ended.await.unwrap_or_else(|_| lost("it was closed")) };
    Arc::new(Multiplexer::over(Out::Queue(outgoing), incoming, ended, vec![task]))
}

async fn read(mut stream: Receiver, sender: mpsc::Sender<Bytes>) -> CallError {
    loop {
        match tokio::time::timeout(SILENCE, stream.next()).await {
            Ok(Ok(Some(message))) if message.is_empty() => {}
            Ok(Ok(Some(message))) => {
                if sender.send(message).await.is_err() {
                    return lost("nobody reads it");
                }
            }
            Ok(Ok(None)) => return lost("the upstream closed it"),
            Ok(Err(error)) => return lost(error),
            Err(_) => return lost("the upstream gives no sign of life"),
        }
    }
}

async fn write(mut sink: Sender, mut messages: mpsc::Receiver<Bytes>) -> CallError {
    loop {
        let written = match tokio::time::timeout(PING, messages.recv()).await {
            Ok(Some(message)) => sink.text(String::from_utf8_lossy(&message).into_owned()).await,
            Ok(None) => {
                sink.close().await;
                return lost("it was closed");
            }
            Err(_) => sink.ping().await,
        };
        if let Err(error) = written {
            return lost(error);
        }
    }
}

fn lost(why: impl std::fmt::Display) -> CallError {
    Fault::upstream("the connection to the upstream was lost", why).into()
}
