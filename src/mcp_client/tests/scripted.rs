//! An upstream that answers as a test wants.

use super::*;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;

/// What arrived.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) http: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    /// The message; null where there was none.
    pub(super) message: Value,
}

impl Asked {
    pub(super) fn method(&self) -> &str {
        self.message["method"].as_str().unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Script = Arc<dyn Fn(&Asked) -> Option<Response> + Send + Sync>;

/// A running one.
#[derive(Clone)]
pub(super) struct Scripted {
    pub(super) authority: String,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// `script` answers what it wants to; the rest is answered as a legacy server with the session `s1` does.
    pub(super) async fn start(script: impl Fn(&Asked) -> Option<Response> + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind(loopback()).await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let scripted = Self { authority, seen: Arc::default() };
        let (script, seen): (Script, _) = (Arc::new(script), scripted.seen.clone());
        let answer = move |http: Method, uri: http::Uri, headers: HeaderMap, body: Bytes| {
            let message = serde_json::from_slice(&body).unwrap_or_default();
            let asked = Asked { http, path: uri.path().to_owned(), headers, message };
            seen.lock().push(asked.clone());
            let answer = script(&asked).unwrap_or_else(|| usual(&asked));
            async move { answer }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        scripted
    }

    /// Everything that arrived with this method.
    pub(super) fn asked(&self, method: &str) -> Vec<Asked> {
        self.seen.lock().iter().filter(|asked| asked.method() == method).cloned().collect()
    }

    pub(super) fn all(&self) -> Vec<Asked> {
        self.seen.lock().clone()
    }

    /// Waits until as many have arrived.
    pub(super) async fn arrived(&self, method: &str, count: usize) -> Vec<Asked> {
        let enough = async {
            while self.asked(method).len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), enough).await.expect(method);
        self.asked(method)
    }
}

fn usual(asked: &Asked) -> Response {
    if asked.http == Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if asked.http == Method::DELETE {
        return StatusCode::NO_CONTENT.into_response();
    }
    match asked.method() {
        "server/discover" => (StatusCode::BAD_REQUEST, "no session").into_response(),
        "initialize" => initialized("s1"),
        _ if asked.message.get("id").is_none() || asked.message.get("method").is_none() => {
            StatusCode::ACCEPTED.into_response()
        }
        method => result(asked, json!({ "said": method })),
    }
}

/// The answer to `initialize`, with this session.
pub(super) fn initialized(session: &'static str) -> Response {
    let capabilities =
        json!({ "tools": { "listChanged": true }, "resources": { "subscribe": true, "listChanged": true } });
    let result = json!({
        "protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": { "name": "scripted", "version": "1" },
    });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "result": result });
    ([("mcp-session-id", session)], axum::Json(body)).into_response()
}

pub(super) fn result(asked: &Asked, result: Value) -> Response {
    axum::Json(json!({ "jsonrpc": "2.0", "id": asked.message["id"], "result": result })).into_response()
}

pub(super) fn event_stream(body: impl Into<Body>) -> Response {
    ([("content-type", "text/event-stream")], body.into()).into_response()
}

pub(super) fn events_of(messages: &[Value]) -> Response {
    event_stream(messages.iter().map(|message| format!("data: {message}\n\n")).collect::<String>())
}

/// A stream that says this and stays open.
pub(super) fn open_stream(beginning: String) -> Response {
    use futures_util::{StreamExt, stream};
    let first = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(beginning))]);
    event_stream(Body::from_stream(first.chain(stream::pending())))
}
