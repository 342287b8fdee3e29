//! Tools that an administrator limits: what a request may ask, decided by its body alone. Header fields that mirror it are
//! checked by servers of the newest version only, so a caller could write an allowed tool there and a denied one below.
//!
//! No tool is called in another way than by `tools/call`: retries with input (MCP 2026-07-28) and calls as tasks
//! (2025-11-25) are `tools/call` again, and `tasks/…` only asks for what such a call began.

use super::body::{Bodies, BodyFailure, RequestBody};
use super::peek::{METHOD, NAME, calls_a_tool, unmirrored};
use super::reply::Refusal;
use super::session::ServerSession;
use crate::mcp::{Message, Messages, ToolPolicy};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// The largest body that is read whole so that it can be looked at, in bytes.
const MAX_INSPECTED: usize = 1024 * 1024;

/// JSON-RPC 2.0 §5.1, and what MCP says of unknown tools.
const INVALID_PARAMS: i32 = -32602;
const INVALID_REQUEST: i32 = -32600;
const PARSE_ERROR: i32 = -32700;
/// `HeaderMismatch` of MCP 2026-07-28.
const HEADER_MISMATCH: i32 = -32020;

/// A policy that a request has passed, and that its answer must pass.
#[derive(Clone, Copy)]
pub(super) struct Enforced<'a> {
    pub(super) policy: &'a ToolPolicy,
    /// Whether the answer may be a list of tools.
    pub(super) asks_for_tools: bool,
}

/// An answer in the place of the upstream's.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) answer: Value,
}

/// Messages in frames would have to be put together from fragments and inflated before anybody could look at them; MCP
/// defines no such transport, and so it is refused.
fn refuse_upgrade() -> Refusal {
    let why = "an administrator limits the tools of this server: it cannot be used over a WebSocket";
    denied(StatusCode::FORBIDDEN, INVALID_REQUEST, why)
}

/// Reads a request's body to its end, so that it can be looked at.
///
/// # Errors
/// When it is larger than [`MAX_INSPECTED`], when the request is to become a WebSocket, or when the caller is gone.
pub(super) async fn take<'b>(bodies: &'b Bodies, session: &mut ServerSession) -> Result<RequestBody<'b>, BodyFailure> {
    if session.is_upgrade_req() {
        return Err(BodyFailure::Refused(refuse_upgrade()));
    }
    let whole = bodies.take_whole(session, MAX_INSPECTED).await?;
    whole.ok_or_else(|| BodyFailure::Refused(refuse_size()))
}

fn refuse_size() -> Refusal {
    let why = "an administrator limits the tools of this server: a message of more than 1 MiB cannot be looked at";
    denied(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, why)
}

/// Decides about a request whose body, if there is one, is in memory.
///
/// # Errors
/// The answer to give: a tool is denied, or it cannot be told for certain which one is called.
pub(super) fn enforce<'a>(
    policy: &'a ToolPolicy,
    headers: &HeaderMap,
    body: Option<&[u8]>,
) -> Result<Enforced<'a>, Refusal> {
    let bytes = match body {
        Some([]) => return Ok(Enforced { policy, asks_for_tools: false }),
        Some(bytes) => bytes,
        None => return Err(refuse_size()),
    };
    if !is_plain(headers) {
        let why = "an administrator limits the tools of this server: send messages as UTF-8, not compressed";
        return Err(denied(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST, why));
    }
    let Some(messages) = Messages::read(bytes) else {
        let why = "an administrator limits the tools of this server: only JSON-RPC messages can be sent to it";
        return Err(denied(StatusCode::BAD_REQUEST, PARSE_ERROR, why));
    };
    if messages.as_slice().iter().any(|message| message.doubtful) {
        let why = "an administrator limits the tools of this server, and this message can be understood in two ways: \
                   a key is there twice or in an unusual spelling, or method, params or name has the wrong type";
        return Err(denied(StatusCode::BAD_REQUEST, INVALID_REQUEST, why));
    }
    check_mirrors(headers, &messages)?;
    let forbidden = |message: &Message<'_>| {
        calls_a_tool(message) && !message.name.as_deref().is_some_and(|name| policy.permits(name))
    };
    if messages.as_slice().iter().any(forbidden) {
        return Err(refuse_call(headers, &messages, forbidden));
    }
    let lists = |message: &Message<'_>| message.method.as_deref() == Some("tools/list");
    Ok(Enforced { policy, asks_for_tools: messages.as_slice().iter().any(lists) })
}

/// A server behind the upstream may route by the mirrors: they must not say something else.
fn check_mirrors(headers: &HeaderMap, messages: &Messages<'_>) -> Result<(), Refusal> {
    let agrees = |field: &str, truth: Option<&str>| {
        headers.get_all(field).iter().all(|value| truth.is_some() && unmirrored(value).as_deref() == truth)
    };
    let agree = match messages {
        Messages::One(message) => {
            let name = agrees(NAME, message.name.as_deref()) || !calls_a_tool(message);
            name && agrees(METHOD, message.method.as_deref())
        }
        Messages::Batch(_) => agrees(METHOD, None) && agrees(NAME, None),
    };
    if agree {
        return Ok(());
    }
    Err(denied(StatusCode::BAD_REQUEST, HEADER_MISMATCH, "Mcp-Method or Mcp-Name does not say what the body says"))
}

/// Whether the bytes are the text: a server would undo a coding, or read another character set, and see other messages.
fn is_plain(headers: &HeaderMap) -> bool {
    let utf8 = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or("charset").to_ascii_lowercase();
        let named = |rest: &str| rest.split(';').next().unwrap_or_default().replace(['=', '"', ' ', '\t'], "");
        value.split("charset").skip(1).all(|rest| matches!(named(rest).as_str(), "utf-8" | "utf8" | "us-ascii"))
    };
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    headers.get_all(header::CONTENT_ENCODING).iter().all(identity)
        && headers.get_all(header::CONTENT_TYPE).iter().all(utf8)
}

/// A call of a denied tool gets the answer that MCP has for unknown tools, so that models and clients know what to do. The
/// clients of the transport of 2024 expect answers on their stream and read of this one only whether it failed.
fn refuse_call(headers: &HeaderMap, messages: &Messages<'_>, forbidden: impl Fn(&Message<'_>) -> bool) -> Refusal {
    let answer = |message: &Message<'_>| {
        let name = message.name.as_deref().unwrap_or_default();
        let why = match (forbidden(message), message.name.is_some()) {
            (true, true) => format!(
                "tool {name:?} is not available: an administrator decides which tools of this server may be used"
            ),
            (true, false) => "params.name is missing: which tool is called?".to_owned(),
            (false, _) => "not sent, because a tool that the same batch calls is not available".to_owned(),
        };
        error(message.id.map_or(Value::Null, |id| id.get().parse().unwrap_or_default()), INVALID_PARAMS, &why)
    };
    let asks = |message: &&Message<'_>| message.method.is_some() && message.id.is_some();
    let answers: Vec<Value> = messages.as_slice().iter().filter(asks).map(answer).collect();
    let status = if answers.is_empty() || !takes_answers(headers) { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let answer = match messages {
        Messages::One(message) => answer(message),
        Messages::Batch(_) => Value::Array(answers),
    };
    Refusal::ByPolicy(Box::new(Denied { status, answer }))
}

/// Whether a client reads answers where it posts: those of Streamable HTTP must say that they take both kinds.
fn takes_answers(headers: &HeaderMap) -> bool {
    let mut accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.any(|accept| accept.to_ascii_lowercase().contains("text/event-stream"))
}

fn denied(status: StatusCode, code: i32, why: &str) -> Refusal {
    Refusal::ByPolicy(Box::new(Denied { status, answer: error(Value::Null, code, why) }))
}

fn error(id: Value, code: i32, why: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": why } })
}
