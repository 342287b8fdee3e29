//! What we say of ourselves: what the members say, put together.

use super::answers::ours;
use super::members::{Member, Membership};
use super::{Aggregate, Description};
use crate::mcp::era::Era;
use crate::mcp::rpc::{Members, RpcError};
use crate::mcp_client::Server;
use crate::unified::{Caller, View};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;

/// How much of a member's instructions is passed on, and of all together, in characters: every conversation begins with them.
const OF_ONE: usize = 2_000;
const OF_ALL: usize = 12_000;
/// The extension of 2026-07-28 for tasks; that of 2025-11-25 is a capability of its own.
const TASKS: &str = "io.modelcontextprotocol/tasks";

impl Aggregate {
    pub(super) async fn description(self: &Arc<Self>, caller: &Caller) -> Result<Description, RpcError> {
        let members = self.members(caller).await.map_err(ours)?;
        if let View::One { .. } = caller.view {
            return self.description_of_one(caller, &members).await;
        }
        let patience = self.settings.load().unified.list_timeout;
        let deadline = tokio::time::Instant::now() + patience;
        let ask = |member: Arc<Member>| async move {
            let client = tokio::time::timeout_at(deadline, self.client(caller, &member)).await.ok()?.ok()?;
            Some((member, client.server()))
        };
        let said: Vec<_> = join_all(members.ready().cloned().map(ask)).await.into_iter().flatten().collect();
        // Members come and go, and with them what they offer.
        let mut capabilities = json!({
            "tools": { "listChanged": true },
            "prompts": { "listChanged": true },
            "resources": { "subscribe": true, "listChanged": true },
        });
        said.iter().for_each(|(_, server)| add(&mut capabilities, &Value::Object(offered(caller, server))));
        let capabilities = match capabilities {
            Value::Object(capabilities) => capabilities,
            _ => Members::new(),
        };
        if let ([(_, server)], Some(_)) = (said.as_slice(), members.plain()) {
            let (info, instructions) = (server.info.clone(), server.instructions.clone());
            return Ok(Description { capabilities, info: named(info), instructions });
        }
        Ok(Description { capabilities, info: named(Value::Null), instructions: Some(instructions(&members, &said)) })
    }

    async fn description_of_one(&self, caller: &Caller, members: &Membership) -> Result<Description, RpcError> {
        let member =
            members.members.first().ok_or_else(|| RpcError::new(RpcError::INTERNAL_ERROR, "nothing is there"))?;
        let client = self.client(caller, member).await.map_err(|error| {
            let text = self.sentence(member, &error);
            RpcError::new(RpcError::INTERNAL_ERROR, text)
        })?;
        let server = client.server();
        let capabilities = offered(caller, &server);
        Ok(Description { capabilities, info: named(server.info.clone()), instructions: server.instructions.clone() })
    }
}

/// What a server offers that a caller of this era can use.
fn offered(caller: &Caller, server: &Server) -> Members {
    let mut capabilities = server.capabilities.clone();
    match caller.era {
        Era::Modern => _ = capabilities.shift_remove("tasks"),
        Era::Legacy => {
            if let Some(Value::Object(extensions)) = capabilities.get_mut("extensions") {
                extensions.shift_remove(TASKS);
            }
        }
    }
    capabilities
}

/// What either has; true before false.
fn add(to: &mut Value, more: &Value) {
    match (to, more) {
        (Value::Object(to), Value::Object(more)) => {
            for (key, value) in more {
                match to.get_mut(key) {
                    Some(known) => add(known, value),
                    None => _ = to.insert(key.clone(), value.clone()),
                }
            }
        }
        (Value::Bool(to), Value::Bool(more)) => *to |= more,
        _ => {}
    }
}

/// `serverInfo` must have a name.
fn named(info: Value) -> Value {
    match info.get("name") {
        Some(Value::String(_)) => info,
        _ => json!({ "name": "portcullis", "title": "Portcullis", "version": env!("CARGO_PKG_VERSION") }),
    }
}

fn instructions(members: &Membership, said: &[(Arc<Member>, Arc<Server>)]) -> String {
    let mut text = String::from("Several MCP servers are reached through this one.");
    let names: Vec<String> =
        members.members.iter().map(|member| format!("{} ({})", member.prefix, member.name())).collect();
    if !names.is_empty() {
        text.push_str(" The names of tools and prompts begin with the server that they belong to: ");
        text.push_str(&names.join(", "));
        text.push('.');
    }
    if members.unconnected().next().is_some() {
        text.push_str(" More servers can be connected with portcullis_connect.");
    }
    for (member, server) in said {
        let Some(theirs) = server.instructions.as_deref().map(str::trim).filter(|theirs| !theirs.is_empty()) else {
            continue;
        };
        let part = format!("\n\n## {} ({})\n\n{}", member.prefix, member.name(), shortened(theirs));
        if text.len() + part.len() > OF_ALL {
            break;
        }
        text.push_str(&part);
    }
    text
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(OF_ONE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_offers_is_offered() {
        let mut all = json!({ "tools": { "listChanged": true }, "a": { "x": false } });
        add(&mut all, &json!({ "tools": { "listChanged": false }, "logging": {}, "a": { "x": true, "y": {} } }));
        assert_eq!(all, json!({ "tools": { "listChanged": true }, "a": { "x": true, "y": {} }, "logging": {} }));
    }

    #[test]
    fn instructions_are_bounded() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"ü".repeat(OF_ONE + 1)).chars().count(), OF_ONE + 1);
    }
}
