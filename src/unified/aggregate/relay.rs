//! One request to an upstream, and what the upstream sends meanwhile: progress and log messages go on to the caller, questions are
//! asked there and their answers handed back.

use super::Aggregate;
use super::lists::Kind;
use super::members::Member;
use crate::mcp::era::Era;
use crate::mcp::level::severity;
use crate::mcp::rpc::{Id, Members, Notification, Request, RpcError};
use crate::mcp_client::{Call, CallError, Client, Event};
use crate::unified::{Asked, Back, Caller};
use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use serde_json::Value;
use std::collections::HashMap;
use tokio::sync::mpsc;

/// How many events may wait for the caller.
pub(super) const EVENTS: usize = 64;
/// How many questions of one request may be open.
const QUESTIONS: usize = 32;

/// Who hears what an upstream says, and by which way.
#[derive(Clone, Copy)]
pub(super) struct Ear<'a> {
    pub(super) caller: &'a Caller,
    pub(super) member: &'a Member,
    pub(super) client: &'a Client,
    /// None: nobody can be told or asked.
    pub(super) back: Option<&'a Back>,
}

/// Questions that are open.
pub(super) struct Questions<'a> {
    asking: FuturesUnordered<BoxFuture<'a, ()>>,
    open: HashMap<Id, AbortHandle>,
}

impl Questions<'_> {
    pub(super) fn new() -> Self {
        Self { asking: FuturesUnordered::new(), open: HashMap::new() }
    }

    /// Waits for ever while there is none.
    pub(super) async fn next(&mut self) {
        if self.asking.next().await.is_none() {
            self.open.clear();
            std::future::pending::<()>().await;
        }
    }
}

impl Aggregate {
    /// Sends a request; dropping the future cancels it, and the questions with it.
    pub(super) async fn request(&self, ear: Ear<'_>, call: Call) -> Result<Value, CallError> {
        let (events, mut heard) = mpsc::channel(EVENTS);
        let mut questions = Questions::new();
        let request = ear.client.request(call, &events);
        tokio::pin!(request);
        let outcome = loop {
            tokio::select! { biased;
                Some(event) = heard.recv() => self.hear(ear, event, &mut questions).await,
                () = questions.next() => {}
                outcome = &mut request => break outcome,
            }
        };
        // What came before the result is told before it.
        while let Ok(event) = heard.try_recv() {
            if matches!(event, Event::Notification(_)) {
                self.hear(ear, event, &mut questions).await;
            }
        }
        outcome
    }

    /// Takes one event.
    pub(super) async fn hear<'a>(&self, ear: Ear<'a>, event: Event, questions: &mut Questions<'a>) {
        match event {
            Event::Notification(notification) => self.tell(ear, notification, questions).await,
            Event::Request(request) => {
                let (answering, stop) = AbortHandle::new_pair();
                if questions.asking.len() >= QUESTIONS {
                    drop(ear.client.respond(request.id, Err(busy())).await);
                    return;
                }
                questions.open.insert(request.id.clone(), answering);
                // Cancelled questions need no answer.
                let answered = Abortable::new(ask(ear, request), stop).map(|_| ());
                questions.asking.push(Box::pin(answered));
            }
        }
    }

    async fn tell(&self, ear: Ear<'_>, mut notification: Notification, questions: &mut Questions<'_>) {
        if notification.method == "notifications/cancelled" {
            let id = notification.params.remove("requestId").and_then(Id::from_json);
            if let Some(question) = id.and_then(|id| questions.open.remove(&id)) {
                question.abort();
            }
            return;
        }
        if let Some(changed) = Kind::changed(&notification.method) {
            self.lists.invalidate(ear.caller, ear.member, changed);
        }
        let Some(back) = ear.back else { return };
        if !wants(ear.caller, &notification) {
            return;
        }
        ear.member.outward().notification(&mut notification);
        back.notify(notification).await;
    }
}

async fn ask(ear: Ear<'_>, request: Request) {
    let Request { id, method, mut params } = request;
    let refusal = match (ear.back, required_capability(&method)) {
        (_, Some("")) => Some(Ok(Value::Object(Members::new()))),
        (Some(_), Some(capability)) if ear.caller.capabilities.contains_key(capability) => None,
        _ => Some(Err(RpcError::new(RpcError::METHOD_NOT_FOUND, format!("this client cannot be asked {method}")))),
    };
    let outcome = match (refusal, ear.back) {
        (Some(outcome), _) => outcome,
        (None, None) => return,
        (None, Some(back)) => {
            ear.member.outward().question(&mut params);
            let asked = Asked { member: ear.member.prefix.as_str().into(), id: Some(id.clone()) };
            let mut outcome = back.ask(asked, method, params).await;
            if let Ok(answer) = &mut outcome {
                ear.member.inward().answer(answer);
            }
            outcome
        }
    };
    // Whoever is gone needs no answer.
    drop(ear.client.respond(id, outcome).await);
}

/// What a client must be able to do for a question; nothing for `ping`, and none for what upstreams may not ask.
pub(super) fn required_capability(method: &str) -> Option<&'static str> {
    match method {
        "ping" => Some(""),
        "elicitation/create" => Some("elicitation"),
        "sampling/createMessage" => Some("sampling"),
        "roots/list" => Some("roots"),
        _ => None,
    }
}

fn busy() -> RpcError {
    RpcError::new(RpcError::INTERNAL_ERROR, "too many questions are open")
}

/// A modern caller gets log messages only if it asked for them with its request.
fn wants(caller: &Caller, notification: &Notification) -> bool {
    if notification.method != "notifications/message" {
        return true;
    }
    let said = notification.params.get("level").and_then(Value::as_str).and_then(severity);
    match (caller.era, &caller.log_level) {
        (Era::Legacy, None) => true,
        (Era::Modern, None) => false,
        (_, Some(wanted)) => severity(wanted).is_none_or(|wanted| said.is_none_or(|said| said >= wanted)),
    }
}
