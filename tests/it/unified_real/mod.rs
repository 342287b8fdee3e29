//! The unified endpoint over real servers of every transport, for the official clients of both eras. Each client signs in by itself,
//! lists everything and calls a tool of every server.

mod fleet;

use crate::client::alice;
use crate::clients::{drive, node};
use crate::gateway::USER;
use crate::python::run_at;
use crate::speaker::{Speaker, pool};
use fleet::{Fleet, IN_THE_FILE, ON_THE_PAGE};
use portcullis::devkit::browser::Browser;
use portcullis::mcp::era::Era;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test]
async fn every_official_client_uses_every_real_server_at_once() {
    let fleet = Fleet::start().await;
    connect_notes(&fleet).await;
    let (v1, v2, python, inspector) = tokio::join!(
        by_node("ts-v1-unified.mjs", &fleet, plan(&fleet)),
        by_node("ts-v2-unified.mjs", &fleet, plan(&fleet)),
        by_python(&fleet),
        // Every call is a process of its own, so it is spared what the others do.
        by_node("inspector.mjs", &fleet, json!({"tools": tools(&fleet)})),
    );
    for (client, told, protocol) in [
        ("TypeScript, version 1", v1, json!("2025-11-25")),
        ("TypeScript, version 2", v2, json!("2026-07-28")),
        ("Python", python, json!("2026-07-28")),
        ("Inspector", inspector, Value::Null),
    ] {
        assert_eq!(told["protocol"], protocol, "{client}");
        assert_complete(client, &told);
        assert_results(client, &told, &fleet);
    }
    let seen = fleet.notes.seen().await;
    assert!(!seen.is_empty(), "the connection was used");
}

/// What each server is asked for, and a part of its answer.
fn calls(fleet: &Fleet) -> Vec<(&'static str, Value, String)> {
    let echo = |alias| (alias, json!({"message": format!("hello {alias}")}), format!("Echo: hello {alias}"));
    let convert = json!({"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Kolkata"});
    let entity = json!({"entities": [{"name": USER, "entityType": "person", "observations": ["was here"]}]});
    vec![
        echo("stdio_echo"),
        echo("sse_echo"),
        echo("http_echo"),
        echo("socket_echo"),
        ("http_get-sum", json!({"a": 2, "b": 40}), "The sum of 2 and 40 is 42".to_owned()),
        ("files_read_text_file", json!({"path": fleet.canary_file()}), IN_THE_FILE.to_owned()),
        ("memory_create_entities", entity, "[".to_owned()),
        ("memory_read_graph", json!({}), "entities".to_owned()),
        ("time_convert_time", convert, "17:30:00+05:30".to_owned()),
        ("fetch_fetch", json!({"url": fleet.page}), ON_THE_PAGE.to_owned()),
        ("notes_whoami", json!({}), "carol".to_owned()),
    ]
}

/// A resource of a server, and what its address begins with in the answer.
const RESOURCES: [(&str, &str); 4] = [
    ("stdio+demo://resource/static/document/features.md", "Everything Server"),
    ("sse+demo://resource/dynamic/text/7", "7"),
    ("socket+demo://resource/static/document/features.md", "Everything Server"),
    ("memory+memory://knowledge-graph", "entities"),
];

fn tools(fleet: &Fleet) -> Vec<Value> {
    calls(fleet).into_iter().map(|(name, arguments, _)| json!([name, arguments])).collect()
}

fn plan(fleet: &Fleet) -> Value {
    let resources: Vec<&str> = RESOURCES.iter().map(|(uri, _)| *uri).collect();
    let prompts = json!([["http_simple-prompt", {}], ["stdio_args-prompt", {"city": "Pune"}]]);
    json!({"tools": tools(fleet), "resources": resources, "prompts": prompts})
}

async fn by_node(script: &str, fleet: &Fleet, plan: Value) -> Value {
    let mut command = node(script);
    command.env("PLAN", plan.to_string());
    drive(command, script, &fleet.url()).await
}

async fn by_python(fleet: &Fleet) -> Value {
    run_at("python_unified.py", &fleet.gateway, &fleet.url(), &[("PLAN", plan(fleet).to_string())]).await
}

/// Once, for all of them, in the course of a conversation: a tool tells where, and then there are more tools.
async fn connect_notes(fleet: &Fleet) {
    let token = fleet.gateway.root_token_of(USER).await;
    let speaker = Speaker::new(&pool(), &fleet.url(), &token, Era::Legacy).await;
    let of_notes = |tools: Vec<String>| tools.iter().filter(|name| name.starts_with("notes_")).count();
    assert_eq!(of_notes(speaker.tools().await), 0);
    let told = speaker.call(2, "portcullis_connect", json!({"server": "notes"})).await;
    let told = told["content"][0]["text"].as_str().unwrap();
    let link = told.split_whitespace().find(|word| word.starts_with("http")).unwrap_or_else(|| panic!("{told}"));
    let last = Browser::new().unwrap().let_device_in(link, &alice()).await.unwrap();
    let listed = speaker.ask(3, "tools/list", json!({})).await;
    assert_eq!(of_notes(speaker.tools().await), 3, "{}: {}: {listed:?}", last.url, last.text());
}

fn assert_complete(client: &str, told: &Value) {
    let names = |kind: &str| -> BTreeSet<String> { serde_json::from_value(told[kind].clone()).unwrap() };
    let tools = names("tools");
    for alias in ["stdio", "sse", "http", "socket"] {
        for tool in ["echo", "get-sum", "get-tiny-image", "trigger-long-running-operation"] {
            assert!(tools.contains(&format!("{alias}_{tool}")), "{client}: {alias}_{tool}: {tools:#?}");
        }
        for prompt in ["simple-prompt", "args-prompt"] {
            assert!(names("prompts").contains(&format!("{alias}_{prompt}")), "{client}: {told:#}");
        }
        let template = format!("{alias}+demo://resource/dynamic/text/{{resourceId}}");
        assert!(names("templates").contains(&template), "{client}: {told:#}");
        let document = format!("{alias}+demo://resource/static/document/features.md");
        assert!(names("resources").contains(&document), "{client}: {told:#}");
    }
    for tool in ["files_write_file", "memory_search_nodes", "time_get_current_time", "fetch_fetch", "notes_add"] {
        assert!(tools.contains(tool), "{client}: {tool}: {tools:#?}");
    }
    assert_eq!(told["tools"].as_array().unwrap().len(), tools.len(), "{client}: no name twice");
}

fn assert_results(client: &str, told: &Value, fleet: &Fleet) {
    for ((name, _, expected), answer) in calls(fleet).iter().zip(told["called"].as_array().unwrap()) {
        assert!(answer.as_str().unwrap().contains(expected.as_str()), "{client}: {name}: {answer}");
    }
    for ((uri, expected), read) in RESOURCES.iter().zip(told["read"].as_array().unwrap()) {
        assert_eq!(read[0], *uri, "{client}");
        assert!(read[1].as_str().unwrap().contains(expected), "{client}: {uri}: {read}");
    }
    if let Some(prompt) = told["got"].get(1) {
        assert!(prompt.as_str().unwrap().contains("Pune"), "{client}: {prompt}");
    }
}
