//! Streamable HTTP of 2025-03-26 to 2025-11-25, with sessions; requests of 2026-07-28 are handed on.

use super::answer::{LEGACY_REVISIONS, MODERN_REVISION, Slow, error, is_modern, missing_scope};
use super::events::{self, Accepts};
use super::guard::insufficient_scope;
use super::{Caller, Lie, Protection, Shared, answer, modern};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::broadcast;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const UNSUPPORTED_VERSION: i64 = -32022;

/// A message, or a batch of 2025-03-26.
pub(super) async fn post(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return refusal(StatusCode::BAD_REQUEST, error(&Value::Null, PARSE_ERROR, "the body is not JSON"));
    };
    shared.recorder.message(message.clone());
    if let Protection::Bearer(_) = &shared.protection
        && let Some(scope) = missing_scope(&message, &caller)
    {
        return insufficient_scope(&shared, "/mcp", scope);
    }
    if shared.lies(Lie::LegacyOnly) && (version(&headers) == Some(MODERN_REVISION) || is_modern(&message)) {
        let text = "Bad Request: Unsupported protocol version";
        return refusal(StatusCode::BAD_REQUEST, error(&Value::Null, -32000, text));
    }
    match version(&headers) {
        Some(MODERN_REVISION) => return modern::post(&shared, caller, &headers, message),
        None if is_modern(&message) => return modern::post(&shared, caller, &headers, message),
        Some(version) if !LEGACY_REVISIONS.contains(&version) => return unsupported(&message, version),
        _ => {}
    }
    if message.get("method").and_then(Value::as_str) == Some("initialize") {
        let session = shared.open_session();
        return with_session(answered(&shared, caller, &headers, message), &session);
    }
    match session(&shared, &headers) {
        Err(refused) => refused,
        Ok((id, _)) => with_session(answered(&shared, caller, &headers, message), &id),
    }
}

/// The stream for what the server has to say unasked. It stays silent otherwise: no heartbeats.
pub(super) async fn get(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if version(&headers) == Some(MODERN_REVISION) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if !Accepts::of(&headers).events() {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    }
    match session(&shared, &headers) {
        Err(refused) => refused,
        Ok((id, receiver)) => {
            let numbered = events::pushed(receiver).enumerate();
            let events = numbered.map(|(number, pushed)| format!("id: {number}\n{}", events::message(&pushed)));
            with_session(events::response(&shared, events), &id)
        }
    }
}

/// Ends a session.
pub(super) async fn delete(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if version(&headers) == Some(MODERN_REVISION) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    match session(&shared, &headers) {
        Err(refused) => refused,
        Ok((id, _)) => {
            shared.sessions.lock().remove(&id);
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

/// A refusal with a JSON-RPC body, by which clients of both eras tell what they have met.
pub(super) fn refusal(status: StatusCode, body: Value) -> Response {
    (status, axum::Json(body)).into_response()
}

pub(super) fn unsupported(message: &Value, version: &str) -> Response {
    let mut body =
        error(message.get("id").unwrap_or(&Value::Null), UNSUPPORTED_VERSION, "Unsupported protocol version");
    let supported: Vec<&str> = LEGACY_REVISIONS.into_iter().chain([MODERN_REVISION]).collect();
    body["error"]["data"] = json!({"supported": supported, "requested": version});
    refusal(StatusCode::BAD_REQUEST, body)
}

fn version(headers: &HeaderMap) -> Option<&str> {
    headers.get(VERSION).map(|value| value.to_str().unwrap_or_default())
}

/// The session that a request names: 400 when it names none, 404 when that one has ended, so that the client begins
/// a new one.
#[allow(clippy::result_large_err)] // the error is the response
fn session(shared: &Shared, headers: &HeaderMap) -> Result<(String, broadcast::Receiver<Value>), Response> {
    let Some(id) = headers.get(SESSION).and_then(|value| value.to_str().ok()) else {
        let body = error(&Value::Null, INVALID_REQUEST, "Mcp-Session-Id is missing");
        return Err(refusal(StatusCode::BAD_REQUEST, body));
    };
    let gone = || refusal(StatusCode::NOT_FOUND, error(&Value::Null, -32001, "Session not found"));
    shared.session(id).map(|receiver| (id.to_owned(), receiver)).ok_or_else(gone)
}

fn with_session(mut answer: Response, id: &str) -> Response {
    if let Ok(value) = id.parse() {
        answer.headers_mut().insert(SESSION, value);
    }
    answer
}

fn answered(shared: &Shared, caller: Caller, headers: &HeaderMap, message: Value) -> Response {
    let accepts = Accepts::of(headers);
    if accepts == Accepts::Neither {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    }
    let batch = message.is_array();
    let messages = match message {
        Value::Array(messages) => messages,
        single => vec![single],
    };
    let requests: Vec<Value> =
        messages.into_iter().filter(|m| m.get("id").is_some() && m.get("method").is_some()).collect();
    if requests.is_empty() {
        return StatusCode::ACCEPTED.into_response();
    }
    let slow = requests.iter().any(|request| Slow::of(request).is_some());
    if accepts == Accepts::Events || (slow && accepts == Accepts::Both) {
        let replies = stream::iter(requests).flat_map(move |request| events::replies(request, caller.clone()).boxed());
        return events::response(shared, replies.map(|reply| events::message(&reply)));
    }
    let mut answers: Vec<Value> = requests.iter().filter_map(|request| answer(request, &caller)).collect();
    match answers.pop() {
        Some(single) if !batch => axum::Json(single).into_response(),
        last => {
            answers.extend(last);
            axum::Json(answers).into_response()
        }
    }
}
