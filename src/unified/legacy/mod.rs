//! Clients of the years before: `initialize`, and a session that everything belongs to (MCP 2025-11-25 back to 2024-11-05).

mod batch;
mod exchange;
mod initialize;
mod session;
mod sessions;
mod sse;
mod stream;
#[cfg(test)]
mod tests;

pub(super) use sessions::Sessions;
pub(super) use sse::{message, open_stream};
pub(super) use stream::listen;

use super::door::{Door, Guest};
use super::wire::{self, Accept};
use crate::mcp::era;
use crate::mcp::rpc::{Rpc, RpcError};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use session::Session;
use std::sync::Arc;

/// The header field that names a session.
pub(super) const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";

/// As servers of the official SDKs: there is no such session (any more).
const NO_SESSION: i64 = -32001;
/// As servers of the official SDKs: the request does not say what it must.
const BAD_REQUEST: i64 = -32000;

/// Answers one message.
pub(super) async fn post(
    door: Arc<Door>,
    guest: Guest,
    (headers, accept): (&HeaderMap, Accept),
    message: Rpc,
) -> Response {
    if let Rpc::Request(request) = &message
        && request.method == "initialize"
    {
        return initialize::answer(&door, &guest, accept, request).await;
    }
    match session(&door, &guest, headers).await {
        Ok(session) => exchange::answer(door, guest, session, (vec![message], accept)).await,
        Err(response) => response,
    }
}

/// Answers a batch (MCP 2025-03-26 alone has them).
pub(super) async fn batch(
    door: Arc<Door>,
    guest: Guest,
    (headers, accept): (&HeaderMap, Accept),
    batch: Vec<Value>,
) -> Response {
    let session = match session(&door, &guest, headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    match batch::messages(&session.version(), batch) {
        Ok(messages) => exchange::answer_batch(door, guest, session, (messages, accept)).await,
        Err(error) => wire::refused(StatusCode::BAD_REQUEST, None, error),
    }
}

/// Ends a session (MCP 2025-03-26, Session Management).
pub(super) async fn end(door: &Arc<Door>, guest: &Guest, headers: &HeaderMap) -> Response {
    match session(door, guest, headers).await {
        Ok(session) => {
            let caller = session.caller(guest);
            match door.sessions.end(&session).await {
                Ok(()) => {
                    door.aggregate.end(&caller).await;
                    StatusCode::NO_CONTENT.into_response()
                }
                Err(fault) => failed(&fault),
            }
        }
        Err(response) => response,
    }
}

/// The session that a request names, if it is this guest's.
async fn session(door: &Door, guest: &Guest, headers: &HeaderMap) -> Result<Arc<Session>, Response> {
    let refuse = |status, code, why: &str| wire::refused(status, None, RpcError::new(code, why));
    if let Some(version) = headers.get(VERSION)
        && !version.to_str().is_ok_and(|version| era::LEGACY.contains(&version.trim()))
    {
        let why = format!("MCP-Protocol-Version must be one of {}, {}", era::MODERN, era::LEGACY.join(", "));
        return Err(refuse(StatusCode::BAD_REQUEST, BAD_REQUEST, &why));
    }
    let mut ids = headers.get_all(SESSION).iter();
    let Some(id) = ids.next().and_then(|id| id.to_str().ok()).filter(|_| ids.next().is_none()) else {
        return Err(refuse(StatusCode::BAD_REQUEST, BAD_REQUEST, "Mcp-Session-Id is missing: initialize first"));
    };
    match door.sessions.find(guest, id).await {
        Ok(Some(session)) => {
            let resume = async || door.aggregate.resume(&session.caller(guest), session.document().upstreams).await;
            session.resumed.get_or_init(resume).await;
            Ok(session)
        }
        Ok(None) => Err(refuse(StatusCode::NOT_FOUND, NO_SESSION, "there is no such session: initialize again")),
        Err(fault) => Err(failed(&fault)),
    }
}

/// Our own failure. The log is told why.
fn failed(fault: &crate::error::Fault) -> Response {
    tracing::error!(%fault, "a session could not be read or written");
    let error = RpcError::new(RpcError::INTERNAL_ERROR, fault.public.clone());
    wire::refused(fault.status(), None, error)
}
