//! WebSocket: MCP with a JSON-RPC message per text message (subprotocol `mcp`), and a raw echo.

use super::events;
use super::{Caller, Shared};
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::StreamExt;
use serde_json::Value;
use std::sync::Arc;

pub(super) async fn mcp(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.protocols(["mcp"]).on_upgrade(move |socket| async move {
        tokio::select! {
            () = converse(&shared, socket, caller) => {}
            () = shared.stop.clone().requested() => {}
        }
    })
}

/// Sends every text and binary message back as it came.
pub(super) async fn echo(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| async move {
        tokio::select! {
            () = repeat(socket) => {}
            () = shared.stop.clone().requested() => {}
        }
    })
}

async fn converse(shared: &Shared, mut socket: WebSocket, caller: Caller) {
    let mut pushed = shared.listeners.subscribe();
    loop {
        let received = tokio::select! {
            received = socket.recv() => received,
            Ok(notification) = pushed.recv() => {
                if socket.send(text(&notification)).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let message = match received {
            Some(Ok(Message::Text(text))) => serde_json::from_str::<Value>(&text),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            Some(Ok(_)) => continue,
        };
        let Ok(message) = message else { continue };
        shared.recorder.message(message.clone());
        let mut replies = std::pin::pin!(events::replies(message, caller.clone()));
        while let Some(reply) = replies.next().await {
            if socket.send(text(&reply)).await.is_err() {
                return;
            }
        }
    }
}

async fn repeat(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}

fn text(message: &Value) -> Message {
    Message::Text(message.to_string().into())
}
