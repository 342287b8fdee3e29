//! Streamable HTTP of 2026-07-28: no session, every request complete in itself, its headers mirroring its body.

use super::answer::{
    INVALID_PARAMS, METHOD_NOT_FOUND, MODERN_REVISION, Slow, VERSION_KEY, capabilities, error, meta, server_info,
};
use super::events::{self, Accepts};
use super::streamable::{VERSION, refusal, unsupported};
use super::{Caller, Shared, answer};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

const HEADER_MISMATCH: i64 = -32020;
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

pub(super) fn post(shared: &Shared, caller: Caller, headers: &HeaderMap, message: Value) -> Response {
    let id = message.get("id").cloned().unwrap_or_default();
    if let Err(refused) = check(headers, &message, &id) {
        return refused;
    }
    if id.is_null() {
        return StatusCode::ACCEPTED.into_response();
    }
    let accepts = Accepts::of(headers);
    if message.get("method").and_then(Value::as_str) == Some("subscriptions/listen") && accepts.events() {
        return listen(shared, &message, &id);
    }
    if accepts == Accepts::Events || (Slow::of(&message).is_some() && accepts.events()) {
        return events::response(shared, events::replies(message, caller).map(|reply| events::message(&reply)));
    }
    let body = answer(&message, &caller).unwrap_or_default();
    let unknown =
        body.get("error").and_then(|error| error.get("code")).and_then(Value::as_i64) == Some(METHOD_NOT_FOUND);
    (if unknown { StatusCode::NOT_FOUND } else { StatusCode::OK }, axum::Json(body)).into_response()
}

/// What a server must refuse before it looks at the request itself.
#[allow(clippy::result_large_err)] // the error is the response
fn check(headers: &HeaderMap, message: &Value, id: &Value) -> Result<(), Response> {
    let mismatch = |why: &str| Err(refusal(StatusCode::BAD_REQUEST, error(id, HEADER_MISMATCH, why)));
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(version) = header(VERSION.as_str()) else { return mismatch("MCP-Protocol-Version is missing") };
    let envelope = meta(message);
    match envelope.and_then(|meta| meta.get(VERSION_KEY)).and_then(Value::as_str) {
        Some(in_body) if in_body != version => return mismatch("MCP-Protocol-Version differs from the body"),
        Some(_) if version != MODERN_REVISION => return Err(unsupported(message, version)),
        Some(_) if envelope.is_some_and(|meta| meta.contains_key(CAPABILITIES_KEY)) => {}
        _ if id.is_null() => {}
        _ => {
            let text = "params._meta lacks a key that every request must have";
            return Err(refusal(StatusCode::BAD_REQUEST, error(id, INVALID_PARAMS, text)));
        }
    }
    let method = message.get("method").and_then(Value::as_str);
    if header("mcp-method") != method {
        return mismatch("Mcp-Method is missing or differs from the body");
    }
    if let Some(name) = name(message)
        && header("mcp-name").and_then(decoded).as_deref() != Some(name)
    {
        return mismatch("Mcp-Name is missing or differs from the body");
    }
    let text = message.pointer("/params/arguments/text").and_then(Value::as_str);
    if message.pointer("/params/name").is_some_and(|name| name == "echo")
        && header("mcp-param-text").and_then(decoded).as_deref() != text
    {
        return mismatch("Mcp-Param-Text is missing or differs from the body");
    }
    Ok(())
}

/// What `Mcp-Name` mirrors.
fn name(message: &Value) -> Option<&str> {
    let key = match message.get("method")?.as_str()? {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        _ => return None,
    };
    message.get("params")?.get(key)?.as_str()
}

/// A mirrored value; what is not plain visible ASCII travels as `=?base64?…?=`.
fn decoded(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(BASE64.decode(encoded.as_bytes()).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

/// A stream of notifications, opened by its acknowledgement; every notification carries the subscription's id.
fn listen(shared: &Shared, message: &Value, id: &Value) -> Response {
    let Some(asked) = message.pointer("/params/notifications").and_then(Value::as_object) else {
        let text = "params.notifications is required";
        return refusal(StatusCode::BAD_REQUEST, error(id, INVALID_PARAMS, text));
    };
    let listing =
        capabilities().pointer("/tools/listChanged").is_some() && asked.get("toolsListChanged") == Some(&json!(true));
    let honoured = if listing { json!({"toolsListChanged": true}) } else { json!({}) };
    let acknowledged = json!({
        "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
        "params": {"notifications": honoured, "_meta": {SUBSCRIPTION: id}},
    });
    let ended = json!({
        "jsonrpc": "2.0", "id": id, "result": {
            "resultType": "complete",
            "_meta": {SUBSCRIPTION: id, "io.modelcontextprotocol/serverInfo": server_info()},
        },
    });
    let subscription = id.clone();
    let pushed = events::pushed(shared.listeners.subscribe()).map(move |mut pushed| {
        if !pushed["params"].is_object() {
            pushed["params"] = json!({});
        }
        pushed["params"]["_meta"][SUBSCRIPTION] = subscription.clone();
        pushed
    });
    let ending = shared.stop.clone().bound(pushed).chain(stream::iter([ended]));
    let all = stream::iter([acknowledged]).chain(ending).map(|message| events::message(&message));
    events::streaming(all)
}
