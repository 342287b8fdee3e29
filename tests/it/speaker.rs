//! An MCP client of either era, made of HTTP requests: it says what a test tells it to, and shows what came back.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use portcullis::mcp::era::{Era, MODERN, meta};
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;

/// Nothing that is not told to hang takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
const LEGACY: &str = "2025-11-25";

/// A pool of connections that many speakers may share.
pub type Pool = Client<HttpConnector, Full<Bytes>>;

/// A client that has introduced itself.
pub struct Speaker {
    pool: Pool,
    /// Where it connects, and what it says in `Host`.
    address: String,
    host: String,
    bearer: String,
    era: Era,
    session: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub struct Heard {
    pub status: StatusCode,
    /// Every message, the answer last.
    pub messages: Vec<Value>,
}

pub fn pool() -> Pool {
    Client::builder(TokioExecutor::new()).build_http()
}

impl Speaker {
    /// Connects to an MCP URL, whose host is taken to be this machine.
    pub async fn new(pool: &Pool, url: &str, token: &str, era: Era) -> Self {
        let url = Url::parse(url).unwrap();
        let port = url.port().unwrap();
        let mut speaker = Self {
            pool: pool.clone(),
            address: format!("http://127.0.0.1:{port}{}", url.path()),
            host: format!("{}:{port}", url.host_str().unwrap()),
            bearer: format!("Bearer {token}"),
            era,
            session: None,
        };
        if era == Era::Legacy {
            speaker.initialize().await;
        }
        speaker
    }

    /// The same client in the same session, with connections of its own.
    pub fn through(&self, pool: &Pool) -> Self {
        let Self { address, host, bearer, era, session, .. } = self;
        let (address, host, bearer) = (address.clone(), host.clone(), bearer.clone());
        Self { pool: pool.clone(), address, host, bearer, era: *era, session: session.clone() }
    }

    async fn initialize(&mut self) {
        let params = json!({
            "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "speaker", "version": "1"},
        });
        let request = self.request(&message(json!(0), "initialize", params), &[]);
        let answer = self.pool.request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        self.session = answer.headers().get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
        answer.into_body().collect().await.unwrap();
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let heard = self.send(&initialized, &[]).await;
        assert_eq!(heard.status, StatusCode::ACCEPTED, "{heard:?}");
    }

    /// One request: the message with its result or error, and what came before it.
    pub async fn ask(&self, id: u64, method: &str, params: Value) -> Heard {
        self.ask_with(id, method, params, &[]).await
    }

    /// The same with arguments that are mirrored in header fields.
    pub async fn ask_with(&self, id: u64, method: &str, mut params: Value, mirrored: &[(&str, &str)]) -> Heard {
        if self.era == Era::Modern {
            params["_meta"] = json!({
                meta::VERSION: MODERN, meta::CLIENT_CAPABILITIES: {},
                meta::CLIENT_INFO: {"name": "speaker", "version": "1"},
            });
        }
        let heard = self.send(&message(json!(id), method, params), mirrored).await;
        let last = heard.messages.last().unwrap_or_else(|| panic!("{method}: no answer: {heard:?}"));
        assert_eq!(last["id"], id, "{method}: {heard:?}");
        heard
    }

    /// Calls a tool; the result.
    pub async fn call(&self, id: u64, name: &str, arguments: Value) -> Value {
        let heard = self.ask(id, "tools/call", json!({"name": name, "arguments": arguments})).await;
        heard.result(name)
    }

    /// The names of all tools.
    pub async fn tools(&self) -> Vec<String> {
        let (mut names, mut params) = (Vec::new(), json!({}));
        loop {
            let page = self.ask(1, "tools/list", params).await.result("tools/list");
            names
                .extend(page["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
            match page.get("nextCursor") {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => return names,
            }
        }
    }

    async fn send(&self, message: &Value, mirrored: &[(&str, &str)]) -> Heard {
        let exchange = async {
            let answer = self.pool.request(self.request(message, mirrored)).await.unwrap();
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let kind = parts.headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
            Heard { status: parts.status, messages: messages(&kind.unwrap_or_default(), &body) }
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("no answer in time to {message}"))
    }

    fn request(&self, message: &Value, mirrored: &[(&str, &str)]) -> Request<Full<Bytes>> {
        let version = if self.era == Era::Modern { MODERN } else { LEGACY };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.address)
            .header(header::HOST, &self.host)
            .header(header::AUTHORIZATION, &self.bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header("mcp-protocol-version", version);
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        if self.era == Era::Modern {
            request = request.header("mcp-method", message["method"].as_str().unwrap());
            if let Some(name) = ["name", "uri"].iter().find_map(|key| message["params"][key].as_str()) {
                request = request.header("mcp-name", name);
            }
            for (name, value) in mirrored {
                request = request.header(*name, *value);
            }
        }
        request.body(Full::new(Bytes::from(message.to_string()))).unwrap()
    }
}

impl Heard {
    /// The result of the last message.
    pub fn result(mut self, about: &str) -> Value {
        let mut last = self.messages.pop().unwrap();
        assert!(last.get("result").is_some(), "{about}: {} {last}", self.status);
        last["result"].take()
    }

    /// The error of the last message.
    pub fn error(&self) -> &Value {
        &self.messages.last().unwrap()["error"]
    }
}

fn message(id: Value, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn messages(kind: &str, body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    if kind.starts_with("text/event-stream") {
        let data = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
        return data.filter(|data| !data.is_empty()).map(|data| serde_json::from_str(data).unwrap()).collect();
    }
    if text.is_empty() { Vec::new() } else { vec![serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"))] }
}
