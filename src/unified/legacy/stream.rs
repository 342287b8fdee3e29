//! The stream of a session that belongs to no request (MCP 2025-11-25, Listening for Messages from the Server).

use super::exchange::{Outlet, pass_on};
use super::session::Session;
use super::{SESSION, session};
use crate::mcp::rpc::RpcError;
use crate::unified::Back;
use crate::unified::door::{Door, Guest, NOT_ACCEPTABLE};
use crate::unified::wire::{self, Accept, Events};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::Arc;

/// Opens the stream. A session has one: the newest takes the place of the one before, which may be that of a connection whose end
/// nobody has noticed.
pub(in crate::unified) async fn listen(door: Arc<Door>, guest: Guest, headers: &HeaderMap) -> Response {
    if !headers.contains_key(SESSION) {
        // What MCP 2026-07-28 asks for, and older clients take for a server without such a stream.
        let error = RpcError::new(NOT_ACCEPTABLE, "without Mcp-Session-Id this address takes POST only");
        let mut response = wire::refused(StatusCode::METHOD_NOT_ALLOWED, None, error);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    if !Accept::of(headers).events {
        let error = RpcError::new(NOT_ACCEPTABLE, "accept text/event-stream");
        return wire::refused(StatusCode::NOT_ACCEPTABLE, None, error);
    }
    let session = match session(&door, &guest, headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let heartbeat = door.settings().heartbeat;
    Events::produced(heartbeat, |out| hear(door, guest, session, Outlet { out, hears: true })).into_response()
}

/// Tells a client what its upstreams say unasked, until another stream takes the place of this one, the session is over, or
/// answers have to end.
pub(super) async fn hear(door: Arc<Door>, guest: Guest, session: Arc<Session>, outlet: Outlet) {
    let caller = session.caller(&guest);
    let mut newest = session.listener();
    let mut changes = session.changes();
    let over = guest.over();
    tokio::pin!(over);
    loop {
        let filter = session.filter();
        let (back, mut outgoing) = Back::new(wire::WAITING);
        let listening = door.aggregate.listen(&caller, filter.clone(), back);
        tokio::pin!(listening);
        let mut exhausted = false;
        loop {
            tokio::select! { biased;
                _ = newest.changed() => return,
                () = &mut over => return,
                Some(said) = outgoing.recv() => pass_on(&door, &session, &caller, (said, &outlet)).await,
                changed = changes.changed() => {
                    if changed.is_err() || session.filter() != filter {
                        break;
                    }
                }
                () = &mut listening, if !exhausted => exhausted = true,
            }
        }
    }
}
