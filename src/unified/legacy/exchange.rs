//! A POST in a session: its requests are worked on, one task each, and what they say meanwhile goes on the stream of this POST. A
//! client that goes away cancels nothing (MCP 2025-11-25, Transports).

use super::session::{Session, UnderWay};
use crate::mcp::era::Era;
use crate::mcp::level::severity;
use crate::mcp::rpc::{Id, Members, Notification, Request, Response as RpcResponse, Rpc, RpcError};
use crate::unified::door::{Door, Guest};
use crate::unified::wire::{self, Accept, Events, Out};
use crate::unified::{Asked, Back, Caller, Outgoing, questions};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where what belongs to a request goes.
#[derive(Clone)]
pub(super) struct Outlet {
    pub(super) out: mpsc::Sender<Out>,
    /// Whether the client reads anything but answers there.
    pub(super) hears: bool,
}

/// Answers the one message of a POST.
pub(super) async fn answer(
    door: Arc<Door>,
    guest: Guest,
    session: Arc<Session>,
    (messages, accept): (Vec<Rpc>, Accept),
) -> Response {
    exchange(door, guest, session, (messages, accept), |mut answers| answers.pop()).await
}

/// Answers a batch.
pub(super) async fn answer_batch(
    door: Arc<Door>,
    guest: Guest,
    session: Arc<Session>,
    (messages, accept): (Vec<Rpc>, Accept),
) -> Response {
    exchange(door, guest, session, (messages, accept), |answers| Some(Value::Array(answers))).await
}

async fn exchange(
    door: Arc<Door>,
    guest: Guest,
    session: Arc<Session>,
    (messages, accept): (Vec<Rpc>, Accept),
    together: impl FnOnce(Vec<Value>) -> Option<Value>,
) -> Response {
    let (out, mut said) = mpsc::channel(wire::WAITING);
    let outlet = Outlet { out, hears: accept.events };
    let mut requests = 0_usize;
    for message in messages {
        requests += usize::from(matches!(message, Rpc::Request(_)));
        take(&door, &guest, &session, (message, &outlet)).await;
    }
    drop(outlet);
    if requests == 0 {
        return wire::accepted();
    }
    let (mut answers, mut first) = (Vec::new(), None);
    loop {
        if !accept.json {
            break;
        }
        let next = tokio::select! { biased;
            next = said.recv() => next,
            () = door.silence(accept) => break,
        };
        match next {
            Some(Out::Answer(answer)) => answers.push(answer),
            Some(note) => {
                first = Some(note);
                break;
            }
            // Whoever cancels a request waits for no answer; so there may be none.
            None if answers.is_empty() => return wire::accepted(),
            None => match together(answers) {
                Some(answer) => return wire::json(StatusCode::OK, &answer),
                None => return wire::accepted(),
            },
        }
    }
    let before: Vec<Out> = answers.into_iter().map(Out::Answer).chain(first).collect();
    Events::produced(door.settings().heartbeat, |out| pass(before, said, out)).into_response()
}

async fn pass(before: Vec<Out>, mut said: mpsc::Receiver<Out>, out: mpsc::Sender<Out>) {
    for message in before {
        if out.send(message).await.is_err() {
            return;
        }
    }
    while let Some(message) = said.recv().await {
        if out.send(message).await.is_err() {
            return;
        }
    }
}

/// Takes one message of a client: what it asks for is begun, what it says is heard.
pub(super) async fn take(door: &Arc<Door>, guest: &Guest, session: &Arc<Session>, (message, outlet): (Rpc, &Outlet)) {
    match message {
        Rpc::Request(request) => {
            let id = request.id.clone();
            let (door, here, caller, out) = (door.clone(), session.clone(), session.caller(guest), outlet.clone());
            let begin = |under_way| work((door, here, caller), request, out, under_way);
            if let Err(error) = session.start(&id, begin) {
                say(outlet, &id, Err(error)).await;
            }
        }
        Rpc::Notification(notification) => heard(door, guest, session, notification).await,
        Rpc::Response(response) => answered(door, guest, session, response).await,
    }
}

async fn heard(door: &Arc<Door>, guest: &Guest, session: &Arc<Session>, notification: Notification) {
    match notification.method.as_str() {
        "notifications/initialized" => {}
        "notifications/cancelled" => {
            if let Some(id) = notification.params.get("requestId").cloned().and_then(Id::from_json) {
                session.cancel(&id);
            }
        }
        _ => door.aggregate.notice(&session.caller(guest), notification).await,
    }
}

/// An answer of the client's, to whoever asked: here, or in another process.
async fn answered(door: &Arc<Door>, guest: &Guest, session: &Arc<Session>, response: RpcResponse) {
    let Some(Id::Text(id)) = response.id else { return };
    if let Some(asker) = session.asker(&id) {
        // Nobody may be waiting any more.
        drop(asker.send(response.outcome));
    } else if let Some(asked) = questions::asked_under(&id, &session.token, &door.vault) {
        door.aggregate.answer(&session.caller(guest), &asked, response.outcome).await;
    }
}

/// The work on one request, to its answer. It ends without one when the grant does.
async fn work(
    (door, session, caller): (Arc<Door>, Arc<Session>, Caller),
    request: Request,
    outlet: Outlet,
    under_way: UnderWay,
) {
    let (id, calls) = (request.id.clone(), request.method == "tools/call");
    let outcome = tokio::select! { biased;
        () = caller.life.ended() => return,
        outcome = outcome(&door, &session, &caller, request, &outlet) => outcome,
    };
    under_way.is_answered();
    say(&outlet, &id, outcome).await;
    drop(outlet);
    // Lists are what sessions at upstreams are begun for.
    if !calls && session.remember(door.aggregate.resumptions(&caller)) {
        save(&door, &session).await;
    }
}

async fn outcome(
    door: &Door,
    session: &Session,
    caller: &Caller,
    request: Request,
    outlet: &Outlet,
) -> Result<Value, RpcError> {
    let text = |name: &str| request.params.get(name).and_then(Value::as_str).map(str::to_owned);
    match request.method.as_str() {
        "ping" => Ok(json!({})),
        "initialize" => Err(RpcError::new(RpcError::INVALID_REQUEST, "this session has begun already")),
        "logging/setLevel" => {
            let level = text("level").filter(|level| severity(level).is_some());
            let level =
                level.ok_or_else(|| RpcError::new(RpcError::INVALID_PARAMS, "level must be a level of RFC 5424"))?;
            let result = converse(door, session, caller, request, outlet).await?;
            session.set_log_level(&level);
            save(door, session).await;
            Ok(result)
        }
        "resources/subscribe" => {
            session.may_subscribe()?;
            let uri = text("uri");
            let result = converse(door, session, caller, request, outlet).await?;
            if let Some(uri) = uri {
                session.subscribe(uri);
                save(door, session).await;
            }
            Ok(result)
        }
        "resources/unsubscribe" => {
            let uri = text("uri");
            let result = converse(door, session, caller, request, outlet).await?;
            if let Some(uri) = uri {
                session.unsubscribe(&uri);
                save(door, session).await;
            }
            Ok(result)
        }
        _ => converse(door, session, caller, request, outlet).await,
    }
}

/// The part that upstreams have in it.
async fn converse(
    door: &Door,
    session: &Session,
    caller: &Caller,
    request: Request,
    outlet: &Outlet,
) -> Result<Value, RpcError> {
    let (back, mut outgoing) = Back::new(wire::WAITING);
    let handled = door.aggregate.handle(caller, request, &back);
    tokio::pin!(handled);
    let outcome = loop {
        tokio::select! { biased;
            Some(said) = outgoing.recv() => pass_on(door, session, caller, (said, outlet)).await,
            outcome = &mut handled => break outcome,
        }
    };
    while let Ok(said) = outgoing.try_recv() {
        pass_on(door, session, caller, (said, outlet)).await;
    }
    outcome
}

/// Tells the client something, or asks it.
pub(super) async fn pass_on(door: &Door, session: &Session, caller: &Caller, (said, outlet): (Outgoing, &Outlet)) {
    match said {
        Outgoing::Notification(said) => {
            if outlet.hears && questions::hears(Era::Legacy, session.log_level().as_deref(), &said) {
                // Whoever is gone need not know.
                drop(outlet.out.send(Out::Note(said.to_json())).await);
            }
        }
        Outgoing::Ask { asked, method, params, answer } => {
            let refused = match ask(door, session, caller, (&asked, method, params), outlet) {
                Ok((id, question)) => match session.expect(id.clone(), answer) {
                    Ok(()) => {
                        if outlet.out.send(Out::Note(question)).await.is_ok() {
                            return;
                        }
                        session.asker(&id).map(|answer| (answer, "the client is gone"))
                    }
                    Err(answer) => Some((answer, "too many questions are open in this session")),
                },
                Err(error) => return drop(answer.send(Err(error))),
            };
            if let Some((answer, why)) = refused {
                drop(answer.send(Err(RpcError::new(RpcError::INTERNAL_ERROR, why))));
            }
        }
    }
}

/// The question as the client gets it, and its id.
fn ask(
    door: &Door,
    session: &Session,
    caller: &Caller,
    (asked, method, params): (&Asked, String, Members),
    outlet: &Outlet,
) -> Result<(String, Value), RpcError> {
    questions::may_be_asked(&caller.capabilities, &method, &params)?;
    if !outlet.hears {
        let why = "the client does not take text/event-stream, and so cannot be asked anything";
        return Err(RpcError::new(RpcError::INTERNAL_ERROR, why));
    }
    let id = questions::question_id(asked, &session.token, (&door.vault, &door.random));
    Ok((id.clone(), Request { id: Id::Text(id), method, params }.to_json()))
}

async fn say(outlet: &Outlet, id: &Id, outcome: Result<Value, RpcError>) {
    let answer = RpcResponse { id: Some(id.clone()), outcome }.to_json();
    // Whoever is gone need not know.
    drop(outlet.out.send(Out::Answer(answer)).await);
}

async fn save(door: &Door, session: &Session) {
    if let Err(fault) = door.sessions.save(session).await {
        tracing::error!(%fault, "what a session remembers could not be written down");
    }
}
