//! Connecting an upstream from within the conversation: a tool that names what can be connected, and a link to the page where the person
//! signs in. The link carries nothing: whoever opens it has to be signed in as the same person for it to help.

use super::Aggregate;
use super::answers::{failed, said};
use super::members::{Member, Membership};
use super::prefix::OURS;
use super::sending::Way;
use crate::mcp::era::Era;
use crate::mcp::rpc::{Members, Notification, RpcError};
use crate::unified::{Asked, Caller, View};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// What the tool is called.
pub(super) const TOOL: &str = "portcullis_connect";
/// How long a call waits for a person who said that they will open the link. Models are patient, their clients less.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the database is asked whether the person has connected, should nobody tell.
const LOOK: Duration = Duration::from_secs(2);

/// The tool, where there is something to connect.
pub(super) fn definition(caller: &Caller, members: &Membership) -> Option<Value> {
    if matches!(caller.view, View::One { .. }) {
        return None;
    }
    let names: Vec<&str> = members.unconnected().map(|member| member.prefix.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    let known: Vec<String> =
        members.unconnected().map(|member| format!("{} ({})", member.prefix, member.name())).collect();
    let description = format!(
        "Connects another server for the person, whose tools then appear in the list. These can be connected: {}. Gives a link \
         that the person has to open in a browser. Without an argument it tells which servers are connected and which cannot be \
         reached.",
        known.join(", ")
    );
    Some(json!({
        "name": TOOL,
        "title": "Connect a server",
        "description": description,
        "inputSchema": {
            "type": "object",
            "properties": { "server": { "type": "string", "enum": names, "description": "Which one." } },
            "additionalProperties": false,
        },
        "annotations": { "readOnlyHint": false, "destructiveHint": false, "idempotentHint": true, "openWorldHint": true },
    }))
}

/// Whether a client can show a link to its person (MCP 2025-11-25, Elicitation, URL mode).
pub(super) fn can_open_links(caller: &Caller) -> bool {
    caller.capabilities.get("elicitation").is_some_and(|elicitation| elicitation.get("url").is_some())
}

impl Aggregate {
    /// A call of the tool.
    pub(super) async fn connect(
        self: &Arc<Self>,
        way: Way<'_>,
        members: &Membership,
        params: &Members,
    ) -> Result<Value, RpcError> {
        let server = params.get("arguments").and_then(|arguments| arguments.get("server"));
        let Some(server) = server.filter(|server| !server.is_null()) else {
            return Ok(said(way.caller, &self.status(way.caller, members).await));
        };
        let named = |member: &&Arc<Member>| Some(member.prefix.as_str()) == server.as_str();
        let Some(member) = members.unconnected().find(named) else {
            return Ok(match members.members.iter().find(named) {
                Some(member) => said(way.caller, &format!("{} is connected already.", member.name())),
                None => failed(way.caller, &format!("There is no server {server} to connect.")),
            });
        };
        if self.connect_now(way, member).await {
            let text = format!("{} is connected. Its tools are in the list of tools now.", member.name());
            return Ok(said(way.caller, &text));
        }
        let text = format!(
            "Ask the person to open {} in a browser and to sign in there. The tools of {} appear in the list of tools afterwards.",
            self.link(member),
            member.name()
        );
        Ok(said(way.caller, &text))
    }

    /// Shows the person the link, if their client can, and waits for the connection; whether there is one now.
    pub(super) async fn connect_now(&self, way: Way<'_>, member: &Member) -> bool {
        if !can_open_links(way.caller) {
            return false;
        }
        let mut params = Members::new();
        let message = format!("{} has to be connected: sign in there to go on.", member.name());
        params.insert("mode".to_owned(), "url".into());
        params.insert("message".to_owned(), message.into());
        params.insert("url".to_owned(), self.link(member).into());
        let id = self.parts.random.token().to_string();
        if way.caller.era == Era::Legacy {
            params.insert("elicitationId".to_owned(), id.clone().into());
        }
        let asked = Asked { member: member.prefix.as_str().into(), id: None };
        let answer = way.back.ask(asked, "elicitation/create".to_owned(), params).await;
        let accepted = |answer: &Value| answer.get("action").and_then(Value::as_str) == Some("accept");
        if !answer.as_ref().is_ok_and(accepted) {
            return false;
        }
        let connected = tokio::time::timeout(PATIENCE, self.connected(way.caller, member)).await.is_ok();
        if way.caller.era == Era::Legacy && connected {
            let params = Members::from_iter([("elicitationId".to_owned(), id.into())]);
            let method = "notifications/elicitation/complete".to_owned();
            way.back.notify(Notification { method, params }).await;
        }
        connected
    }

    /// Waits until the person has connected.
    async fn connected(&self, caller: &Caller, member: &Member) {
        let mut news = self.parts.connections.news();
        loop {
            // A database in trouble is asked again.
            if matches!(self.parts.connections.needs_consent(&member.key).await, Ok(false)) {
                self.memberships.forget(caller.user);
                return;
            }
            let told = async {
                loop {
                    match news.recv().await {
                        Ok(user) if user != caller.user => {}
                        Ok(_) | Err(RecvError::Lagged(_)) => return,
                        Err(RecvError::Closed) => std::future::pending().await,
                    }
                }
            };
            drop(tokio::time::timeout(LOOK, told).await);
        }
    }

    /// Where the person connects an upstream.
    pub(super) fn link(&self, member: &Member) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("server", member.authority().as_str());
        if let Some(account) = &member.key.account {
            query.append_pair("account", account.as_str());
        }
        format!("{}/oauth/start?{}", self.parts.site.root_origin(), query.finish())
    }

    async fn status(self: &Arc<Self>, caller: &Caller, members: &Membership) -> String {
        let tools = self.gather(caller, members, super::lists::Kind::Tools).await;
        let mut lines = vec!["Connected:".to_owned()];
        lines.extend(members.ready().map(|member| {
            let count = tools.entries.iter().filter(|entry| entry.prefix == member.prefix.as_str()).count();
            format!("- {} ({}): {count} tools", member.prefix, member.name())
        }));
        let missing = tools.missing();
        if !missing.is_empty() {
            lines.push("Without an answer at present:".to_owned());
            lines.extend(missing.into_iter().map(|missing| format!("- {missing}")));
        }
        lines.push(format!("Not connected ({OURS} gives a link for each with the argument \"server\"):"));
        lines.extend(members.unconnected().map(|member| format!("- {} ({})", member.prefix, member.name())));
        lines.join("\n")
    }
}
