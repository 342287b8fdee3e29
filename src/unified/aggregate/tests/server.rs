//! An MCP server over Streamable HTTP, of either era, that says what a test wants.

use crate::mcp::era::{Era, MODERN, meta};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

/// What a server says, and what was said to it.
pub(super) struct Server {
    pub(super) authority: String,
    era: Era,
    pub(super) tools: Mutex<Vec<Value>>,
    /// `ttlMs` and `cacheScope` of lists.
    pub(super) hints: Mutex<Option<(u64, &'static str)>>,
    /// How many entries a page has.
    pub(super) page: Mutex<usize>,
    /// Lists get no answer.
    pub(super) hangs: AtomicBool,
    /// Requests, with their header fields, in their order.
    seen: Mutex<Vec<(Value, HeaderMap)>>,
    /// Answers to our questions.
    answers: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    questions: AtomicU64,
    told: broadcast::Sender<Value>,
    listeners: Notify,
}

impl Server {
    pub(super) async fn start(era: Era, tools: &[&str]) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tools = tools.iter().map(|name| tool(name)).collect();
        let server = Arc::new(Self {
            authority: listener.local_addr().unwrap().to_string(),
            era,
            tools: Mutex::new(tools),
            hints: Mutex::default(),
            page: Mutex::new(1000),
            hangs: AtomicBool::new(false),
            seen: Mutex::default(),
            answers: Mutex::default(),
            questions: AtomicU64::new(0),
            told: broadcast::Sender::new(64),
            listeners: Notify::new(),
        });
        let router = Router::new().fallback(serve).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    /// The params of all requests of a method.
    pub(super) fn asked(&self, method: &str) -> Vec<Value> {
        let seen = self.seen.lock();
        seen.iter().filter(|(body, _)| body["method"] == method).map(|(body, _)| body["params"].clone()).collect()
    }

    /// The header fields of the last request of a method.
    pub(super) fn headers(&self, method: &str) -> HeaderMap {
        let seen = self.seen.lock();
        seen.iter().rev().find(|(body, _)| body["method"] == method).unwrap().1.clone()
    }

    /// Says something to whoever listens, as soon as anybody does.
    pub(super) async fn says(&self, notification: Value) {
        loop {
            let somebody = self.listeners.notified();
            if self.told.send(notification.clone()).is_ok() {
                return;
            }
            somebody.await;
        }
    }

    fn reply(&self, body: &Value, headers: &HeaderMap) -> Result<Value, Value> {
        let params = &body["params"];
        let modern = self.era == Era::Modern;
        match body["method"].as_str().unwrap_or_default() {
            "server/discover" if modern => Ok(json!({
                "supportedVersions": [MODERN], "capabilities": capabilities(), "instructions": "modern instructions",
                "_meta": { meta::SERVER_INFO: { "name": "modern", "version": "1" } },
            })),
            "initialize" if !modern => Ok(json!({
                "protocolVersion": "2025-11-25", "capabilities": capabilities(),
                "serverInfo": { "name": "legacy", "version": "1" }, "instructions": "legacy instructions",
            })),
            "tools/list" => Ok(self.listed("tools", self.tools_for(headers), params)),
            "prompts/list" => Ok(self.listed("prompts", vec![json!({ "name": "greet", "x-unknown": 1 })], params)),
            "resources/list" => Ok(self.listed("resources", vec![json!({ "uri": "file:///a", "name": "a" })], params)),
            "resources/templates/list" => {
                Ok(self.listed("resourceTemplates", vec![json!({ "uriTemplate": "file:///{x}", "name": "x" })], params))
            }
            "resources/read" if params["uri"] == "file:///a" => {
                Ok(json!({ "contents": [{ "uri": "file:///a", "text": "a" }], "ttlMs": 5, "cacheScope": "public" }))
            }
            "resources/read" => {
                let code = if modern { -32602 } else { -32002 };
                Err(json!({ "code": code, "message": "no such thing", "data": { "uri": params["uri"] } }))
            }
            "prompts/get" | "completion/complete" | "resources/subscribe" | "logging/setLevel" => {
                Ok(json!({ "got": params }))
            }
            "tasks/get" => Ok(json!({ "taskId": params["taskId"], "status": "working" })),
            "tasks/list" => Ok(json!({ "tasks": [{ "taskId": "t1", "status": "working" }] })),
            "tools/call" => match params["name"].as_str().unwrap_or_default() {
                "task" => Ok(json!({ "task": { "taskId": "t1", "status": "working" } })),
                "broken" => Err(json!({ "code": -32001, "message": "broken", "data": [1] })),
                "ask" if modern => Ok(match params.get("inputResponses") {
                    Some(answers) => json!({ "content": [], "answers": answers, "state": params["requestState"] }),
                    None => json!({
                        "resultType": "input_required", "requestState": "sealed",
                        "inputRequests": { "q": { "method": "elicitation/create", "params": { "message": "who?" } } },
                    }),
                }),
                _ => Ok(json!({
                    "content": [{ "type": "resource_link", "uri": "file:///a", "name": "a" }], "got": params, "x-unknown": [null],
                })),
            },
            method => Err(json!({ "code": -32601, "message": format!("{method}?") })),
        }
    }

    /// What is there for this key, where servers have keys.
    fn tools_for(&self, headers: &HeaderMap) -> Vec<Value> {
        let own = headers.get("x-api-key").map(|key| tool(&format!("of_{}", key.to_str().unwrap())));
        self.tools.lock().iter().cloned().chain(own).collect()
    }

    fn listed(&self, kind: &str, entries: Vec<Value>, params: &Value) -> Value {
        let start: usize = params["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
        let size = *self.page.lock();
        let page: Vec<&Value> = entries.iter().skip(start).take(size).collect();
        let mut result = json!({ kind: page });
        if start + size < entries.len() {
            result["nextCursor"] = (start + size).to_string().into();
        }
        if let Some((ttl, scope)) = *self.hints.lock() {
            (result["ttlMs"], result["cacheScope"]) = (ttl.into(), scope.into());
        }
        result
    }
}

pub(super) fn tool(name: &str) -> Value {
    json!({ "name": name, "description": format!("does {name}"), "inputSchema": { "type": "object" }, "x-unknown": { "a": [1.0] } })
}

fn capabilities() -> Value {
    json!({
        "tools": { "listChanged": true }, "prompts": {}, "resources": { "subscribe": true, "listChanged": true },
        "logging": {}, "completions": {}, "tasks": { "list": {} },
    })
}

async fn serve(State(server): State<Arc<Server>>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    if method == Method::GET {
        let (send, receive) = mpsc::channel::<Result<String, Infallible>>(64);
        tokio::spawn(forward(server, send, Vec::new()));
        return events(receive);
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let id = body["id"].clone();
    if body.get("method").is_none() {
        let waiting = server.answers.lock().remove(id.as_str().unwrap_or_default());
        waiting.unwrap().send(body).unwrap();
        return StatusCode::ACCEPTED.into_response();
    }
    server.seen.lock().push((body.clone(), headers.clone()));
    if id.is_null() {
        return StatusCode::ACCEPTED.into_response();
    }
    if server.hangs.load(Ordering::Relaxed) && body["method"].as_str().unwrap_or_default().ends_with("/list") {
        std::future::pending::<()>().await;
    }
    if body["method"] == "subscriptions/listen" {
        let (send, receive) = mpsc::channel(64);
        let method = "notifications/subscriptions/acknowledged";
        let first = json!({ "jsonrpc": "2.0", "method": method, "params": { "notifications": body["params"]["notifications"] } });
        tokio::spawn(forward(server, send, vec![first]));
        return events(receive);
    }
    let tool = body["params"]["name"].as_str().unwrap_or_default();
    if body["method"] == "tools/call" && (tool == "progress" || (tool == "ask" && server.era == Era::Legacy)) {
        return streamed(server, body);
    }
    let mut reply = json!({ "jsonrpc": "2.0", "id": id });
    match server.reply(&body, &headers) {
        Ok(result) => reply["result"] = result,
        Err(error) => reply["error"] = error,
    }
    let is_unknown = reply["error"]["code"] == -32601;
    let status = if is_unknown && server.era == Era::Legacy { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], reply.to_string()).into_response();
    if body["method"] == "initialize" {
        response.headers_mut().insert("mcp-session-id", "a-session".parse().unwrap());
    }
    response
}

/// A call that says or asks something before its answer.
fn streamed(server: Arc<Server>, body: Value) -> Response {
    let (send, receive) = mpsc::channel::<Result<String, Infallible>>(8);
    tokio::spawn(async move {
        let params = &body["params"];
        let mut result = json!({ "content": [] });
        if params["name"] == "progress" {
            let token = &params["_meta"]["progressToken"];
            let params = json!({ "progressToken": token, "progress": 1 });
            let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params });
            let _ = send.send(Ok(format!("data: {progress}\n\n"))).await;
        } else {
            let id = format!("q{}", server.questions.fetch_add(1, Ordering::Relaxed));
            let (answered, answer) = oneshot::channel();
            server.answers.lock().insert(id.clone(), answered);
            let params = json!({ "message": "who?", "requestedSchema": { "type": "object" } });
            let question = json!({ "jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params });
            let _ = send.send(Ok(format!("data: {question}\n\n"))).await;
            result["answer"] = answer.await.unwrap()["result"].clone();
        }
        let reply = json!({ "jsonrpc": "2.0", "id": body["id"], "result": result });
        let _ = send.send(Ok(format!("data: {reply}\n\n"))).await;
    });
    events(receive)
}

async fn forward(server: Arc<Server>, send: mpsc::Sender<Result<String, Infallible>>, first: Vec<Value>) {
    let mut told = server.told.subscribe();
    server.listeners.notify_waiters();
    for message in first {
        let _ = send.send(Ok(format!("data: {message}\n\n"))).await;
    }
    loop {
        tokio::select! {
            message = told.recv() => {
                let Ok(message) = message else { return };
                if send.send(Ok(format!("data: {message}\n\n"))).await.is_err() { return }
            }
            () = send.closed() => return,
        }
    }
}

fn events(receive: mpsc::Receiver<Result<String, Infallible>>) -> Response {
    let stream = futures_util::stream::unfold(receive, |mut receive| async move {
        let next = receive.recv().await?;
        Some((next, receive))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream)).into_response()
}

/// One that nobody started.
pub(super) fn absent(authority: &str) -> Server {
    Server {
        authority: authority.to_owned(),
        era: Era::Legacy,
        tools: Mutex::default(),
        hints: Mutex::default(),
        page: Mutex::new(1),
        hangs: AtomicBool::new(false),
        seen: Mutex::default(),
        answers: Mutex::default(),
        questions: AtomicU64::new(0),
        told: broadcast::Sender::new(1),
        listeners: Notify::new(),
    }
}
