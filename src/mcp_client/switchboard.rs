//! Who gets what a server sends on a channel that several share: answers go to the call that they belong to, progress to the
//! call whose token it names, changes to those who listen, and questions to the one who has calls in flight. Where nobody can
//! know whose a message is, nobody gets it.
//!
//! Whoever does not read loses notifications here, and holds nobody else up.

use super::envelope::progress_of;
use super::filter::is_change;
use super::{CallError, Event, Events, Filter};
use crate::mcp::era::{meta, meta_of};
use crate::mcp::rpc::{Id, Notification, Request, Response, Rpc, RpcError};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio::sync::{oneshot, watch};

/// The most calls that may be in flight on one channel.
const MAX_CALLS: usize = 16 * 1024;
/// The most questions of a server that may wait for their answers.
const MAX_ASKED: usize = 1024;

/// One of those who share a channel.
pub(super) type Port = u64;

/// The state of a channel.
pub(super) struct Switchboard {
    state: Mutex<State>,
    /// Counts changes of what is listened to.
    wanted: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    next: u64,
    calls: HashMap<u64, InFlight>,
    /// In the order in which they came.
    listeners: BTreeMap<u64, Listener>,
    ports: BTreeSet<Port>,
    asked: HashMap<Id, Asked>,
    ended: Option<CallError>,
}

/// A call whose answer has not come.
struct InFlight {
    port: Port,
    /// The caller's own progress token.
    token: Option<Value>,
    events: Events,
    /// It is a subscription: nothing is asked because of it.
    is_subscription: bool,
    /// `None` where the answer comes another way.
    answer: Option<oneshot::Sender<Result<Value, CallError>>>,
}

struct Listener {
    port: Port,
    filter: Filter,
    events: Events,
}

/// A question that the server waits for.
struct Asked {
    port: Port,
    events: Events,
}

/// The answer to a call, when it comes.
pub(super) type Answered = oneshot::Receiver<Result<Value, CallError>>;

impl Default for Switchboard {
    fn default() -> Self {
        Self { state: Mutex::default(), wanted: watch::Sender::new(0) }
    }
}

impl Switchboard {
    /// Another one shares the channel.
    pub(super) fn plug(&self) -> Port {
        let mut state = self.state.lock();
        let port = state.number();
        state.ports.insert(port);
        port
    }

    /// It does no longer: what it waited for is forgotten.
    pub(super) fn unplug(&self, port: Port) {
        let mut state = self.state.lock();
        state.ports.remove(&port);
        state.calls.retain(|_, call| call.port != port);
        state.listeners.retain(|_, listener| listener.port != port);
        state.asked.retain(|_, asked| asked.port != port);
        drop(state);
        self.wanted.send_modify(|count| *count += 1);
    }

    /// A number for a message that nothing is known about.
    pub(super) fn number(&self) -> u64 {
        self.state.lock().number()
    }

    /// A call begins: its number, which is its id and its progress token, and its answer.
    pub(super) fn call(&self, port: Port, events: &Events) -> Result<(u64, Answered), CallError> {
        self.begin(port, events, false)
    }

    /// The same for a `subscriptions/listen`, whose acknowledgement goes to `events`.
    pub(super) fn subscription(&self, port: Port, events: &Events) -> Result<(u64, Answered), CallError> {
        self.begin(port, events, true)
    }

    fn begin(&self, port: Port, events: &Events, is_subscription: bool) -> Result<(u64, Answered), CallError> {
        let mut state = self.state.lock();
        if let Some(why) = &state.ended {
            return Err(why.clone());
        }
        if state.calls.len() >= MAX_CALLS {
            let fault = crate::error::Fault::upstream("too many requests wait for the upstream", "a channel is full");
            return Err(fault.into());
        }
        let (answer, answered) = oneshot::channel();
        let number = state.number();
        let events = events.clone();
        let call = InFlight { port, token: None, events, is_subscription, answer: Some(answer) };
        state.calls.insert(number, call);
        Ok((number, answered))
    }

    /// The caller of a call wants progress under this token.
    pub(super) fn report_as(&self, number: u64, token: Option<Value>) {
        if let Some(call) = self.state.lock().calls.get_mut(&number) {
            call.token = token;
        }
    }

    /// A call is over; whether it was still in flight.
    pub(super) fn hang_up(&self, number: u64) -> bool {
        self.state.lock().calls.remove(&number).is_some()
    }

    /// How many calls of a port are in flight.
    pub(super) fn is_busy(&self, port: Port) -> bool {
        let state = self.state.lock();
        state.calls.values().any(|call| call.port == port && !call.is_subscription)
            || state.listeners.values().any(|one| one.port == port)
    }

    /// Somebody listens from now on; its number.
    pub(super) fn listen(&self, port: Port, filter: Filter, events: Events) -> u64 {
        let mut state = self.state.lock();
        let number = state.number();
        state.listeners.insert(number, Listener { port, filter, events });
        drop(state);
        self.wanted.send_modify(|count| *count += 1);
        number
    }

    /// And no longer.
    pub(super) fn unlisten(&self, number: u64) {
        self.state.lock().listeners.remove(&number);
        self.wanted.send_modify(|count| *count += 1);
    }

    /// What all listeners together want to hear of; `None` when there are none.
    pub(super) fn union(&self) -> Option<Filter> {
        let state = self.state.lock();
        let mut all = state.listeners.values();
        let first = all.next()?.filter.clone();
        Some(all.fold(first, |union, listener| union.with(&listener.filter)))
    }

    /// Has those look again who keep what is listened to going.
    pub(super) fn poke(&self) {
        self.wanted.send_modify(|count| *count += 1);
    }

    /// Changes whenever that may have changed.
    pub(super) fn wanted(&self) -> watch::Receiver<u64> {
        self.wanted.subscribe()
    }

    /// Whether a question of the server's was put to this port; it can be answered once.
    pub(super) fn take_asked(&self, port: Port, id: &Id) -> bool {
        let mut state = self.state.lock();
        let is_theirs = state.asked.get(id).is_some_and(|asked| asked.port == port);
        is_theirs && state.asked.remove(id).is_some()
    }

    /// The channel is gone: all calls fail.
    pub(super) fn end(&self, why: &CallError) {
        let mut state = self.state.lock();
        state.ended.get_or_insert_with(|| why.clone());
        let calls = std::mem::take(&mut state.calls);
        state.listeners.clear();
        state.asked.clear();
        drop(state);
        for answer in calls.into_values().filter_map(|call| call.answer) {
            // Whoever is gone need not know.
            drop(answer.send(Err(why.clone())));
        }
        self.wanted.send_modify(|count| *count += 1);
    }

    /// Why the channel ended, if it did.
    pub(super) fn ended(&self) -> Option<CallError> {
        self.state.lock().ended.clone()
    }

    /// Hands a message on to whom it concerns; what is to be sent back at once, if anything.
    pub(super) fn take(&self, message: Rpc) -> Option<Rpc> {
        match message {
            Rpc::Response(response) => {
                self.answered(response);
                None
            }
            Rpc::Notification(notification) => {
                self.state.lock().notified(notification);
                None
            }
            Rpc::Request(request) => {
                let id = request.id.clone();
                let outcome = self.state.lock().asked(request)?;
                Some(Rpc::Response(Response { id: Some(id), outcome }))
            }
        }
    }

    fn answered(&self, response: Response) {
        // Answers to what nobody asked, or twice, are for nobody.
        let Some(number) = response.id.as_ref().and_then(number_of) else { return };
        let call = self.state.lock().calls.remove(&number);
        if let Some(answer) = call.and_then(|call| call.answer) {
            drop(answer.send(response.outcome.map_err(CallError::Rpc)));
        }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn notified(&mut self, mut notification: Notification) {
        match notification.method.as_str() {
            "notifications/progress" => {
                let Some(call) = progress_of(&notification.params).and_then(|number| self.calls.get(&number)) else {
                    return;
                };
                let Some(token) = call.token.clone() else { return };
                notification.params.insert("progressToken".to_owned(), token);
                offer(&call.events, Event::Notification(notification));
            }
            "notifications/cancelled" => {
                let id = notification.params.get("requestId").cloned().and_then(Id::from_json);
                if let Some(asked) = id.and_then(|id| self.asked.remove(&id)) {
                    offer(&asked.events, Event::Notification(notification));
                }
            }
            "notifications/subscriptions/acknowledged" => {
                let id = meta_of(&notification.params, meta::SUBSCRIPTION).cloned().and_then(Id::from_json);
                let call = id.as_ref().and_then(number_of).and_then(|number| self.calls.get(&number));
                if let Some(call) = call.filter(|call| call.is_subscription) {
                    offer(&call.events, Event::Notification(notification));
                }
            }
            _ if is_change(&notification) => {
                for listener in self.listeners.values().filter(|listener| listener.filter.wants(&notification)) {
                    offer(&listener.events, Event::Notification(without_subscription(notification.clone())));
                }
            }
            _ => {
                if let Some((_, events)) = self.concerned() {
                    offer(&events, Event::Notification(notification));
                }
            }
        }
    }

    /// What is to be answered at once; `None` when somebody was asked.
    fn asked(&mut self, request: Request) -> Option<Result<Value, RpcError>> {
        if request.method == "ping" {
            return Some(Ok(json!({})));
        }
        let refused = |why: &str| Some(Err(RpcError::new(RpcError::INTERNAL_ERROR, why)));
        let Some((port, events)) = self.concerned() else {
            return refused("nobody can tell whom this is for: it was not sent because of one caller's request alone");
        };
        if self.asked.len() >= MAX_ASKED {
            return refused("too many requests wait for answers");
        }
        let id = request.id.clone();
        match events.try_send(Event::Request(request)) {
            Ok(()) => {
                self.asked.insert(id, Asked { port, events });
                None
            }
            Err(_) => refused("the one whom this is for does not take it"),
        }
    }

    /// The one whom a message concerns that says nothing about it: who alone has calls in flight, else who alone is there
    /// and listens.
    fn concerned(&self) -> Option<(Port, Events)> {
        let callers = || self.calls.iter().filter(|(_, call)| !call.is_subscription);
        if let Some((_, newest)) = callers().max_by_key(|(number, _)| **number) {
            let alone = callers().all(|(_, call)| call.port == newest.port);
            return alone.then(|| (newest.port, newest.events.clone()));
        }
        if self.ports.len() > 1 {
            return None;
        }
        self.listeners.values().next().map(|listener| (listener.port, listener.events.clone()))
    }
}

/// Which subscription of ours a notification came by is nobody else's business.
fn without_subscription(mut notification: Notification) -> Notification {
    if meta_of(&notification.params, meta::SUBSCRIPTION).is_some()
        && let Some(Value::Object(of_meta)) = notification.params.get_mut("_meta")
    {
        of_meta.remove(meta::SUBSCRIPTION);
        if of_meta.is_empty() {
            notification.params.remove("_meta");
        }
    }
    notification
}

/// The number of a call, in an id that a server gave back.
fn number_of(id: &Id) -> Option<u64> {
    match id {
        Id::Number(number) => number.as_u64(),
        Id::Text(_) => None,
    }
}

fn offer(events: &Events, event: Event) {
    if events.try_send(event).is_err() {
        tracing::debug!("a notification of an upstream is lost: whom it is for does not read");
    }
}
