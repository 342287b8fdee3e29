//! How a session begins.

use super::session::Document;
use super::{BAD_REQUEST, SESSION, failed};
use crate::mcp::era;
use crate::mcp::rpc::{Members, Request, Response as RpcResponse, RpcError};
use crate::unified::door::{Door, Guest};
use crate::unified::legacy::session::Session;
use crate::unified::wire::{self, Accept, Events, Out};
use crate::unified::{Caller, Description};
use axum::response::Response;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Longer names and versions of clients are not kept, in bytes of JSON.
const MAX_INTRODUCTION: usize = 64 * 1024;

/// Begins a session and answers with what there is in it.
pub(super) async fn answer(door: &Arc<Door>, guest: &Guest, accept: Accept, request: &Request) -> Response {
    let document = match document(&request.params) {
        Ok(document) => document,
        Err(error) => return wire::refused(StatusCode::BAD_REQUEST, Some(request.id.clone()), error),
    };
    let (id, session) = door.sessions.make(guest, document);
    let outcome = describe(door, &session.caller(guest), &session.version()).await;
    let begun = outcome.is_ok();
    if begun {
        session.remember(door.aggregate.resumptions(&session.caller(guest)));
        match door.sessions.begin(&session, door.settings().max_sessions).await {
            Ok(true) => {}
            Ok(false) => {
                let error =
                    RpcError::new(BAD_REQUEST, "this gateway has as many sessions as it may have: try again later");
                return wire::refused(StatusCode::SERVICE_UNAVAILABLE, Some(request.id.clone()), error);
            }
            Err(fault) => return failed(&fault),
        }
    }
    let answer = RpcResponse { id: Some(request.id.clone()), outcome }.to_json();
    let mut response = match accept.json {
        true => wire::json(StatusCode::OK, &answer),
        false => {
            let (sender, out) = mpsc::channel(1);
            // There is room for one.
            drop(sender.try_send(Out::Answer(answer)));
            Events::of(out, None).into_response()
        }
    };
    if begun && let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(SESSION, id);
    }
    response
}

/// The result of `initialize`.
pub(super) async fn describe(door: &Door, caller: &Caller, version: &str) -> Result<Value, RpcError> {
    let Description { capabilities, info, instructions } = door.aggregate.describe(caller).await?;
    let mut result = json!({ "protocolVersion": version, "capabilities": capabilities, "serverInfo": info });
    if let Some(instructions) = instructions {
        result["instructions"] = instructions.into();
    }
    Ok(result)
}

/// What a client says about itself. A version that we do not speak is answered with the newest of its era (MCP 2025-11-25, Lifecycle).
pub(super) fn document(params: &Members) -> Result<Document, RpcError> {
    let wrong = |why: &str| RpcError::new(RpcError::INVALID_PARAMS, why);
    let asked = params.get("protocolVersion").and_then(Value::as_str);
    let asked = asked.ok_or_else(|| wrong("protocolVersion must be a text"))?;
    let version = era::LEGACY.into_iter().find(|known| *known == asked).unwrap_or(era::LEGACY[0]);
    let capabilities = match params.get("capabilities") {
        None => Members::new(),
        Some(Value::Object(capabilities)) => capabilities.clone(),
        Some(_) => return Err(wrong("capabilities must be an object")),
    };
    let info = params.get("clientInfo").cloned().unwrap_or_else(|| json!({ "name": "unnamed", "version": "0" }));
    if info.to_string().len() + json!(capabilities).to_string().len() > MAX_INTRODUCTION {
        return Err(wrong("clientInfo and capabilities are too long"));
    }
    Ok(Document { version: version.to_owned(), info, capabilities, ..Document::default() })
}

/// Begins a session that is a stream (MCP 2024-11-05): the answer goes there.
pub(super) async fn answer_on_stream(door: &Arc<Door>, guest: &Guest, session: &Session, request: &Request) -> Value {
    let outcome = match document(&request.params) {
        Ok(document) => {
            session.introduce(document);
            describe(door, &session.caller(guest), &session.version()).await
        }
        Err(error) => Err(error),
    };
    RpcResponse { id: Some(request.id.clone()), outcome }.to_json()
}
