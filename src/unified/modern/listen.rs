//! `subscriptions/listen` (MCP 2026-07-28, Subscriptions): one stream, of what was asked for and nothing else.

use crate::mcp::era::meta;
use crate::mcp::rpc::{Id, Members, Notification, Request, Response as RpcResponse, RpcError};
use crate::mcp_client::Filter;
use crate::unified::door::{Door, Guest};
use crate::unified::wire::{self, Events, Out};
use crate::unified::{Back, Caller, Outgoing};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many resources one stream may be about.
const RESOURCES: usize = 1000;

/// Opens a stream. It ends when the client closes it, or with a result when we do.
pub(super) fn listen(door: Arc<Door>, caller: Caller, guest: Guest, request: Request) -> Response {
    let id = request.id.clone();
    match wanted(&request.params) {
        Ok(filter) => {
            let heartbeat = door.settings().heartbeat;
            Events::produced(heartbeat, |out| tell(door, caller, (id, filter), guest, out)).into_response()
        }
        Err(error) => wire::refused(StatusCode::BAD_REQUEST, Some(id), error),
    }
}

async fn tell(door: Arc<Door>, caller: Caller, (id, wanted): (Id, Filter), guest: Guest, out: mpsc::Sender<Out>) {
    let agreed = door.aggregate.acknowledge(&caller, &wanted).await;
    let params = Members::from_iter([("notifications".to_owned(), to_json(&agreed))]);
    let first = Notification { method: "notifications/subscriptions/acknowledged".to_owned(), params };
    if out.send(Out::Note(tagged(first, &id).to_json())).await.is_err() {
        return;
    }
    let (back, mut outgoing) = Back::new(wire::WAITING);
    let listening = door.aggregate.listen(&caller, agreed.clone(), back);
    let over = guest.over();
    tokio::pin!(listening, over);
    loop {
        tokio::select! { biased;
            () = &mut over => break,
            Some(said) = outgoing.recv() => match said {
                Outgoing::Notification(said) if is_wanted(&agreed, &said) => {
                    if out.send(Out::Note(tagged(said, &id).to_json())).await.is_err() {
                        return;
                    }
                }
                Outgoing::Notification(_) => {}
                Outgoing::Ask { answer, .. } => {
                    let why = "a client of this version is asked only while it waits for an answer";
                    // Nobody may be waiting any more.
                    drop(answer.send(Err(RpcError::new(RpcError::INVALID_REQUEST, why))));
                }
            },
            () = &mut listening => break,
        }
    }
    let result = json!({ "resultType": "complete", "_meta": { meta::SUBSCRIPTION: id.to_json() } });
    // Whoever is gone need not know.
    drop(out.send(Out::Answer(RpcResponse { id: Some(id), outcome: Ok(result) }.to_json())).await);
}

/// The filter of a request.
fn wanted(params: &Members) -> Result<Filter, RpcError> {
    let wrong = |why: &str| RpcError::new(RpcError::INVALID_PARAMS, why);
    let Some(notifications) = params.get("notifications").and_then(Value::as_object) else {
        return Err(wrong("params.notifications must be an object that says what to listen for"));
    };
    let flag = |name: &str| notifications.get(name).and_then(Value::as_bool).unwrap_or(false);
    let resources = match notifications.get("resourceSubscriptions") {
        None => &[][..],
        Some(Value::Array(resources)) if resources.len() <= RESOURCES => resources,
        Some(_) => return Err(wrong("resourceSubscriptions must be a list of at most 1000 URIs")),
    };
    let subscribed = resources.iter().map(|uri| uri.as_str().map(str::to_owned)).collect::<Option<_>>();
    Ok(Filter {
        tools: flag("toolsListChanged"),
        prompts: flag("promptsListChanged"),
        resources: flag("resourcesListChanged"),
        subscribed: subscribed.ok_or_else(|| wrong("resourceSubscriptions must be a list of URIs"))?,
    })
}

/// As `params.notifications`: what is not heard of is left out.
fn to_json(filter: &Filter) -> Value {
    let mut json = Members::new();
    let flags = [
        ("toolsListChanged", filter.tools),
        ("promptsListChanged", filter.prompts),
        ("resourcesListChanged", filter.resources),
    ];
    json.extend(flags.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name.to_owned(), true.into())));
    if !filter.subscribed.is_empty() {
        json.insert("resourceSubscriptions".to_owned(), filter.subscribed.iter().cloned().collect());
    }
    Value::Object(json)
}

/// Servers must not send what was not asked for.
fn is_wanted(filter: &Filter, notification: &Notification) -> bool {
    match notification.method.as_str() {
        "notifications/tools/list_changed" => filter.tools,
        "notifications/prompts/list_changed" => filter.prompts,
        "notifications/resources/list_changed" => filter.resources,
        // A server may speak of what is below a resource that was subscribed to (MCP 2025-11-25, Resources).
        "notifications/resources/updated" => !filter.subscribed.is_empty(),
        _ => false,
    }
}

fn tagged(mut notification: Notification, id: &Id) -> Notification {
    let meta = notification.params.entry("_meta").or_insert_with(|| Value::Object(Members::new()));
    if !meta.is_object() {
        *meta = Value::Object(Members::new());
    }
    meta[meta::SUBSCRIPTION] = id.to_json();
    notification
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(value: Value) -> Members {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn filters_are_read_and_written() {
        let params = json!({ "notifications": {
            "toolsListChanged": true, "promptsListChanged": false, "x-other": 1, "resourceSubscriptions": ["a:b"],
        } });
        let filter = wanted(&members(params)).unwrap();
        assert!(filter.tools && !filter.prompts && !filter.resources);
        assert_eq!(to_json(&filter), json!({ "toolsListChanged": true, "resourceSubscriptions": ["a:b"] }));
        assert_eq!(to_json(&Filter::default()), json!({}));
        for bad in
            [json!({}), json!({ "notifications": [] }), json!({ "notifications": { "resourceSubscriptions": [1] } })]
        {
            assert_eq!(wanted(&members(bad)).unwrap_err().code, RpcError::INVALID_PARAMS);
        }
    }

    #[test]
    fn everything_on_a_stream_says_which_one_it_is() {
        let said = Notification { method: "n".to_owned(), params: members(json!({ "_meta": { "a": 1 }, "uri": "u" })) };
        let expected = json!({ "_meta": { "a": 1, meta::SUBSCRIPTION: "s" }, "uri": "u" });
        assert_eq!(tagged(said, &Id::Text("s".to_owned())).params, members(expected));
    }

    #[test]
    fn only_what_was_asked_for_passes() {
        let said = |method: &str| Notification { method: method.to_owned(), params: Members::new() };
        let filter = Filter { tools: true, ..Filter::default() };
        assert!(is_wanted(&filter, &said("notifications/tools/list_changed")));
        for other in ["prompts/list_changed", "resources/list_changed", "resources/updated", "message", "progress"] {
            assert!(!is_wanted(&filter, &said(&format!("notifications/{other}"))), "{other}");
        }
    }
}
