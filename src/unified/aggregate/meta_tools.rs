//! Three tools instead of hundreds: one that searches, one that describes, one that calls. What is called is called as if it had been
//! listed: the same policy, events and audit.

use super::Aggregate;
use super::answers::{failed, said};
use super::lists::Kind;
use super::members::Membership;
use super::merged::{Entry, is_ours};
use super::sending::Way;
use crate::mcp::rpc::{Members, Request, RpcError};
use crate::unified::{Caller, View};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::sync::Arc;

const SEARCH: &str = "portcullis_search_tools";
const DESCRIBE: &str = "portcullis_describe_tools";
const CALL: &str = "portcullis_call_tool";
/// All three.
pub(super) const TOOLS: [&str; 3] = [SEARCH, DESCRIBE, CALL];

/// How many tools a search finds, unless it asks for another number.
const FOUND: usize = 10;
const MOST_FOUND: usize = 50;
/// How many tools are described at once.
const MOST_DESCRIBED: usize = 20;
/// How much of a description a search shows, in characters.
const EXCERPT: usize = 200;

/// As they are listed.
pub(super) fn definitions() -> Vec<Value> {
    let reads = json!({ "readOnlyHint": true, "openWorldHint": false });
    vec![
        json!({
            "name": SEARCH,
            "title": "Search tools",
            "description": "Finds tools of all connected servers by words of their names and descriptions. Begin here: the tools \
                            themselves are not listed.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "query": { "type": "string", "description": "Words, like \"create issue\"; empty for any." },
                    "limit": { "type": "integer", "minimum": 1, "maximum": MOST_FOUND },
                },
                "required": ["query"],
                "additionalProperties": false,
            },
            "annotations": reads.clone(),
        }),
        json!({
            "name": DESCRIBE,
            "title": "Describe tools",
            "description": "Gives the whole definitions of tools, with the schemas of their arguments.",
            "inputSchema": {
                "type": "object",
                "properties": { "names": { "type": "array", "items": { "type": "string" }, "maxItems": MOST_DESCRIBED } },
                "required": ["names"],
                "additionalProperties": false,
            },
            "annotations": reads,
        }),
        json!({
            "name": CALL,
            "title": "Call a tool",
            "description": "Calls a tool by its name, with arguments that fit its schema.",
            "inputSchema": {
                "type": "object",
                "properties": { "name": { "type": "string" }, "arguments": { "type": "object" } },
                "required": ["name"],
                "additionalProperties": false,
            },
        }),
    ]
}

impl Aggregate {
    /// Whether a caller gets these instead of all tools.
    pub(super) fn shows_meta_tools(&self, caller: &Caller) -> bool {
        matches!(caller.view, View::Everything) && (caller.meta_tools || self.settings.load().unified.meta_tools)
    }

    /// A call of one of them.
    pub(super) async fn meta_tool(
        self: &Arc<Self>,
        way: Way<'_>,
        members: &Membership,
        mut request: Request,
    ) -> Result<Value, RpcError> {
        let arguments = match request.params.shift_remove("arguments") {
            Some(Value::Object(arguments)) => arguments,
            _ => Members::new(),
        };
        let name = request.params.get("name").and_then(Value::as_str);
        if name == Some(CALL) {
            let called = arguments.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            if is_ours(&called) {
                return Ok(failed(way.caller, &format!("{called} is called directly.")));
            }
            request.params.insert("name".to_owned(), called.into());
            if let Some(inner) = arguments.get("arguments") {
                request.params.insert("arguments".to_owned(), inner.clone());
            }
            return self.call_tool(way, members, request).await;
        }
        let tools = self.gather(way.caller, members, Kind::Tools).await;
        let mut answer = match name {
            Some(SEARCH) => {
                let query = arguments.get("query").and_then(Value::as_str).unwrap_or_default();
                let limit =
                    arguments.get("limit").and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
                found(&search(&tools.entries, query, limit.unwrap_or(FOUND).clamp(1, MOST_FOUND)))
            }
            _ => {
                let names = arguments.get("names").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                described(&tools.entries, names)
            }
        };
        for missing in tools.missing() {
            answer.push_str(&format!("\n(left out, {missing})"));
        }
        Ok(said(way.caller, &answer))
    }
}

/// The best first; those that are as good in their order.
fn search<'a>(tools: &'a [Entry], query: &str, limit: usize) -> Vec<&'a Entry> {
    let query = query.to_lowercase();
    let words: Vec<&str> =
        query.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).take(32).collect();
    let mut ranked: Vec<(usize, &Entry)> = tools.iter().map(|tool| (score(tool, &words), tool)).collect();
    ranked.retain(|(score, _)| *score > 0 || words.is_empty());
    ranked.sort_by_key(|(score, _)| Reverse(*score));
    ranked.into_iter().take(limit).map(|(_, tool)| tool).collect()
}

/// A word of the name counts more than one of the title, and that more than one of the description.
fn score(tool: &Entry, words: &[&str]) -> usize {
    let of = |key: &str| tool.value.get(key).and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let (name, title, description) = (tool.key.to_lowercase(), of("title"), of("description"));
    let is_word = |text: &str, word: &str| text.split(|c: char| !c.is_alphanumeric()).any(|one| one == word);
    let weigh = |text: &str, word: &str, weight: usize| match (is_word(text, word), text.contains(word)) {
        (true, _) => 2 * weight,
        (false, true) => weight,
        (false, false) => 0,
    };
    words.iter().map(|word| weigh(&name, word, 4) + weigh(&title, word, 2) + weigh(&description, word, 1)).sum()
}

fn found(tools: &[&Entry]) -> String {
    if tools.is_empty() {
        return "No tool has these words: try fewer, or others.".to_owned();
    }
    let line = |tool: &&Entry| {
        let description = tool.value.get("description").and_then(Value::as_str).unwrap_or_default();
        let words: Vec<&str> = description.split_whitespace().collect();
        let excerpt: String = words.join(" ").chars().take(EXCERPT).collect();
        format!("{}: {excerpt}", tool.key)
    };
    tools.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn described(tools: &[Entry], names: &[Value]) -> String {
    let one = |name: &Value| {
        let name = name.as_str().unwrap_or_default();
        match tools.iter().find(|tool| tool.key == name) {
            Some(tool) => tool.value.to_string(),
            None => format!("There is no tool {name:?}."),
        }
    };
    names.iter().take(MOST_DESCRIBED).map(one).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many tokens a text costs, about: models differ, and four bytes of English or JSON are one for most of them.
    fn tokens(text: &str) -> usize {
        text.len() / 4
    }

    /// Tools such as servers have them: a sentence or three, a handful of arguments with a line about each.
    fn realistic() -> Vec<Entry> {
        const THINGS: [&str; 15] = [
            "issue",
            "page",
            "comment",
            "project",
            "board",
            "sprint",
            "file",
            "branch",
            "release",
            "pull_request",
            "label",
            "message",
            "channel",
            "event",
            "contact",
        ];
        const DEEDS: [&str; 20] = [
            "create", "get", "list", "update", "delete", "search", "archive", "restore", "copy", "move", "share",
            "watch", "assign", "link", "export", "import", "count", "close", "reopen", "transfer",
        ];
        let tool = |prefix: &str, deed: &str, thing: &str| {
            let key = format!("{prefix}_{deed}_{thing}");
            let value = json!({
                "name": key,
                "title": format!("{deed} {thing}"),
                "description": format!(
                    "Use this to {deed} one or several {thing}s in a workspace that you have access to. Requires the identifier of \
                     the workspace, which list_workspaces tells. Returns the {thing} as JSON, with its URL, or an error that says \
                     which permission is missing."
                ),
                "inputSchema": {
                    "type": "object",
                    "properties": {
                        "workspace_id": { "type": "string", "description": "The identifier of the workspace (a UUID)." },
                        format!("{thing}_id"): { "type": "string", "description": format!("The identifier or key of the {thing}.") },
                        "fields": {
                            "type": "array", "items": { "type": "string" },
                            "description": "Which fields to return; all of them by default.",
                        },
                        "limit": { "type": "integer", "minimum": 1, "maximum": 100, "default": 25 },
                        "dry_run": { "type": "boolean", "default": false, "description": "Only tell what would happen." },
                    },
                    "required": ["workspace_id"],
                    "additionalProperties": false,
                },
                "annotations": { "readOnlyHint": false, "openWorldHint": true },
            });
            Entry { prefix: prefix.to_owned(), key, value }
        };
        let all = THINGS.iter().enumerate().flat_map(|(number, thing)| {
            let prefix = ["atlassian", "github", "slack", "google", "notion"][number % 5];
            DEEDS.map(|deed| tool(prefix, deed, thing))
        });
        all.collect()
    }

    #[test]
    fn three_tools_cost_less_than_three_hundred() {
        let tools = realistic();
        assert_eq!(tools.len(), 300);
        let all = tokens(&json!(tools.iter().map(|tool| &tool.value).collect::<Vec<_>>()).to_string());
        let listed = tokens(&json!(definitions()).to_string());
        let searched = tokens(&found(&search(&tools, "create issue", FOUND)));
        let described = tokens(&described(&tools, &[json!("atlassian_create_issue"), json!("atlassian_get_issue")]));
        let used = listed + searched + described;
        // docs/unified.md has these figures.
        assert_eq!((all, listed, searched, described), (69_476, 288, 560, 459));
        assert!(used * 20 < all, "{used} of {all}");
    }

    #[test]
    fn a_search_finds_by_words_and_names_come_first() {
        let tools = realistic();
        let names = |query: &str, limit| -> Vec<String> {
            search(&tools, query, limit).iter().map(|tool| tool.key.clone()).collect()
        };
        assert_eq!(names("Create an issue!", 1), ["atlassian_create_issue"]);
        assert_eq!(names("pull request transfer", 1), ["notion_transfer_pull_request"]);
        assert_eq!(names("", 3).len(), 3);
        assert!(names("zebra", 10).is_empty());
        assert_eq!(found(&search(&tools, "zebra", 10)), "No tool has these words: try fewer, or others.");
    }
}
