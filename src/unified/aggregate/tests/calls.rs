//! Calls: to their owner, under its names, with its answers.

use super::*;
use crate::mcp::Pattern;
use http::HeaderValue;

#[tokio::test]
async fn calls_reach_their_owner_untouched_and_come_back_renamed() {
    let (legacy, modern) =
        (Server::start(Era::Legacy, &["a", "b.c"]).await, Server::start(Era::Modern, &["a", "task"]).await);
    let world = World::of(vec![seat(&legacy, "old"), seat(&modern, "new")]).await;
    for era in [Era::Legacy, Era::Modern] {
        let caller = world.caller(world.ann, era);
        let params =
            json!({ "name": "old_a", "arguments": { "uri": "old+file:///a", "deep": [null, 1.0] }, "x-unknown": 7 });
        let result = world.ask(&caller, "tools/call", params).await.unwrap();
        let got = &result["got"];
        assert_eq!(
            (&got["name"], &got["arguments"]),
            (&json!("a"), &json!({ "uri": "old+file:///a", "deep": [null, 1.0] }))
        );
        assert_eq!(got["x-unknown"], 7);
        assert_eq!((&result["content"][0]["uri"], &result["x-unknown"]), (&json!("old+file:///a"), &json!([null])));
        assert_eq!(result.get("resultType").is_some(), era == Era::Modern);

        let cleaned = format!("old_b_c_{}", naming::mark("b.c"));
        let result = world.ask(&caller, "tools/call", json!({ "name": cleaned })).await.unwrap();
        assert_eq!(result["got"]["name"], "b.c");

        let read = world.ask(&caller, "resources/read", json!({ "uri": "new+file:///a" })).await.unwrap();
        assert_eq!(read["contents"][0]["uri"], "new+file:///a");
        if era == Era::Modern {
            assert_eq!((&read["ttlMs"], &read["cacheScope"]), (&json!(5), &json!("private")));
        }
        let task = world.ask(&caller, "tools/call", json!({ "name": "new_task" })).await.unwrap();
        let id = &task["task"]["taskId"];
        assert!(id.as_str().unwrap().starts_with("new:t1."), "{id}");
        let task = world.ask(&caller, "tasks/get", json!({ "taskId": id })).await.unwrap();
        assert_eq!(&task["taskId"], id);
        assert_eq!(modern.asked("tasks/get")[0]["taskId"], "t1");
        let reference = json!({ "ref": { "type": "ref/prompt", "name": "old_greet" }, "argument": {} });
        let completed = world.ask(&caller, "completion/complete", reference).await.unwrap();
        assert_eq!(completed["got"]["ref"]["name"], "greet");
        let reference = json!({ "ref": { "type": "ref/resource", "uri": "old+file:///{x}" }, "argument": {} });
        let completed = world.ask(&caller, "completion/complete", reference).await.unwrap();
        assert_eq!(completed["got"]["ref"]["uri"], "file:///{x}");
        let prompt = world.ask(&caller, "prompts/get", json!({ "name": "new_greet" })).await.unwrap();
        assert_eq!(prompt["got"]["name"], "greet");
    }
    let caller = world.caller(world.ann, Era::Legacy);
    world.ask(&caller, "logging/setLevel", json!({ "level": "warning" })).await.unwrap();
    assert_eq!(legacy.asked("logging/setLevel").last().unwrap()["level"], "warning");
    assert!(modern.asked("logging/setLevel").is_empty());
}

/// Two of these servers take everybody for one, and all of them answer whoever knows the id of a task (CVE-2026-52870).
#[tokio::test]
async fn a36_a_task_is_not_there_for_anybody_else() {
    let servers = [
        Server::start(Era::Modern, &["task"]).await,
        Server::start(Era::Legacy, &["task"]).await,
        Server::start(Era::Legacy, &["task"]).await,
    ];
    let world = World::of(vec![seat(&servers[0], "new"), seat(&servers[1], "old"), personal(&servers[2], "own")]).await;
    for user in [world.ann, world.bob] {
        world.connect(user, &servers[2], "key").await;
    }
    for era in [Era::Legacy, Era::Modern] {
        let (ann, bob) = (world.caller(world.ann, era), world.caller(world.bob, era));
        for alias in ["new", "old", "own"] {
            let task = world.ask(&ann, "tools/call", json!({ "name": format!("{alias}_task") })).await.unwrap();
            let id = task["task"]["taskId"].as_str().unwrap().to_owned();
            assert_eq!(world.ask(&ann, "tasks/get", json!({ "taskId": id })).await.unwrap()["taskId"], id.as_str());
            let asked = || servers.iter().map(|server| server.asked("tasks/get").len()).sum::<usize>();
            let before = asked();
            for method in ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update"] {
                // What Ann was given, what the server calls it, and what it would be at another server.
                for stolen in [
                    id.clone(),
                    "t1".to_owned(),
                    format!("{alias}:t1"),
                    id.replace(alias, "new"),
                    id.replace(alias, "old"),
                ] {
                    let error = world.ask(&bob, method, json!({ "taskId": stolen })).await.unwrap_err();
                    let expected = if method == "tasks/result" && era == Era::Modern { -32601 } else { -32602 };
                    assert_eq!(error.code, expected, "{method} {stolen}: {error:?}");
                }
            }
            assert_eq!(asked(), before, "{alias} was asked for somebody else's task");
        }
    }
    // Lists: of servers that know one person from another.
    for user in [world.ann, world.bob] {
        let tasks = world.ask(&world.caller(user, Era::Legacy), "tasks/list", json!({})).await.unwrap();
        let ids: Vec<_> =
            tasks["tasks"].as_array().unwrap().iter().map(|task| task["taskId"].as_str().unwrap()).collect();
        assert!(ids.len() == 1 && ids[0].starts_with("own:t1."), "{tasks}");
    }
    assert!(servers[..2].iter().all(|server| server.asked("tasks/list").is_empty()));
    let error = world.ask(&world.caller(world.ann, Era::Modern), "tasks/list", json!({})).await.unwrap_err();
    assert_eq!(error.code, -32601, "MCP 2026-07-28 has no such method");
    // The same where the one server is seen under its own names.
    let world = World::of(vec![seat(&servers[1], "old")]).await;
    let (ann, bob) = (world.caller(world.ann, Era::Legacy), world.caller(world.bob, Era::Legacy));
    let task = world.ask(&ann, "tools/call", json!({ "name": "task" })).await.unwrap();
    let id = &task["task"]["taskId"];
    assert!(world.ask(&ann, "tasks/get", json!({ "taskId": id })).await.is_ok());
    for stolen in [id, &json!("t1")] {
        assert_eq!(world.ask(&bob, "tasks/get", json!({ "taskId": stolen })).await.unwrap_err().code, -32602);
    }
    assert_eq!(world.ask(&bob, "tasks/list", json!({})).await.unwrap()["tasks"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_called_is_an_error_that_says_why() {
    let (server, other) =
        (Server::start(Era::Legacy, &["a", "broken", "secret"]).await, Server::start(Era::Modern, &["a"]).await);
    let policy = ToolPolicy::new(None, vec![Pattern::parse("secret").unwrap()]);
    let world = World::of(vec![Seat { tools: policy, ..seat(&server, "one") }, seat(&other, "two")]).await;
    let caller = world.caller(world.ann, Era::Legacy);
    for (method, params, code, message) in [
        ("tools/call", json!({ "name": "three_a" }), -32602, "Unknown tool: three_a"),
        ("tools/call", json!({ "name": "a" }), -32602, "Unknown tool: a"),
        ("tools/call", json!({}), -32602, "params.name must be a text"),
        ("tools/call", json!({ "name": "one_secret" }), -32602, "is not available"),
        ("tools/call", json!({ "name": "one_broken" }), -32001, "broken"),
        ("prompts/get", json!({ "name": "three_a" }), -32602, "Unknown prompt"),
        ("resources/read", json!({ "uri": "file:///a" }), -32002, "Resource not found"),
        ("resources/read", json!({ "uri": "one+file:///b" }), -32002, "no such thing"),
        ("resources/read", json!({ "uri": "two+file:///b" }), -32002, "no such thing"),
        ("tasks/get", json!({ "taskId": "t1" }), -32602, "Task not found"),
        ("made/up", json!({}), -32601, "is not known"),
    ] {
        let error = world.ask(&caller, method, params).await.unwrap_err();
        assert!(error.code == code && error.message.contains(message), "{method}: {error:?}");
    }
    let modern = world.caller(world.ann, Era::Modern);
    let error = world.ask(&modern, "resources/read", json!({ "uri": "one+file:///b" })).await.unwrap_err();
    assert_eq!((error.code, &error.data.unwrap()["uri"]), (-32602, &json!("one+file:///b")));
    // What an administrator limits never arrives, and is written down.
    assert!(server.asked("tools/call").iter().all(|params| params["name"] != "secret"));
    world.audit.flush().await;
    let events = world.store.audit(50).await.unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.action.as_str(), event.subject.as_str())).collect();
    assert!(told.contains(&("tool.refused", "secret")) && told.contains(&("tool.called", "broken")), "{told:?}");
    assert_eq!(
        events.iter().find(|event| event.subject == "broken").unwrap().upstream.as_ref(),
        Some(&server.authority)
    );
}

#[tokio::test]
async fn an_upstream_that_is_gone_or_asked_too_often_is_told_to_models() {
    let (server, other) = (Server::start(Era::Legacy, &["a"]).await, Server::start(Era::Legacy, &["a"]).await);
    let gone = server::absent("127.0.0.1:9");
    let world = World::of(vec![seat(&server, "one"), seat(&other, "two"), seat(&gone, "gone")]).await;
    let caller = world.caller(world.ann, Era::Legacy);
    let result = world.ask(&caller, "tools/call", json!({ "name": "gone_a" })).await.unwrap();
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(result["isError"] == true && text.starts_with("GONE cannot be used at present"), "{text}");
    let error = world.ask(&caller, "prompts/get", json!({ "name": "gone_a" })).await.unwrap_err();
    assert_eq!((error.code, &error.data.unwrap()["upstream"]), (-32603, &json!("gone")));
    world.aggregate.reconfigure(unified(), limits(1));
    let call = || json!({ "name": "one_a" });
    assert!(world.ask(&caller, "tools/call", call()).await.unwrap().get("isError").is_none());
    let result = world.ask(&caller, "tools/call", call()).await.unwrap();
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("too many requests") && text.contains("Try again in"), "{text}");
    assert!(world.ask(&caller, "tools/call", json!({ "name": "two_a" })).await.unwrap().get("isError").is_none());
}

#[tokio::test]
async fn questions_reach_callers_of_either_era_from_servers_of_either_era() {
    let (legacy, modern) =
        (Server::start(Era::Legacy, &["ask", "progress"]).await, Server::start(Era::Modern, &["ask"]).await);
    let world = World::of(vec![seat(&legacy, "old"), seat(&modern, "new")]).await;
    let answer = json!({ "action": "accept", "content": { "who": "ann" } });
    for era in [Era::Legacy, Era::Modern] {
        let caller = world.caller(world.ann, era);
        let (back, outgoing) = Back::new(8);
        let heard = answering(outgoing, answer.clone());
        let call = |name: &str| request("tools/call", json!({ "name": name, "_meta": { "progressToken": "p" } }));
        let result = world.aggregate.handle(&caller, call("old_ask"), &back).await.unwrap();
        assert_eq!(result["answer"], answer);
        let result = world.aggregate.handle(&caller, call("new_ask"), &back).await.unwrap();
        match era {
            Era::Legacy => assert_eq!((&result["answers"]["q"], &result["state"]), (&answer, &json!("sealed"))),
            Era::Modern => {
                // As it is: whoever comes back with it may come to another node.
                assert_eq!(
                    (&result["resultType"], &result["requestState"]),
                    (&json!("input_required"), &json!("sealed"))
                );
                let again = json!({ "name": "new_ask", "inputResponses": { "q": answer }, "requestState": "sealed" });
                let result = world.ask(&caller, "tools/call", again).await.unwrap();
                assert_eq!((&result["answers"]["q"], &result["state"]), (&answer, &json!("sealed")));
            }
        }
        world.aggregate.handle(&caller, call("old_progress"), &back).await.unwrap();
        drop(back);
        let heard = heard.await.unwrap();
        let asked = heard
            .iter()
            .filter(|(method, params)| method == "elicitation/create" && params["message"] == "who?")
            .count();
        assert_eq!(asked, if era == Era::Legacy { 2 } else { 1 });
        let (_, progress) = heard.iter().find(|(method, _)| method == "notifications/progress").unwrap();
        assert_eq!(progress["progressToken"], "p");
    }
    // Whoever cannot be asked is not.
    let mut mute = world.caller(world.ann, Era::Legacy);
    mute.capabilities = Members::new();
    let error = world.ask(&mute, "tools/call", json!({ "name": "new_ask" })).await.unwrap_err();
    assert!(error.message.contains("elicitation/create"), "{error}");
}

#[tokio::test]
async fn arguments_are_mirrored_for_servers_that_want_it_and_checked_for_callers_that_do_it() {
    let server = Server::start(Era::Modern, &[]).await;
    *server.tools.lock() = vec![
        json!({ "name": "sql", "inputSchema": { "type": "object", "properties": { "r": { "type": "string", "x-mcp-header": "R" } } } }),
        json!({ "name": "odd", "inputSchema": { "type": "object", "properties": { "r": { "type": "number", "x-mcp-header": "R" } } } }),
    ];
    let world = World::of(vec![seat(&server, "db")]).await;
    let legacy = world.caller(world.ann, Era::Legacy);
    assert_eq!(world.names(&legacy).await, ["sql"]);
    let call = || json!({ "name": "sql", "arguments": { "r": "ü" } });
    world.ask(&legacy, "tools/call", call()).await.unwrap();
    assert_eq!(server.headers("tools/call")["mcp-param-r"], "=?base64?w7w=?=");
    let mut modern = world.caller(world.ann, Era::Modern);
    assert_eq!(world.ask(&modern, "tools/call", call()).await.unwrap_err().code, RpcError::HEADER_MISMATCH);
    modern.headers.insert("mcp-param-r", HeaderValue::from_static("=?base64?w7w=?="));
    world.ask(&modern, "tools/call", call()).await.unwrap();
}
