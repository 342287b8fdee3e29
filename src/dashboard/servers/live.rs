//! The tools of an upstream, asked for with an administrator's own connection, and remembered for when it does not answer.

use crate::connect::ConnectionKey;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::dashboard::start::address::start_address;
use crate::hostname::Account;
use crate::mcp::rpc::Members;
use crate::mcp_client::{Call, CallError, Client, Principal};
use crate::store::{ToolList, User};
use crate::upstream::Upstream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a person waits for an upstream.
const PATIENCE: Duration = Duration::from_secs(8);
/// The most tools that are remembered of an upstream, and the most pages that they come in.
const MAX_TOOLS: usize = 1000;
const MAX_PAGES: usize = 50;
/// How much is remembered of a text, in characters.
const MAX_TEXT: usize = 200;

/// A tool as its upstream describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tool {
    /// What it is called by.
    pub(super) name: String,
    /// What people call it.
    #[serde(default)]
    pub(super) title: Option<String>,
    /// The first line of what it does.
    #[serde(default)]
    pub(super) description: String,
    /// `annotations.readOnlyHint`
    #[serde(default)]
    pub(super) reads_only: bool,
    /// `annotations.destructiveHint`
    #[serde(default)]
    pub(super) destroys: bool,
}

/// Why there is no list: in a sentence, and where the person connects, if that is missing.
pub(super) type Trouble = (String, Option<String>);

impl Dashboard {
    /// Asks the upstream, and remembers what it lists.
    pub(super) async fn read_tools(
        &self,
        user: &User,
        upstream: &Arc<Upstream>,
    ) -> Result<Result<usize, Trouble>, Failure> {
        let key = self.account_at(user, upstream).await?;
        let principal = Principal {
            key: key.clone(),
            session: format!("dashboard {}", user.id).into(),
            info: serde_json::json!({ "name": "portcullis", "version": env!("CARGO_PKG_VERSION") }),
            capabilities: Members::new(),
        };
        let asking = async {
            let client = self.mcp.open(upstream, &principal, None).await?;
            listed(&client).await
        };
        let tools = match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(tools)) => tools,
            Ok(Err(error)) => return Ok(Err(in_words(&error, upstream, &key))),
            Err(_) => return Ok(Err((format!("{} did not answer in time.", upstream.name), None))),
        };
        let document = serde_json::to_string(&tools).unwrap_or_default();
        let (authority, read_at) = (upstream.authority.to_string(), self.clock.now());
        self.store.put_tool_list(&ToolList { authority, document, read_at }).await?;
        Ok(Ok(tools.len()))
    }

    /// The plain account, unless the person has connected only another one.
    async fn account_at(&self, user: &User, upstream: &Upstream) -> Result<ConnectionKey, Failure> {
        let connections = self.store.connections_of(user.id).await?;
        let mut here = connections.into_iter().filter(|one| one.authority == upstream.authority.as_str());
        let accounts: Vec<String> = here.by_ref().map(|one| one.account).collect();
        let other = accounts.first().filter(|_| !accounts.iter().any(String::is_empty));
        let account = other.and_then(|account| Account::parse(account).ok());
        Ok(ConnectionKey::upstream(user.id, upstream.authority.clone(), account))
    }
}

/// The tools of a list that was remembered.
pub(super) fn remembered(list: &ToolList) -> Vec<Tool> {
    serde_json::from_str(&list.document).unwrap_or_default()
}

/// All pages of the list.
async fn listed(client: &Client) -> Result<Vec<Tool>, CallError> {
    let (events, mut heard) = mpsc::channel(16);
    // What a server says meanwhile is of no interest here, but it must not wait for somebody to hear it.
    let deaf = async {
        while heard.recv().await.is_some() {}
        std::future::pending().await
    };
    let reading = async {
        let (mut tools, mut seen) = (Vec::new(), BTreeSet::new());
        let mut cursor: Option<Value> = None;
        for _ in 0..MAX_PAGES {
            let params = cursor.take().map(|cursor| Members::from_iter([("cursor".to_owned(), cursor)]));
            let method = "tools/list".to_owned();
            let call = Call { method, params: params.unwrap_or_default(), log_level: None, mirrored: Vec::new() };
            let page = client.request(call, &events).await?;
            let listed = page.get("tools").and_then(Value::as_array).into_iter().flatten().filter_map(Tool::of);
            tools.extend(listed.filter(|tool| seen.insert(tool.name.clone())));
            cursor = page.get("nextCursor").filter(|cursor| !cursor.is_null()).cloned();
            if cursor.is_none() || tools.len() >= MAX_TOOLS {
                break;
            }
        }
        tools.truncate(MAX_TOOLS);
        Ok(tools)
    };
    tokio::select! { tools = reading => tools, () = deaf => Ok(Vec::new()) }
}

fn in_words(error: &CallError, upstream: &Upstream, key: &ConnectionKey) -> Trouble {
    let name = &upstream.name;
    match error {
        CallError::NeedsConsent => {
            let account = key.account.as_ref().map_or("", Account::as_str);
            let connect = start_address(upstream.authority.as_str(), account, false);
            (format!("You have not connected {name}: the list is read with your own account."), Some(connect))
        }
        CallError::Rpc(error) => (format!("{name} does not list its tools: {}", cut(&error.message)), None),
        CallError::Unavailable { fault, .. } => (format!("{name} cannot be asked at present: {}.", fault.public), None),
    }
}

impl Tool {
    fn of(value: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(cut);
        let hint = |name: &str| value["annotations"][name].as_bool();
        let name = value.get("name")?.as_str().filter(|name| !name.is_empty() && name.len() <= 512)?.to_owned();
        let title = text(&value["title"]).or_else(|| text(&value["annotations"]["title"]));
        Some(Self {
            title: title.filter(|title| *title != name),
            description: text(&value["description"]).unwrap_or_default(),
            reads_only: hint("readOnlyHint") == Some(true),
            destroys: hint("destructiveHint") == Some(true),
            name,
        })
    }
}

/// The first line that says something, cut.
fn cut(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_described_by_their_first_line_and_their_hints() {
        let tool = Tool::of(&serde_json::json!({
            "name": "drop", "title": "drop", "description": "\n  Drops it.\nFor good.",
            "annotations": { "title": "Drop", "readOnlyHint": false, "destructiveHint": true },
        }));
        let expected =
            Tool { name: "drop".to_owned(), description: "Drops it.".to_owned(), destroys: true, ..Tool::default() };
        assert_eq!(tool, Some(expected));
        assert_eq!(Tool::of(&serde_json::json!({ "name": "" })), None);
        assert_eq!(Tool::of(&serde_json::json!({ "title": "x" })), None);
        let long = Tool::of(&serde_json::json!({ "name": "x", "description": "é".repeat(900) })).unwrap();
        assert_eq!(long.description.chars().count(), MAX_TEXT);
    }
}
