//! The transport of 2024 (MCP 2024-11-05, HTTP with SSE): one stream that everything comes on, and an address that messages are
//! posted to. The session is the stream: it is in the memory of the process that serves it, and ends with it.

use super::exchange::{self, Outlet};
use super::session::{Session, UnderWay};
use super::{NO_SESSION, initialize, stream};
use crate::mcp::rpc::{Rpc, RpcError};
use crate::unified::door::{Door, Guest, NOT_ACCEPTABLE};
use crate::unified::wire::{self, Events, Out};
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where messages are posted to. The client resolves it against the address of the stream.
const MESSAGES: &str = "/mcp/messages";

/// Opens a stream, and with it a session.
pub(in crate::unified) fn open_stream(door: Arc<Door>, guest: Guest) -> Response {
    let (out, said) = mpsc::channel(wire::WAITING);
    let Some((id, session)) = door.sessions.make_stream(&guest, out.clone()) else {
        let error = RpcError::new(NOT_ACCEPTABLE, "too many streams are open: close some first");
        return wire::refused(StatusCode::TOO_MANY_REQUESTS, None, error);
    };
    let opening = format!("event: endpoint\ndata: {MESSAGES}?session={id}\n\n");
    let heartbeat = door.settings().heartbeat;
    let ending = Ending { door: door.clone(), guest: guest.clone(), session: session.clone() };
    Events::produced(heartbeat, |sender| serve((door, guest, session), (said, out), (opening, sender), ending))
        .into_response()
}

type Whose = (Arc<Door>, Guest, Arc<Session>);

async fn serve(
    (door, guest, session): Whose,
    (mut said, out): (mpsc::Receiver<Out>, mpsc::Sender<Out>),
    (opening, sender): (String, mpsc::Sender<Out>),
    _ending: Ending,
) {
    if sender.send(Out::Event(opening.into())).await.is_err() {
        return;
    }
    let mut changes = session.changes();
    let listening = async {
        // Nobody is told anything before it has said who it is.
        if changes.wait_for(|document| !document.version.is_empty()).await.is_ok() {
            stream::hear(door, guest.clone(), session.clone(), Outlet { out, hears: true }).await;
        }
    };
    let over = guest.over();
    tokio::pin!(listening, over);
    loop {
        tokio::select! { biased;
            Some(said) = said.recv() => if sender.send(said).await.is_err() {
                return;
            },
            () = &mut listening => return,
            () = &mut over => return,
        }
    }
}

/// Takes a message for the session of a stream.
pub(in crate::unified) async fn message(
    door: &Arc<Door>,
    guest: &Guest,
    id: Option<String>,
    message: Value,
) -> Response {
    let session = id.and_then(|id| door.sessions.stream(guest, &id));
    let Some((session, out)) = session.and_then(|session| session.stream.clone().map(|out| (session, out))) else {
        let error = RpcError::new(NO_SESSION, "there is no such stream (at this node): open another one");
        return wire::refused(StatusCode::NOT_FOUND, None, error);
    };
    let message = match Rpc::from_json(message) {
        Ok(message) => message,
        Err(error) => return wire::refused(StatusCode::BAD_REQUEST, None, error),
    };
    let outlet = Outlet { out, hears: true };
    match message {
        Rpc::Request(request) if request.method == "initialize" => {
            let id = request.id.clone();
            let (door, guest, begun) = (door.clone(), guest.clone(), session.clone());
            let work = |under_way: UnderWay| async move {
                let answer = initialize::answer_on_stream(&door, &guest, &begun, &request).await;
                under_way.is_answered();
                // Whoever is gone need not know.
                drop(outlet.out.send(Out::Answer(answer)).await);
            };
            if let Err(error) = session.start(&id, work) {
                return wire::refused(StatusCode::BAD_REQUEST, Some(id), error);
            }
        }
        Rpc::Request(request) if session.version().is_empty() => {
            let error = RpcError::new(RpcError::INVALID_REQUEST, "initialize first");
            return wire::refused(StatusCode::BAD_REQUEST, Some(request.id), error);
        }
        message => exchange::take(door, guest, &session, (message, &outlet)).await,
    }
    wire::accepted()
}

/// The end of a stream is the end of its session, however it comes.
struct Ending {
    door: Arc<Door>,
    guest: Guest,
    session: Arc<Session>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let caller = self.session.caller(&self.guest);
        self.door.sessions.forget(&self.session);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let aggregate = self.door.aggregate.clone();
            runtime.spawn(async move { aggregate.end(&caller).await });
        }
    }
}
