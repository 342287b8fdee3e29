//! Requests that belong to one member: found by what they name, sent with the person's credential, answered under the caller's names.

use super::lists::Kind;
use super::members::{Member, Membership};
use super::naming::Original;
use super::relay::{Ear, required_capability, severity};
use super::rewrite::{Inward, Outward};
use super::{Aggregate, connecting, mirrored};
use crate::audit::Fate;
use crate::error::{Culprit, Fault};
use crate::mcp::era::{Era, meta};
use crate::mcp::rpc::{Members, Request, RpcError};
use crate::mcp_client::{Call, CallError, Client};
use crate::unified::{Asked, Back, Caller};
use futures_util::future::join_all;
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
    /// `tools/call`
    pub(super) async fn call_tool(
        self: &Arc<Self>,
        way: Way<'_>,
        members: &Membership,
        mut request: Request,
    ) -> Result<Value, RpcError> {
        let name = text(&request.params, "name")?.to_owned();
        let unknown = || RpcError::new(RpcError::INVALID_PARAMS, format!("Unknown tool: {name}"));
        let (member, original) =
            self.owner_of_name(way.caller, members, (Kind::Tools, &name)).await.ok_or_else(unknown)?;
        if member.upstream.tools.as_ref().is_some_and(|policy| !policy.permits(&original)) {
            self.record((way.caller, &member), &request.method, Some(&original)).fate = Fate::Refused;
            let why = format!(
                "tool {name:?} is not available: an administrator decides which tools of this server may be used"
            );
            return Err(RpcError::new(RpcError::INVALID_PARAMS, why));
        }
        request.params.insert("name".to_owned(), original.clone().into());
        let mut routed = Routed::new(request, Some(original));
        if member.ready {
            routed.mirrored = self.mirrored(way.caller, &member, &routed).await?;
        }
        match self.send(way, &member, routed).await {
            Ok(result) => Ok(result),
            Err(CallError::Rpc(error)) => Err(error),
            Err(error) => Ok(failed(way.caller, &self.sentence(&member, &error))),
        }
    }

    /// `prompts/get`
    pub(super) async fn get_prompt(
        self: &Arc<Self>,
        way: Way<'_>,
        members: &Membership,
        mut request: Request,
    ) -> Result<Value, RpcError> {
        let name = text(&request.params, "name")?.to_owned();
        let owner = self.owner_of_name(way.caller, members, (Kind::Prompts, &name)).await;
        let unknown = || RpcError::new(RpcError::INVALID_PARAMS, format!("Unknown prompt: {name}"));
        let (member, original) = owner.ok_or_else(unknown)?;
        request.params.insert("name".to_owned(), original.clone().into());
        self.routed(way, &member, Routed::new(request, Some(original))).await
    }

    /// `resources/read`, `resources/subscribe`, `resources/unsubscribe`
    pub(super) async fn resource(
        self: &Arc<Self>,
        way: Way<'_>,
        members: &Membership,
        mut request: Request,
    ) -> Result<Value, RpcError> {
        let uri = text(&request.params, "uri")?.to_owned();
        let Some((member, original)) = owner_of_uri(members, &uri) else {
            return Err(no_resource(way.caller, &uri));
        };
        request.params.insert("uri".to_owned(), original.clone().into());
        if request.method != "resources/read"
            && self.subscribes_for(way.caller, &member, &request.method, &original).await?
        {
            return Ok(complete(way.caller));
        }
        self.routed(way, &member, Routed::new(request, Some(original))).await
    }

    /// `completion/complete`
    pub(super) async fn complete(
        self: &Arc<Self>,
        way: Way<'_>,
        members: &Membership,
        mut request: Request,
    ) -> Result<Value, RpcError> {
        let wrong =
            || RpcError::new(RpcError::INVALID_PARAMS, "params.ref must name a prompt or a resource that exists");
        let reference = request.params.get_mut("ref").and_then(Value::as_object_mut).ok_or_else(wrong)?;
        let owner = match (reference.get("uri").and_then(Value::as_str), reference.get("name").and_then(Value::as_str))
        {
            (Some(uri), _) => owner_of_uri(members, uri).map(|found| ("uri", found)),
            (None, Some(name)) => {
                let found = self.owner_of_name(way.caller, members, (Kind::Prompts, name)).await;
                found.map(|found| ("name", found))
            }
            (None, None) => None,
        };
        let (key, (member, original)) = owner.ok_or_else(wrong)?;
        reference.insert(key.to_owned(), original.clone().into());
        self.routed(way, &member, Routed::new(request, Some(original))).await
    }

    /// `tasks/get`, `tasks/result`, `tasks/cancel`, `tasks/update`
    pub(super) async fn task(
        self: &Arc<Self>,
        way: Way<'_>,
        members: &Membership,
        mut request: Request,
    ) -> Result<Value, RpcError> {
        let task = text(&request.params, "taskId")?.to_owned();
        let mut all = members.members.iter();
        let owner = all.find_map(|member| Some((member, member.naming.original_task(&task)?)));
        let unknown = || RpcError::new(RpcError::INVALID_PARAMS, format!("Task not found: {task}"));
        let (member, original) = owner.ok_or_else(unknown)?;
        request.params.insert("taskId".to_owned(), original.into());
        self.routed(way, member, Routed::new(request, None)).await
    }

    /// `tasks/list` (MCP 2025-11-25): those of all members.
    pub(super) async fn tasks(
        self: &Arc<Self>,
        way: Way<'_>,
        members: &Membership,
        request: Request,
    ) -> Result<Value, RpcError> {
        if let Some(member) = members.plain() {
            return self.routed(way, member, Routed::new(request, None)).await;
        }
        let patience = self.settings.load().unified.list_timeout;
        let of_member = |member: Arc<Member>| async move {
            let client = self.client(way.caller, &member).await.ok()?;
            client.server().capabilities.get("tasks")?.get("list")?;
            let request = Request { id: 0.into(), method: "tasks/list".to_owned(), params: Members::new() };
            let mut result = self.send(way, &member, Routed::new(request, None)).await.ok()?;
            result.get_mut("tasks").map(Value::take)
        };
        let all =
            join_all(members.ready().cloned().map(|member| tokio::time::timeout(patience, of_member(member)))).await;
        let each = all.into_iter().filter_map(|tasks| match tasks {
            Ok(Some(Value::Array(tasks))) => Some(tasks),
            _ => None,
        });
        Ok(json!({ "tasks": each.flatten().collect::<Vec<Value>>() }))
    }

    /// `logging/setLevel`: remembered, and told to all members that log.
    pub(super) async fn set_level(
        self: &Arc<Self>,
        way: Way<'_>,
        members: &Membership,
        request: Request,
    ) -> Result<Value, RpcError> {
        let level = text(&request.params, "level")?.to_owned();
        if severity(&level).is_none() {
            return Err(RpcError::new(RpcError::INVALID_PARAMS, format!("{level:?} is no log level")));
        }
        *self.sessions.of(way.caller).level.lock() = Some(level.clone());
        let patience = self.settings.load().unified.list_timeout;
        let tell = |member: Arc<Member>| {
            let level = level.clone();
            async move {
                let client = self.client(way.caller, &member).await.ok()?;
                self.tell_level((way.caller, &member), &client, &level).await;
                Some(())
            }
        };
        // Whoever does not answer is told with the next request.
        let told = members.ready().cloned().map(|member| tokio::time::timeout(patience, tell(member)));
        drop(join_all(told).await);
        Ok(complete(way.caller))
    }

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
    async fn send(self: &Arc<Self>, way: Way<'_>, member: &Arc<Member>, routed: Routed) -> Result<Value, CallError> {
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
                    Outward(&member.naming).result(&mut result);
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

    async fn tell_level(&self, (caller, member): (&Caller, &Member), client: &Client, level: &str) {
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
        Outward(&member.naming).result(result);
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
            Inward(&member.naming).answer(&mut answer);
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

    /// `Mcp-Param-*`: checked for modern callers, made for modern upstreams.
    async fn mirrored(
        self: &Arc<Self>,
        caller: &Caller,
        member: &Arc<Member>,
        routed: &Routed,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, RpcError> {
        let checks = caller.era == Era::Modern && mirrored::has_mirrors(&caller.headers);
        let patience = self.settings.load().unified.call_timeout;
        let opened = tokio::time::timeout(patience, self.client(caller, member)).await;
        // What is wrong is told by the call itself.
        let Ok(Ok(client)) = opened else { return Ok(Vec::new()) };
        let makes = client.server().era == Era::Modern;
        if !checks && !makes {
            return Ok(Vec::new());
        }
        let name = routed.name.as_deref().unwrap_or_default();
        let tool = self.definition(caller, member, (Kind::Tools, |known: &str| known == name)).await;
        let wanted = tool.and_then(|tool| mirrored::of_schema(&tool).ok()).unwrap_or_default();
        let arguments = routed.params.get("arguments");
        // The caller of a tool of ours that calls this one knows nothing of its fields.
        if caller.era == Era::Modern && !self.shows_meta_tools(caller) {
            mirrored::check(&wanted, &caller.headers, arguments)?;
        }
        Ok(if makes { mirrored::fields(&wanted, arguments) } else { Vec::new() })
    }

    /// Whose a name is, and what it is called there.
    async fn owner_of_name(
        self: &Arc<Self>,
        caller: &Caller,
        members: &Membership,
        (kind, name): (Kind, &str),
    ) -> Option<(Arc<Member>, String)> {
        for member in &members.members {
            match member.naming.original(name) {
                Original::Is(original) => return Some((member.clone(), original.to_owned())),
                Original::Foreign => {}
                Original::WasChanged => {
                    let fits = |original: &str| member.naming.name(original) == name;
                    let entry = self.definition(caller, member, (kind, fits)).await?;
                    return Some((member.clone(), entry.get(kind.key())?.as_str()?.to_owned()));
                }
            }
        }
        None
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
                    Some(after) => format!("Try again in {} seconds.", after.as_secs().max(1)),
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
    Inward(&member.naming).params(&mut params);
    if let Some(Value::Object(meta)) = params.get_mut("_meta") {
        ENVELOPE.iter().for_each(|key| drop(meta.shift_remove(*key)));
        if meta.is_empty() {
            params.shift_remove("_meta");
        }
    }
    Call { method, params, log_level, mirrored }
}

/// Whose a URI is, and what it is there.
pub(super) fn owner_of_uri(members: &Membership, uri: &str) -> Option<(Arc<Member>, String)> {
    let mut all = members.members.iter();
    all.find_map(|member| Some((member.clone(), member.naming.original_uri(uri)?.into_owned())))
}

/// An error of ours.
pub(super) fn ours(fault: Fault) -> RpcError {
    tracing::error!(%fault, "the unified endpoint cannot answer");
    RpcError::new(RpcError::INTERNAL_ERROR, fault.public)
}

/// An empty result.
pub(super) fn complete(caller: &Caller) -> Value {
    match caller.era {
        Era::Modern => json!({ "resultType": "complete" }),
        Era::Legacy => json!({}),
    }
}

/// The result of a tool that failed.
pub(super) fn failed(caller: &Caller, why: &str) -> Value {
    let mut result = said(caller, why);
    result["isError"] = true.into();
    result
}

/// The result of a tool that says something.
pub(super) fn said(caller: &Caller, text: &str) -> Value {
    let mut result = complete(caller);
    result["content"] = json!([{ "type": "text", "text": text }]);
    result
}

/// A text that a request must have.
pub(super) fn text<'a>(params: &'a Members, key: &str) -> Result<&'a str, RpcError> {
    let missing = || RpcError::new(RpcError::INVALID_PARAMS, format!("params.{key} must be a text"));
    params.get(key).and_then(Value::as_str).ok_or_else(missing)
}

fn is(result: &Value, kind: &str) -> bool {
    result.get("resultType").and_then(Value::as_str) == Some(kind)
}

/// A result in the form of the caller's era.
fn finish(caller: &Caller, result: &mut Value) {
    let Some(members) = result.as_object_mut() else { return };
    match caller.era {
        Era::Legacy => {
            members.shift_remove("resultType");
        }
        Era::Modern => {
            members.entry("resultType").or_insert_with(|| "complete".into());
            if members.contains_key("contents") {
                members.entry("ttlMs").or_insert_with(|| 0.into());
                // Who may read it is decided here, person by person.
                members.insert("cacheScope".to_owned(), "private".into());
            }
        }
    }
}

/// An upstream's error for a caller of the other era. Links that a person has to open are an error in 2025-11-25 and a result
/// since.
fn in_words_of(caller: &Caller, error: RpcError) -> Result<Value, CallError> {
    if caller.era == Era::Legacy || error.code != RpcError::URL_ELICITATION_REQUIRED {
        return Err(CallError::Rpc(error));
    }
    let links = error.data.as_ref().and_then(|data| data.get("elicitations")).and_then(Value::as_array);
    let Some(links) = links.filter(|links| !links.is_empty() && connecting::can_open_links(caller)) else {
        return Err(CallError::Rpc(error));
    };
    let question = |(number, link): (usize, &Value)| {
        let mut params = link.clone();
        if let Some(params) = params.as_object_mut() {
            params.shift_remove("elicitationId");
        }
        (format!("link-{number}"), json!({ "method": "elicitation/create", "params": params }))
    };
    let questions: Members = links.iter().enumerate().map(question).collect();
    Ok(json!({ "resultType": "input_required", "inputRequests": questions }))
}

fn no_resource(caller: &Caller, uri: &str) -> RpcError {
    let code = match caller.era {
        Era::Legacy => RpcError::RESOURCE_NOT_FOUND,
        Era::Modern => RpcError::INVALID_PARAMS,
    };
    RpcError::new(code, "Resource not found").with(json!({ "uri": uri }))
}

/// An upstream's "there is no such resource" in the code of the caller's era.
fn not_found_of(caller: &Caller, error: RpcError, uri: &str) -> RpcError {
    let names_uri = error.data.as_ref().is_some_and(|data| data.get("uri").is_some());
    let not_found = match error.code {
        RpcError::RESOURCE_NOT_FOUND => true,
        RpcError::INVALID_PARAMS => caller.era == Era::Legacy && names_uri,
        _ => false,
    };
    if !not_found {
        return error;
    }
    let expected = no_resource(caller, uri);
    let data = if names_uri { expected.data } else { error.data };
    RpcError { code: expected.code, message: error.message, data }
}

pub(super) fn unavailable(why: &'static str, retry_after: Option<Duration>) -> CallError {
    CallError::Unavailable { fault: Fault::upstream(why, why), retry_after }
}
