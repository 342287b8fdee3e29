//! Clients of 2026: every request says everything (MCP 2026-07-28, Streamable HTTP). Sessions mean nothing here, and whoever closes
//! the stream of an answer cancels the request.

mod headers;
mod listen;
mod state;
#[cfg(test)]
mod tests;
mod waiting;
mod work;

pub(super) use waiting::Waiting;

use super::Caller;
use super::door::{Door, Guest, Introduction};
use super::wire::{self, Accept, Events, Out};
use crate::ids::Digest;
use crate::mcp::era::{self, Era, meta};
use crate::mcp::mirrors_are_true;
use crate::mcp::rpc::{Id, Members, Request, Response as RpcResponse, Rpc, RpcError};
use axum::response::Response;
use data_encoding::HEXLOWER;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;
use work::{Step, Work};

/// What a client is called that does not say who it is.
const NOBODY: &str = "unnamed";
/// How long clients may keep what `server/discover` says, in milliseconds: what is connected may change.
const DISCOVERY_TTL: u64 = 60_000;

/// Methods of the legacy era that mean nothing any more (MCP 2026-07-28, changelog); all others are the aggregate's to know.
const REMOVED: [&str; 5] = ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

/// Whether a message is of this era: it says so in its body, or in its header.
pub(super) fn is_modern(message: &Rpc, headers: &HeaderMap) -> bool {
    let by_header = || headers::version(headers).is_some_and(mirrors_are_true);
    match message {
        Rpc::Request(request) => era::is_modern(&request.params) || by_header(),
        Rpc::Notification(_) => by_header(),
        Rpc::Response(_) => false,
    }
}

/// Answers one message.
pub(super) async fn post(
    door: Arc<Door>,
    guest: Guest,
    (headers, accept): (&HeaderMap, Accept),
    message: Rpc,
) -> Response {
    let request = match message {
        Rpc::Request(request) => request,
        // The core protocol has none from clients, and what extensions send is not for us.
        Rpc::Notification(_) | Rpc::Response(_) => return wire::accepted(),
    };
    let id = request.id.clone();
    if let Err(error) = headers::check(headers, &request) {
        return wire::refused(StatusCode::BAD_REQUEST, Some(id), error);
    }
    let caller = introduced(&guest, headers, &request.params);
    match request.method.as_str() {
        "server/discover" => answered(&id, discover(&door, &caller).await),
        "subscriptions/listen" if !accept.events => {
            let error =
                RpcError::new(RpcError::INVALID_REQUEST, "subscriptions/listen is answered by text/event-stream");
            wire::refused(StatusCode::NOT_ACCEPTABLE, Some(id), error)
        }
        "subscriptions/listen" => listen::listen(door, caller, guest, request),
        removed if REMOVED.contains(&removed) => {
            let why = format!("{removed} is not part of MCP {}", era::MODERN);
            answered(&id, Err(RpcError::new(RpcError::METHOD_NOT_FOUND, why)))
        }
        _ => call(door, caller, request, accept).await,
    }
}

/// The caller that a request introduces. What headers and `_meta` must say has been checked.
fn introduced(guest: &Guest, headers: &HeaderMap, params: &Members) -> Caller {
    let object = |key| era::meta_of(params, key).and_then(Value::as_object).cloned();
    let text = |key| era::meta_of(params, key).and_then(Value::as_str).map(str::to_owned);
    let info = object(meta::CLIENT_INFO).map_or_else(|| json!({ "name": NOBODY, "version": "0" }), Value::Object);
    let capabilities = object(meta::CLIENT_CAPABILITIES).unwrap_or_default();
    // Servers that need sessions were told who the client is: another kind of client needs another session.
    let kind = json!([&*guest.client_id, &*guest.place, info, capabilities]);
    let session = format!("modern-{}", HEXLOWER.encode(&Digest::of(kind.to_string()).0[..16]));
    guest.introduced(Introduction {
        era: Era::Modern,
        version: text(meta::VERSION).unwrap_or_default(),
        info,
        capabilities,
        log_level: text(meta::LOG_LEVEL),
        session: session.into(),
        headers: headers.clone(),
    })
}

async fn discover(door: &Door, caller: &Caller) -> Result<Value, RpcError> {
    let description = door.aggregate.describe(caller).await?;
    let mut result = json!({
        "resultType": "complete",
        "supportedVersions": [era::MODERN],
        "capabilities": description.capabilities,
        "ttlMs": DISCOVERY_TTL,
        "cacheScope": "private",
        "_meta": { meta::SERVER_INFO: description.info },
    });
    if let Some(instructions) = description.instructions {
        result["instructions"] = instructions.into();
    }
    Ok(result)
}

/// A request that upstreams answer: as JSON when nothing comes before the result, as a stream of events as soon as something does,
/// or when it takes so long that somebody on the way could take the connection for dead.
async fn call(door: Arc<Door>, caller: Caller, request: Request, accept: Accept) -> Response {
    let id = request.id.clone();
    let mut work = match door.waiting.resume(&caller, &request).await {
        Ok(Some(work)) => work,
        Ok(None) => Work::begin(&door.aggregate, caller, request),
        Err(error) => return answered(&id, Err(error)),
    };
    let mut first = None;
    loop {
        if !accept.json {
            break;
        }
        let step = tokio::select! { biased;
            step = work.step() => step,
            () = door.silence(accept) => break,
        };
        match step {
            Step::Done(outcome) => return answered(&id, outcome),
            Step::Questions => match door.waiting.park(work) {
                Ok(result) => return answered(&id, Ok(result)),
                Err(refused) => work = *refused,
            },
            Step::Notification(notification) if accept.events => {
                first = Some(Out::Note(notification.to_json()));
                break;
            }
            // A client that takes no events does without.
            Step::Notification(_) => {}
        }
    }
    let heartbeat = door.settings().heartbeat;
    Events::produced(heartbeat, |out| tell(door, work, (id, first), out)).into_response()
}

/// The rest of an answer as events.
async fn tell(door: Arc<Door>, mut work: Work, (id, first): (Id, Option<Out>), out: mpsc::Sender<Out>) {
    let mut next = first;
    loop {
        if let Some(note) = next.take()
            && out.send(note).await.is_err()
        {
            return;
        }
        let outcome = match work.step().await {
            Step::Notification(notification) => {
                next = Some(Out::Note(notification.to_json()));
                continue;
            }
            Step::Questions => match door.waiting.park(work) {
                Ok(result) => Ok(result),
                Err(refused) => {
                    work = *refused;
                    continue;
                }
            },
            Step::Done(outcome) => outcome,
        };
        // Whoever is gone need not know.
        drop(out.send(Out::Answer(RpcResponse { id: Some(id), outcome }.to_json())).await);
        return;
    }
}

fn answered(id: &Id, outcome: Result<Value, RpcError>) -> Response {
    let status = outcome.as_ref().err().map_or(StatusCode::OK, status_of);
    wire::json(status, &RpcResponse { id: Some(id.clone()), outcome }.to_json())
}

/// Errors that the transport itself has a status for (MCP 2026-07-28, Streamable HTTP).
fn status_of(error: &RpcError) -> StatusCode {
    match error.code {
        RpcError::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        RpcError::HEADER_MISMATCH | RpcError::MISSING_CLIENT_CAPABILITY | RpcError::UNSUPPORTED_VERSION => {
            StatusCode::BAD_REQUEST
        }
        _ => StatusCode::OK,
    }
}
