//! An upstream of 2025 whose tools do what a client has to take part in: ask, report, hang.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The server; it stops when this is dropped.
pub struct Asker {
    pub authority: String,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    /// Questions that wait for an answer.
    asked: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    /// Calls of `hang` that have arrived.
    hanging: Mutex<usize>,
    /// Requests that were cancelled.
    cancelled: Mutex<usize>,
}

impl Asker {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Seen::default());
        let router = Router::new().route("/mcp", post(serve)).with_state(seen.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { authority, seen, task }
    }

    /// Waits until so many calls hang.
    pub async fn hangs(&self, number: usize) {
        within(|| *self.seen.hanging.lock() >= number).await;
    }

    /// Waits until so many requests were cancelled.
    pub async fn cancelled(&self, number: usize) {
        within(|| *self.seen.cancelled.lock() >= number).await;
    }

    pub fn cancellations(&self) -> usize {
        *self.seen.cancelled.lock()
    }
}

async fn within(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < crate::raw::PATIENCE, "it did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(State(seen): State<Arc<Seen>>, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap();
    let id = message["id"].clone();
    let Some(method) = message["method"].as_str() else {
        if let Some(asker) = seen.asked.lock().remove(id.as_str().unwrap_or_default()) {
            let _ = asker.send(message);
        }
        return StatusCode::ACCEPTED.into_response();
    };
    match method {
        "initialize" => {
            let result = json!({
                "protocolVersion": "2025-11-25",
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "asker", "version": "1" },
            });
            let mut response = answer(&id, result);
            response.headers_mut().insert("mcp-session-id", "asker".parse().unwrap());
            response
        }
        "tools/list" => {
            let tool = |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });
            let tools = ["ask", "report", "hang"].map(tool);
            answer(&id, json!({ "tools": tools }))
        }
        "tools/call" => call(seen, id, &message["params"]),
        "notifications/cancelled" => {
            *seen.cancelled.lock() += 1;
            StatusCode::ACCEPTED.into_response()
        }
        _ if id.is_null() => StatusCode::ACCEPTED.into_response(),
        _ => {
            let error = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "no" } });
            // What a server of 2025 says to a request of 2026, too.
            let status = if method == "server/discover" { StatusCode::BAD_REQUEST } else { StatusCode::OK };
            (status, [(header::CONTENT_TYPE, "application/json")], error.to_string()).into_response()
        }
    }
}

fn call(seen: Arc<Seen>, id: Value, params: &Value) -> Response {
    match params["name"].as_str().unwrap() {
        "ask" => {
            let (asker, asked) = oneshot::channel();
            let name = format!("question-{id}");
            seen.asked.lock().insert(name.clone(), asker);
            let params = json!({
                "mode": "form", "message": "Who are you?",
                "requestedSchema": { "type": "object", "properties": { "name": { "type": "string" } } },
            });
            let question = json!({ "jsonrpc": "2.0", "id": name, "method": "elicitation/create", "params": params });
            let result = async move {
                let said = asked.await.unwrap();
                let text = said.get("result").or(said.get("error")).unwrap().to_string();
                said_in(&id, &text)
            };
            events(stream::iter([question]).chain(stream::once(result)))
        }
        "report" => {
            let token = params["_meta"]["progressToken"].clone();
            let progress = json!({
                "jsonrpc": "2.0", "method": "notifications/progress",
                "params": { "progressToken": token, "progress": 1, "total": 2 },
            });
            events(stream::iter([progress, said_in(&id, "reported")]))
        }
        _ => {
            *seen.hanging.lock() += 1;
            events(stream::pending())
        }
    }
}

fn said_in(id: &Value, text: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [{ "type": "text", "text": text }] } })
}

fn answer(id: &Value, result: Value) -> Response {
    let body = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn events(messages: impl futures_util::Stream<Item = Value> + Send + 'static) -> Response {
    let events = messages.map(|message| Ok::<_, std::io::Error>(format!("event: message\ndata: {message}\n\n")));
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}
