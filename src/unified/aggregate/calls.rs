//! Requests that belong to one member: found by what they name. How they are sent is in `sending.rs`.

use super::answers::{complete, failed, no_resource};
use super::lists::Kind;
use super::members::{Member, Membership};
use super::naming::Original;
use super::sending::{Routed, Way};
use super::{Aggregate, mirrored};
use crate::audit::Fate;
use crate::mcp::era::Era;
use crate::mcp::level::severity;
use crate::mcp::rpc::{Members, Request, RpcError};
use crate::mcp_client::CallError;
use crate::unified::Caller;
use futures_util::future::join_all;
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use std::sync::Arc;

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
        let owner = all.find_map(|member| Some((member, member.inward().task(&task)?)));
        let unknown = || RpcError::new(RpcError::INVALID_PARAMS, format!("Task not found: {task}"));
        let (member, original) = owner.ok_or_else(unknown)?;
        let original = original.to_owned();
        request.params.insert("taskId".to_owned(), original.into());
        self.routed(way, member, Routed::new(request, None)).await
    }

    /// `tasks/list` (MCP 2025-11-25): those of all members that know one person from another. What the others list may be
    /// anybody's.
    pub(super) async fn tasks(
        self: &Arc<Self>,
        way: Way<'_>,
        members: &Membership,
        request: Request,
    ) -> Result<Value, RpcError> {
        if let Some(member) = members.plain().filter(|member| !member.is_shared()) {
            return self.routed(way, member, Routed::new(request, None)).await;
        }
        let patience = self.settings.load().unified.list_timeout;
        let own = members.ready().filter(|member| !member.is_shared());
        let of_member = |member: Arc<Member>| async move {
            let client = self.client(way.caller, &member).await.ok()?;
            client.server().capabilities.get("tasks")?.get("list")?;
            let request = Request { id: 0.into(), method: "tasks/list".to_owned(), params: Members::new() };
            let mut result = self.send(way, &member, Routed::new(request, None)).await.ok()?;
            result.get_mut("tasks").map(Value::take)
        };
        let all = join_all(own.cloned().map(|member| tokio::time::timeout(patience, of_member(member)))).await;
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
}

/// Whose a URI is, and what it is there.
pub(super) fn owner_of_uri(members: &Membership, uri: &str) -> Option<(Arc<Member>, String)> {
    let mut all = members.members.iter();
    all.find_map(|member| Some((member.clone(), member.naming.original_uri(uri)?.into_owned())))
}

/// A text that a request must have.
pub(super) fn text<'a>(params: &'a Members, key: &str) -> Result<&'a str, RpcError> {
    let missing = || RpcError::new(RpcError::INVALID_PARAMS, format!("params.{key} must be a text"));
    params.get(key).and_then(Value::as_str).ok_or_else(missing)
}
