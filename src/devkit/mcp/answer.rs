//! The MCP server itself, without any transport: a JSON-RPC message in, its answer out. A request that carries the
//! envelope of 2026-07-28 is answered in its shapes, any other in those of the older revisions.

use super::Caller;
use crate::devkit::authorization_server::SCOPES;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The revisions with `initialize`, newest last.
pub const LEGACY_REVISIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
/// The stateless revision.
pub const MODERN_REVISION: &str = "2026-07-28";

pub(super) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
pub(super) const METHOD_NOT_FOUND: i64 = -32601;
pub(super) const INVALID_PARAMS: i64 = -32602;
const GREETING: &str = "demo://greeting";
const WRITE: &str = "write";

type Refused = (i64, &'static str);

/// The answer to a request; `None` for notifications and for responses.
pub fn answer(message: &Value, who: &Caller) -> Option<Value> {
    let method = message.get("method")?.as_str()?;
    let id = message.get("id")?.clone();
    let modern = is_modern(message);
    let params = message.get("params").unwrap_or(&Value::Null);
    Some(match result(method, params, who, modern) {
        Ok(result) => {
            json!({"jsonrpc": "2.0", "id": id, "result": if modern { dressed(method, result) } else { result }})
        }
        Err((code, text)) => error(&id, code, text),
    })
}

/// A JSON-RPC error object.
pub(super) fn error(id: &Value, code: i64, text: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": text}})
}

/// Whether a message carries the envelope of 2026-07-28.
pub(super) fn is_modern(message: &Value) -> bool {
    meta(message).is_some_and(|meta| meta.contains_key(VERSION_KEY))
}

pub(super) fn meta(message: &Value) -> Option<&Map<String, Value>> {
    message.get("params")?.get("_meta")?.as_object()
}

pub(super) fn server_info() -> Value {
    json!({"name": "portcullis-demo", "title": "Demo Notes", "version": env!("CARGO_PKG_VERSION")})
}

/// The scope that a message takes and that the caller does not have.
pub(super) fn missing_scope(message: &Value, who: &Caller) -> Option<&'static str> {
    let [_, scope] = SCOPES;
    let writes = message.get("method")? == "tools/call" && message.get("params")?.get("name")? == WRITE;
    (writes && !who.scopes.split(' ').any(|has| has == scope)).then_some(scope)
}

/// A call of `slow`: what there is to wait for and to report before its answer.
pub(super) struct Slow {
    pub(super) steps: u64,
    pub(super) delay: Duration,
    token: Option<Value>,
}

impl Slow {
    /// `None` for every other message.
    pub(super) fn of(message: &Value) -> Option<Self> {
        let params = message.get("params")?;
        if message.get("method")? != "tools/call" || params.get("name")? != "slow" || message.get("id").is_none() {
            return None;
        }
        let number = |name: &str, otherwise: u64, most: u64| {
            params.get("arguments").and_then(|all| all.get(name)).and_then(Value::as_u64).unwrap_or(otherwise).min(most)
        };
        Some(Self {
            steps: number("steps", 3, 1000),
            delay: Duration::from_millis(number("delay_ms", 200, 60_000)),
            token: params.get("_meta").and_then(|meta| meta.get("progressToken")).cloned(),
        })
    }

    /// The notification of a step, when the caller wants to know.
    pub(super) fn progress(&self, step: u64) -> Option<Value> {
        let token = self.token.as_ref()?;
        let params = json!({"progressToken": token, "progress": step, "total": self.steps});
        Some(json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))
    }
}

fn result(method: &str, params: &Value, who: &Caller, modern: bool) -> Result<Value, Refused> {
    match method {
        "initialize" if !modern => Ok(initialized(params)),
        "ping" if !modern => Ok(json!({})),
        "server/discover" if modern => Ok(json!({
            "supportedVersions": [MODERN_REVISION], "capabilities": capabilities(), "instructions": instructions(),
        })),
        "tools/list" => Ok(json!({"tools": tools()})),
        "tools/call" => call(params, who),
        "resources/list" => Ok(json!({"resources": [resource()]})),
        "resources/templates/list" => Ok(json!({"resourceTemplates": []})),
        "resources/read" => read(params, modern),
        "prompts/list" => Ok(json!({"prompts": [prompt()]})),
        "prompts/get" => get_prompt(params),
        _ => Err((METHOD_NOT_FOUND, "Method not found")),
    }
}

/// What every result of 2026-07-28 carries, and those that may be cached carry besides.
fn dressed(method: &str, mut result: Value) -> Value {
    result["resultType"] = json!("complete");
    if method.ends_with("/list") || matches!(method, "resources/read" | "server/discover") {
        result["ttlMs"] = json!(0);
        result["cacheScope"] = json!("private");
    }
    result["_meta"] = json!({"io.modelcontextprotocol/serverInfo": server_info()});
    result
}

fn initialized(params: &Value) -> Value {
    let asked = params.get("protocolVersion").and_then(Value::as_str);
    let newest = LEGACY_REVISIONS[LEGACY_REVISIONS.len() - 1];
    let revision = asked.filter(|asked| LEGACY_REVISIONS.contains(asked)).unwrap_or(newest);
    json!({
        "protocolVersion": revision, "capabilities": capabilities(), "serverInfo": server_info(),
        "instructions": instructions(),
    })
}

pub(super) fn capabilities() -> Value {
    json!({"tools": {"listChanged": true}, "resources": {}, "prompts": {}})
}

fn instructions() -> &'static str {
    "A demonstration. `whoami` says who you are here, and with which scopes."
}

fn tools() -> Value {
    let schema = |properties: Value, required: &[&str]| json!({"type": "object", "properties": properties, "required": required});
    json!([
        {"name": "whoami", "description": "Says who the caller is to this server.", "inputSchema": schema(json!({}), &[])},
        {"name": "echo", "description": "Says the text again.", "inputSchema":
            schema(json!({"text": {"type": "string", "x-mcp-header": "Text"}}), &["text"])},
        {"name": "add", "description": "Adds two numbers.", "inputSchema":
            schema(json!({"a": {"type": "number"}, "b": {"type": "number"}}), &["a", "b"])},
        {"name": "slow", "description": "Takes its time and reports its progress.", "inputSchema": schema(json!({
            "steps": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 3},
            "delay_ms": {"type": "integer", "minimum": 0, "maximum": 60000, "default": 200}
        }), &[])},
        {"name": WRITE, "description": "Writes a note down, which takes the scope notes.write.", "inputSchema":
            schema(json!({"text": {"type": "string"}}), &[])},
    ])
}

fn call(params: &Value, who: &Caller) -> Result<Value, Refused> {
    let argument = |name: &str| params.get("arguments").and_then(|all| all.get(name));
    let text = |text: String| json!({"content": [{"type": "text", "text": text}]});
    Ok(match params.get("name").and_then(Value::as_str) {
        Some("whoami") => {
            let mut result = text(format!("You are {}, with the scopes: {}", who.user, who.scopes));
            result["structuredContent"] = json!({"user": who.user, "scopes": who.scopes});
            result
        }
        Some("echo") => match argument("text").and_then(Value::as_str) {
            Some(said) => {
                let mut result = text(said.to_owned());
                // Who heard it, and of whom: an answer that went astray would give itself away.
                result["structuredContent"] = json!({"text": said, "user": who.user, "server": who.server});
                result
            }
            None => failed("echo takes a text"),
        },
        Some("add") => match (argument("a").and_then(Value::as_f64), argument("b").and_then(Value::as_f64)) {
            (Some(a), Some(b)) => text((a + b).to_string()),
            _ => failed("add takes two numbers, a and b"),
        },
        Some("slow") => text("done".to_owned()),
        Some(WRITE) => text("written".to_owned()),
        _ => return Err((INVALID_PARAMS, "there is no tool of that name")),
    })
}

fn failed(why: &str) -> Value {
    json!({"content": [{"type": "text", "text": why}], "isError": true})
}

fn resource() -> Value {
    json!({"uri": GREETING, "name": "greeting", "description": "A greeting.", "mimeType": "text/plain"})
}

fn read(params: &Value, modern: bool) -> Result<Value, Refused> {
    if params.get("uri").and_then(Value::as_str) != Some(GREETING) {
        // 2026-07-28 gave up the code of its own that a missing resource had.
        return Err((if modern { INVALID_PARAMS } else { -32002 }, "there is no resource of that URI"));
    }
    Ok(json!({"contents": [{"uri": GREETING, "mimeType": "text/plain", "text": "Hello from the demo."}]}))
}

fn prompt() -> Value {
    json!({"name": "hello", "description": "Greets somebody.", "arguments": [{"name": "name", "required": false}]})
}

fn get_prompt(params: &Value) -> Result<Value, Refused> {
    if params.get("name").and_then(Value::as_str) != Some("hello") {
        return Err((INVALID_PARAMS, "there is no prompt of that name"));
    }
    let name = params.get("arguments").and_then(|all| all.get("name")).and_then(Value::as_str).unwrap_or("world");
    let text = format!("Say hello to {name}.");
    Ok(json!({"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}))
}
