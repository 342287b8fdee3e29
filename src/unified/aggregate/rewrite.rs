//! Names inside messages: every URI and task id that passes is what its reader knows it by. Nothing else is touched, and what has
//! not the expected form passes as it is. Pure.

use super::naming::Naming;
use super::tasks::Tasks;
use crate::mcp::rpc::{Members, Notification};
use serde_json::Value;

/// Members of `_meta` that are URIs of resources: MCP Apps in both spellings, and the Apps of OpenAI.
const UI_URIS: [&str; 2] = ["ui/resourceUri", "openai/outputTemplate"];
/// `_meta` of what belongs to a task (MCP 2025-11-25, Tasks).
const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// From an upstream to callers.
pub(super) struct Outward<'a> {
    pub(super) naming: &'a Naming,
    pub(super) tasks: &'a Tasks,
}

/// From callers to an upstream.
pub(super) struct Inward<'a> {
    pub(super) naming: &'a Naming,
    pub(super) tasks: &'a Tasks,
}

impl Outward<'_> {
    /// The result of a request.
    pub(super) fn result(&self, result: &mut Value) {
        let Some(result) = result.as_object_mut() else { return };
        edit(result, "taskId", |task| Some(self.task(task)));
        let task = |value: &mut Value| {
            if let Some(task) = value.as_object_mut() {
                edit(task, "taskId", |task| Some(self.task(task)));
            }
        };
        if let Some(one) = result.get_mut("task") {
            task(one);
        }
        each(result.get_mut("tasks"), task);
        if let Some(content) = result.get_mut("content") {
            self.content(content);
        }
        each(result.get_mut("contents"), |contents| self.resource(contents));
        each(result.get_mut("messages"), |message| {
            if let Some(content) = message.get_mut("content") {
                self.content(content);
            }
        });
        if let Some(Value::Object(questions)) = result.get_mut("inputRequests") {
            for question in questions.values_mut() {
                if let Some(Value::Object(params)) = question.get_mut("params") {
                    self.question(params);
                }
            }
        }
        // `tasks/get` of the extension has the result of the call in it.
        if let Some(inner @ Value::Object(_)) = result.get_mut("result") {
            self.result(inner);
        }
        self.meta(result);
    }

    /// What an upstream says unasked.
    pub(super) fn notification(&self, notification: &mut Notification) {
        if notification.method == "notifications/resources/updated" {
            edit(&mut notification.params, "uri", |uri| Some(self.naming.uri(uri)));
        }
        edit(&mut notification.params, "taskId", |task| Some(self.task(task)));
        self.meta(&mut notification.params);
    }

    /// The params of a question.
    pub(super) fn question(&self, params: &mut Members) {
        each(params.get_mut("messages"), |message| {
            if let Some(content) = message.get_mut("content") {
                self.content(content);
            }
        });
        self.meta(params);
    }

    /// A member of a list. `key` is what it is known by.
    pub(super) fn entry(&self, entry: &mut Value, key: &str) {
        let (Some(entry), false) = (entry.as_object_mut(), self.naming.is_plain()) else { return };
        match key {
            "name" => edit(entry, key, |name| Some(self.naming.name(name).into_owned())),
            _ => edit(entry, key, |uri| Some(self.naming.uri(uri))),
        }
        self.meta(entry);
    }

    /// What the caller knows a task by.
    fn task(&self, original: &str) -> String {
        self.naming.task(&self.tasks.marked(original))
    }

    fn content(&self, content: &mut Value) {
        blocks(content, &|uri| Some(self.naming.uri(uri)));
    }

    fn resource(&self, resource: &mut Value) {
        if let Some(resource) = resource.as_object_mut() {
            edit(resource, "uri", |uri| Some(self.naming.uri(uri)));
            self.meta(resource);
        }
    }

    fn meta(&self, members: &mut Members) {
        let Some(Value::Object(meta)) = members.get_mut("_meta") else { return };
        for key in UI_URIS {
            edit(meta, key, |uri| Some(self.naming.uri(uri)));
        }
        if let Some(Value::Object(ui)) = meta.get_mut("ui") {
            edit(ui, "resourceUri", |uri| Some(self.naming.uri(uri)));
        }
        if let Some(Value::Object(related)) = meta.get_mut(RELATED_TASK) {
            edit(related, "taskId", |task| Some(self.task(task)));
        }
    }
}

impl Inward<'_> {
    /// What a task that the caller names is there; `None` for one of another member, or of somebody else.
    pub(super) fn task<'a>(&self, task: &'a str) -> Option<&'a str> {
        self.tasks.original(self.naming.original_task(task)?)
    }

    /// The params of a request, apart from what says whose it is.
    pub(super) fn params(&self, params: &mut Members) {
        if let Some(Value::Object(answers)) = params.get_mut("inputResponses") {
            answers.values_mut().for_each(|answer| self.answer(answer));
        }
        self.meta(params);
    }

    /// The answer to a question.
    pub(super) fn answer(&self, answer: &mut Value) {
        let Some(answer) = answer.as_object_mut() else { return };
        if let Some(content) = answer.get_mut("content") {
            blocks(content, &|uri| self.naming.original_uri(uri).map(|uri| uri.into_owned()));
        }
        self.meta(answer);
    }

    fn meta(&self, members: &mut Members) {
        if let Some(Value::Object(meta)) = members.get_mut("_meta")
            && let Some(Value::Object(related)) = meta.get_mut(RELATED_TASK)
        {
            edit(related, "taskId", |task| self.task(task).map(str::to_owned));
        }
    }
}

/// The URIs of content blocks: one, or many.
fn blocks(content: &mut Value, rename: &impl Fn(&str) -> Option<String>) {
    match content {
        Value::Array(many) => many.iter_mut().for_each(|one| block(one, rename)),
        one => block(one, rename),
    }
}

fn block(block: &mut Value, rename: &impl Fn(&str) -> Option<String>) {
    let Some(members) = block.as_object_mut() else { return };
    match members.get("type").and_then(Value::as_str) {
        Some("resource_link") => edit(members, "uri", rename),
        Some("resource") => {
            if let Some(Value::Object(resource)) = members.get_mut("resource") {
                edit(resource, "uri", rename);
            }
        }
        // Results of tools in the messages of sampling.
        Some("tool_result") => {
            if let Some(inner) = members.get_mut("content") {
                blocks(inner, rename);
            }
        }
        _ => {}
    }
}

fn each(list: Option<&mut Value>, mut edit: impl FnMut(&mut Value)) {
    if let Some(Value::Array(list)) = list {
        list.iter_mut().for_each(&mut edit);
    }
}

fn edit(members: &mut Members, key: &str, rename: impl Fn(&str) -> Option<String>) {
    if let Some(Value::String(text)) = members.get_mut(key)
        && let Some(new) = rename(text)
    {
        *text = new;
    }
}

#[cfg(test)]
mod tests {
    use super::super::prefix::Prefix;
    use super::*;
    use crate::connect::ConnectionKey;
    use crate::hostname::Authority;
    use crate::ids::{Random, UserId};
    use crate::vault::Vault;
    use serde_json::json;

    /// One person's view of one upstream.
    struct View {
        naming: Naming,
        tasks: Tasks,
    }

    impl View {
        fn of(naming: Naming) -> Self {
            let vault = Vault::new(&Vault::generate_key(&Random::default()), &[]).unwrap();
            let authority = Authority::parse("mcp.example").unwrap();
            let tasks = Tasks::of(&vault, &ConnectionKey::upstream(UserId([1; 16]), authority, None));
            Self { naming, tasks }
        }

        fn outward(&self) -> Outward<'_> {
            Outward { naming: &self.naming, tasks: &self.tasks }
        }

        fn inward(&self) -> Inward<'_> {
            Inward { naming: &self.naming, tasks: &self.tasks }
        }
    }

    fn notes() -> View {
        View::of(Naming::Prefixed(Prefix::of_parts("notes", None)))
    }

    #[test]
    fn every_uri_and_task_of_a_result_is_renamed_and_nothing_else() {
        let mut result = json!({
            "content": [
                { "type": "text", "text": "file:///a" },
                { "type": "resource_link", "uri": "file:///a", "name": "a", "x": { "uri": "file:///x" } },
                { "type": "resource", "resource": { "uri": "ui://a", "text": "…" } },
            ],
            "structuredContent": { "uri": "file:///a", "taskId": "1" },
            "contents": [{ "uri": "file:///b", "text": "b" }],
            "messages": [{ "role": "user", "content": { "type": "resource_link", "uri": "file:///c" } }],
            "task": { "taskId": "t", "status": "working" },
            "_meta": { RELATED_TASK: { "taskId": "t" }, "ui": { "resourceUri": "ui://d" }, "other": "ui://d" },
            "inputRequests": { "a": { "method": "sampling/createMessage", "params": {
                "messages": [{ "content": [{ "type": "tool_result", "content": [{ "type": "resource_link", "uri": "e:e" }] }] }]
            } } },
            "unknown": [1, null],
        });
        let view = notes();
        view.outward().result(&mut result);
        let task = format!("notes:{}", view.tasks.marked("t"));
        assert_eq!(
            result,
            json!({
                "content": [
                    { "type": "text", "text": "file:///a" },
                    { "type": "resource_link", "uri": "notes+file:///a", "name": "a", "x": { "uri": "file:///x" } },
                    { "type": "resource", "resource": { "uri": "ui://notes+a", "text": "…" } },
                ],
                "structuredContent": { "uri": "file:///a", "taskId": "1" },
                "contents": [{ "uri": "notes+file:///b", "text": "b" }],
                "messages": [{ "role": "user", "content": { "type": "resource_link", "uri": "notes+file:///c" } }],
                "task": { "taskId": task, "status": "working" },
                "_meta": { RELATED_TASK: { "taskId": task }, "ui": { "resourceUri": "ui://notes+d" }, "other": "ui://d" },
                "inputRequests": { "a": { "method": "sampling/createMessage", "params": {
                    "messages": [{ "content": [
                        { "type": "tool_result", "content": [{ "type": "resource_link", "uri": "notes+e:e" }] }
                    ] }]
                } } },
                "unknown": [1, null],
            })
        );
    }

    #[test]
    fn what_comes_back_is_what_the_upstream_said() {
        let view = notes();
        let mut params = Members::new();
        let task = format!("notes:{}", view.tasks.marked("t"));
        params.insert("_meta".to_owned(), json!({ RELATED_TASK: { "taskId": task }, "progressToken": 1 }));
        let answer = json!({ "role": "assistant", "content": { "type": "resource_link", "uri": "notes+file:///a" } });
        params.insert("inputResponses".to_owned(), json!({ "a": answer }));
        view.inward().params(&mut params);
        assert_eq!(params["_meta"], json!({ RELATED_TASK: { "taskId": "t" }, "progressToken": 1 }));
        assert_eq!(params["inputResponses"]["a"]["content"]["uri"], "file:///a");
    }

    #[test]
    fn lists_and_notifications_are_renamed() {
        let view = notes();
        let mut tool =
            json!({ "name": "a.b", "_meta": { "ui/resourceUri": "ui://x", "openai/outputTemplate": "ui://y" } });
        view.outward().entry(&mut tool, "name");
        assert_eq!(tool["name"], view.naming.name("a.b").into_owned());
        assert_eq!(tool["_meta"], json!({ "ui/resourceUri": "ui://notes+x", "openai/outputTemplate": "ui://notes+y" }));
        let params = json!({ "uri": "file:///a" }).as_object().unwrap().clone();
        let mut updated = Notification { method: "notifications/resources/updated".to_owned(), params };
        view.outward().notification(&mut updated);
        assert_eq!(updated.params["uri"], "notes+file:///a");
    }

    #[test]
    fn without_prefixes_only_tasks_are_marked() {
        let mut result = json!({ "contents": [{ "uri": "file:///a" }], "taskId": "t", "content": "odd" });
        let view = View::of(Naming::Plain);
        view.outward().result(&mut result);
        let task = view.tasks.marked("t");
        assert_eq!(result, json!({ "contents": [{ "uri": "file:///a" }], "taskId": task, "content": "odd" }));
        assert_eq!((view.inward().task(&task), view.inward().task("t")), (Some("t"), None));
        let mut odd = json!({ "content": 7, "contents": {}, "_meta": [], "inputRequests": { "a": 1 }, "taskId": {} });
        let same = odd.clone();
        notes().outward().result(&mut odd);
        assert_eq!(odd, same);
    }
}
