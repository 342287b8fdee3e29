//! A request on its way to one member: with permission, limit, deadline, consent and record, in the form of the member's era, and its
//! answer in that of the caller's.

use super::answers::{finish, in_words_of, is, not_found_of};
use super::members::Member;
use super::relay::{Ear, required_capability};
use super::{Aggregate, connecting, traced};
use crate::audit::Fate;
use crate::error::{Culprit, Fault};
use crate::mcp::era::{Era, meta};
use crate::mcp::rpc::{Members, Request, RpcError};
use crate::mcp_client::{Call, CallError, Client};
use crate::unified::{Asked, Back, Caller};
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How often a modern upstream may ask a legacy caller for more before it has to answer.
const ROUNDS: usize = 16;
/// Members of `_meta` that say how the sender speaks: each side has its own.
const ENVELOPE: [&str; 4] = [meta::VERSION, meta::CLIENT_INFO, meta::CLIENT_CAPABILITIES, meta::LOG_LEVEL];

/// A request, and the way back of its caller.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) caller: &'a Caller,
    pub(super) back: &'a Back,
}

/// A request to one member, under the member's own names.
pub(super) struct Routed {
    pub(super) method: String,
    pub(super) params: Members,
    /// What it names: the tool, the prompt, the resource.
    pub(super) name: Option<String>,
    pub(super) mirrored: Vec<(HeaderName, HeaderValue)>,
}

impl Routed {
    pub(super) fn new(request: Request, name: Option<String>) -> Self {
        Self { method: request.method, params: request.params, name, mirrored: Vec::new() }
    }
}

impl Aggregate {
    /// A request that nothing is known about, where there is one upstream under its own names.
    pub(super) async fn routed(
        self: &Arc<Self>,
        way: Way<'_>,
        member: &Arc<Member>,
        routed: Routed,
    ) -> Result<Value, RpcError> {
        let reads = (routed.method == "resources/read").then(|| routed.name.clone()).flatten();
        let outcome = self.send(way, member, routed).await;
        outcome.map_err(|error| match (error, reads) {
            (CallError::Rpc(error), Some(uri)) => not_found_of(way.caller, error, &member.naming.uri(&uri)),
            (CallError::Rpc(error), None) => error,
            (error, _) => self.trouble(member, &error),
        })
    }

    /// Sends a request to its member, with everything that belongs to it: permission, limit, deadline, consent, record.
    pub(super) async fn send(
        self: &Arc<Self>,
        way: Way<'_>,
        member: &Arc<Member>,
        mut routed: Routed,
    ) -> Result<Value, CallError> {
        let mut span = traced::begin(way.caller, member, &mut routed);
        let outcome = self.sent(way, member, routed).await;
        if let (Some(span), Err(error)) = (&mut span, &outcome) {
            span.fail(traced::kind_of(error));
        }
        outcome
    }

    async fn sent(self: &Arc<Self>, way: Way<'_>, member: &Arc<Member>, routed: Routed) -> Result<Value, CallError> {
        let settings = self.settings.load_full();
        let mut record = self.record((way.caller, member), &routed.method, routed.name.as_deref());
        if !self.parts.registry.may_use(way.caller.user, member.authority()) {
            record.fate = Fate::Refused;
            return Err(unavailable("you may not use it any longer: an administrator decides", None));
        }
        if let Err(limited) = settings.limits.check_user_upstream(way.caller.user, member.authority()) {
            return Err(unavailable("there were too many requests to it", Some(limited.retry_after)));
        }
        let performed = self.perform(way, member, routed);
        let outcome = match tokio::time::timeout(settings.unified.call_timeout, performed).await {
            Ok(outcome) => outcome,
            Err(_) => Err(unavailable("it did not answer in time", None)),
        };
        if matches!(outcome, Ok(_) | Err(CallError::Rpc(_))) {
            record.fate = Fate::Answered;
        }
        outcome
    }

    /// Asks for consent where it is missing, once, and goes on afterwards.
    async fn perform(self: &Arc<Self>, way: Way<'_>, member: &Arc<Member>, routed: Routed) -> Result<Value, CallError> {
        let can_ask = connecting::can_open_links(way.caller);
        let again = can_ask.then(|| Routed {
            method: routed.method.clone(),
            params: routed.params.clone(),
            name: None,
            mirrored: routed.mirrored.clone(),
        });
        match self.attempt(way, member, routed).await {
            Err(CallError::NeedsConsent) => match again {
                Some(routed) if self.connect_now(way, member).await => self.attempt(way, member, routed).await,
                _ => Err(CallError::NeedsConsent),
            },
            outcome => outcome,
        }
    }

    async fn attempt(self: &Arc<Self>, way: Way<'_>, member: &Member, routed: Routed) -> Result<Value, CallError> {
        let client = self.client(way.caller, member).await?;
        let server = client.server();
        let level = self.level(way.caller, member, &client).await;
        let mut call = call_of(member, routed, level);
        if server.era == Era::Legacy {
            // What the caller was asked in the place of an error of this server's.
            call.params.shift_remove("inputResponses");
            call.params.shift_remove("requestState");
        }
        let asks_us = server.era == Era::Modern && way.caller.era == Era::Legacy;
        for _ in 0..ROUNDS {
            let again = asks_us.then(|| call.clone());
            let ear = Ear { caller: way.caller, member, client: &client, back: Some(way.back) };
            let mut result = match self.request(ear, call).await {
                Ok(result) => result,
                Err(CallError::Rpc(error)) => return in_words_of(way.caller, error),
                Err(error) => return Err(error),
            };
            match again {
                Some(mut next) if is(&result, "input_required") => {
                    self.answer_questions(way, member, &mut next.params, &mut result).await?;
                    call = next;
                }
                _ => {
                    member.outward().result(&mut result);
                    finish(way.caller, &mut result);
                    return Ok(result);
                }
            }
        }
        Err(unavailable("it asks for more again and again", None))
    }

    /// The level of log messages that a caller wants of this request, or of all. A legacy upstream is told, once.
    async fn level(&self, caller: &Caller, member: &Member, client: &Client) -> Option<String> {
        let wanted = match caller.era {
            Era::Legacy => self.sessions.of(caller).level.lock().clone(),
            Era::Modern => caller.log_level.clone(),
        }?;
        self.tell_level((caller, member), client, &wanted).await;
        Some(wanted)
    }

    pub(super) async fn tell_level(&self, (caller, member): (&Caller, &Member), client: &Client, level: &str) {
        let server = client.server();
        let session = self.sessions.of(caller);
        let told = session.told.lock().get(&member.key).is_some_and(|told| told == level);
        if told || server.era == Era::Modern || !server.capabilities.contains_key("logging") {
            return;
        }
        let params = Members::from_iter([("level".to_owned(), level.into())]);
        let call = Call { method: "logging/setLevel".to_owned(), params, log_level: None, mirrored: Vec::new() };
        let ear = Ear { caller, member, client, back: None };
        if self.request(ear, call).await.is_ok() {
            session.told.lock().insert(member.key.clone(), level.to_owned());
        }
    }

    /// Asks a legacy caller what a modern upstream wants to know, and puts the answers into the next attempt (MCP 2026-07-28,
    /// Multi Round-Trip Requests).
    async fn answer_questions(
        &self,
        way: Way<'_>,
        member: &Member,
        params: &mut Members,
        result: &mut Value,
    ) -> Result<(), CallError> {
        member.outward().result(result);
        let questions = match result.get_mut("inputRequests").map(Value::take) {
            Some(Value::Object(questions)) => questions,
            _ => Members::new(),
        };
        let asking = questions.into_iter().map(|(key, mut question)| async move {
            let method = question.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
            let capability = required_capability(&method);
            if !capability.is_some_and(|needed| way.caller.capabilities.contains_key(needed)) {
                let why = format!("the server asks {method}, which this client does not understand");
                return Err(CallError::Rpc(RpcError::new(RpcError::INTERNAL_ERROR, why)));
            }
            let params = match question.get_mut("params").map(Value::take) {
                Some(Value::Object(params)) => params,
                _ => Members::new(),
            };
            let asked = Asked { member: member.prefix.as_str().into(), id: None };
            let mut answer = way.back.ask(asked, method, params).await.map_err(CallError::Rpc)?;
            member.inward().answer(&mut answer);
            Ok((key, answer))
        });
        let answers = futures_util::future::try_join_all(asking).await?;
        params.insert("inputResponses".to_owned(), Value::Object(answers.into_iter().collect()));
        match result.get_mut("requestState").map(Value::take) {
            Some(state) => params.insert("requestState".to_owned(), state),
            None => params.shift_remove("requestState"),
        };
        Ok(())
    }

    /// What happened, and what to do about it: models read it.
    pub(super) fn sentence(&self, member: &Member, error: &CallError) -> String {
        let name = member.name();
        match error {
            CallError::Rpc(error) => format!("{name} answered with an error: {}", error.message),
            CallError::NeedsConsent => format!(
                "{name} is not connected. Ask the person to open {} in a browser, sign in there, and then call this again.",
                self.link(member)
            ),
            CallError::Unavailable { fault, retry_after } => {
                let what = match fault.culprit {
                    Culprit::Gateway | Culprit::Busy => "cannot be used through this gateway at present",
                    _ => "cannot be used at present",
                };
                let when = match retry_after {
                    // Rounded up: whoever comes a moment too early is told the same again.
                    Some(after) => format!("Try again in {} s.", after.as_millis().div_ceil(1000).max(1)),
                    None => "Try again later; what comes from other servers is not affected.".to_owned(),
                };
                format!("{name} {what}: {}. {when}", fault.public)
            }
        }
    }

    fn trouble(&self, member: &Member, error: &CallError) -> RpcError {
        let said = RpcError::new(RpcError::INTERNAL_ERROR, self.sentence(member, error));
        match error {
            CallError::NeedsConsent => {
                said.with(json!({ "upstream": member.prefix.as_str(), "url": self.link(member) }))
            }
            _ => said.with(json!({ "upstream": member.prefix.as_str() })),
        }
    }
}

/// A request as its member gets it.
fn call_of(member: &Member, routed: Routed, log_level: Option<String>) -> Call {
    let Routed { method, mut params, mirrored, .. } = routed;
    member.inward().params(&mut params);
    if let Some(Value::Object(meta)) = params.get_mut("_meta") {
        ENVELOPE.iter().for_each(|key| drop(meta.shift_remove(*key)));
        if meta.is_empty() {
            params.shift_remove("_meta");
        }
    }
    Call { method, params, log_level, mirrored }
}

pub(super) fn unavailable(why: &'static str, retry_after: Option<Duration>) -> CallError {
    CallError::Unavailable { fault: Fault::upstream(why, why), retry_after }
}
