//! Lists: merged, in pages, in time, and nobody else's.

use super::*;
use crate::mcp::Pattern;

#[tokio::test]
async fn lists_of_both_eras_are_one_and_lose_nothing() {
    let (legacy, modern) =
        (Server::start(Era::Legacy, &["a", "b.c"]).await, Server::start(Era::Modern, &["a", "secret"]).await);
    *legacy.page.lock() = 1;
    let policy = ToolPolicy::new(None, vec![Pattern::parse("secret").unwrap()]);
    let world = World::of(vec![seat(&legacy, "old"), Seat { tools: policy, ..seat(&modern, "new") }]).await;
    for era in [Era::Legacy, Era::Modern] {
        let caller = world.caller(world.ann, era);
        let tools = world.ask(&caller, "tools/list", json!({})).await.unwrap();
        let cleaned = format!("old_b_c_{}", naming::mark("b.c"));
        assert_eq!(names(&tools), ["new_a", "old_a", cleaned.as_str()]);
        assert_eq!(tools["tools"][0]["x-unknown"], json!({ "a": [1.0] }));
        assert_eq!(tools.get("resultType").is_some(), era == Era::Modern);
        assert!(tools.get("cacheScope").is_none_or(|scope| scope == "private"));
        let resources = world.ask(&caller, "resources/list", json!({})).await.unwrap();
        assert_eq!(resources["resources"][1]["uri"], "old+file:///a");
        let templates = world.ask(&caller, "resources/templates/list", json!({})).await.unwrap();
        assert_eq!(templates["resourceTemplates"][0]["uriTemplate"], "new+file:///{x}");
        let prompts = world.ask(&caller, "prompts/list", json!({})).await.unwrap();
        assert_eq!(prompts["prompts"][0], json!({ "name": "new_greet", "x-unknown": 1 }));
    }
    let description = world.aggregate.describe(&world.caller(world.ann, Era::Modern)).await.unwrap();
    assert_eq!(description.capabilities["tools"], json!({ "listChanged": true }));
    assert!(description.capabilities.contains_key("completions") && !description.capabilities.contains_key("tasks"));
    let instructions = description.instructions.unwrap();
    assert!(instructions.contains("new (NEW), old (OLD)"), "{instructions}");
    assert!(instructions.contains("## old (OLD)\n\nlegacy instructions"), "{instructions}");
}

#[tokio::test]
async fn one_of_fifty_hangs_and_costs_its_own_tools_only() {
    let mut servers = Vec::new();
    for number in 0..50 {
        let era = if number % 2 == 0 { Era::Legacy } else { Era::Modern };
        servers.push((format!("s{number:02}"), Server::start(era, &["a"]).await));
    }
    let (_, hanging) = &servers[7];
    hanging.hangs.store(true, std::sync::atomic::Ordering::Relaxed);
    let world = World::of(servers.iter().map(|(alias, server)| seat(server, alias)).collect()).await;
    let caller = world.caller(world.ann, Era::Legacy);
    let first = world.caller(world.ann, Era::Legacy);
    let began = std::time::Instant::now();
    world.aggregate.reconfigure(Unified { list_timeout: Duration::from_secs(5), ..Unified::default() }, limits(1000));
    let list = world.ask(&first, "tools/list", json!({})).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(names(&list).len(), 49);
    let missing = &list["_meta"]["portcullis/unavailable"];
    assert_eq!(missing, &json!([{ "upstream": "s07", "name": "S07", "reason": "it did not answer in time" }]));
    // It comes back.
    hanging.hangs.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(world.names(&caller).await.len(), 50);
}

#[tokio::test]
async fn the_last_known_list_stands_in_for_a_while() {
    let (slow, other) = (Server::start(Era::Legacy, &["a"]).await, Server::start(Era::Modern, &["b"]).await);
    let world = World::of(vec![seat(&slow, "slow"), seat(&other, "other")]).await;
    let caller = world.caller(world.ann, Era::Modern);
    assert_eq!(world.names(&caller).await, ["other_b", "slow_a"]);
    slow.hangs.store(true, std::sync::atomic::Ordering::Relaxed);
    // A list without hints is good for seconds only.
    assert_eq!(world.names(&caller).await, ["other_b", "slow_a"]);
    world.clock.advance(Duration::from_secs(60));
    let list = world.ask(&caller, "tools/list", json!({})).await.unwrap();
    assert_eq!(names(&list), ["other_b", "slow_a"]);
    assert_eq!((&list["_meta"]["portcullis/stale"], &list["ttlMs"]), (&json!(["slow"]), &json!(0)));
    world.clock.advance(Duration::from_secs(300));
    let list = world.ask(&caller, "tools/list", json!({})).await.unwrap();
    assert_eq!(
        (names(&list), &list["_meta"]["portcullis/unavailable"][0]["upstream"]),
        (vec!["other_b".to_owned()], &json!("slow"))
    );
}

#[tokio::test]
async fn pages_are_of_one_person_and_another_node_goes_on() {
    let many = Server::start(Era::Legacy, &[]).await;
    *many.tools.lock() = (0..2500).map(|number| server::tool(&format!("t{number}"))).collect();
    let other = Server::start(Era::Modern, &["z"]).await;
    let world = World::of(vec![seat(&many, "many"), seat(&other, "other")]).await;
    let caller = world.caller(world.ann, Era::Legacy);
    let mut all = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let page = world.ask(&caller, "tools/list", json!({ "cursor": cursor })).await.unwrap();
        all.extend(names(&page));
        cursor = page["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
        // Another process that has the same key.
        let elsewhere = world.caller(world.ann, Era::Legacy);
        assert!(world.ask(&elsewhere, "tools/list", json!({ "cursor": cursor })).await.is_ok());
        let stranger = world.caller(world.bob, Era::Legacy);
        let refused = world.ask(&stranger, "tools/list", json!({ "cursor": cursor })).await.unwrap_err();
        assert_eq!(refused.code, RpcError::INVALID_PARAMS);
        assert_eq!(world.ask(&caller, "prompts/list", json!({ "cursor": cursor })).await.unwrap_err().code, -32602);
    }
    assert_eq!((all.len(), all[0].as_str(), all[2500].as_str()), (2501, "many_t0", "other_z"));
    // What a cursor names is gone: begin again.
    let first = world.ask(&caller, "tools/list", json!({})).await.unwrap();
    many.tools.lock().clear();
    world.clock.advance(Duration::from_secs(60));
    let stale = world.ask(&caller, "tools/list", json!({ "cursor": first["nextCursor"] })).await.unwrap_err();
    assert_eq!(stale.code, RpcError::INVALID_PARAMS);
}

#[tokio::test]
async fn two_people_never_see_each_others_lists() {
    let (keys, open) = (Server::start(Era::Modern, &[]).await, Server::start(Era::Modern, &["a"]).await);
    *keys.hints.lock() = Some((3_600_000, "private"));
    *open.hints.lock() = Some((3_600_000, "public"));
    let world = World::of(vec![personal(&keys, "keys"), seat(&open, "open")]).await;
    world.connect(world.ann, &keys, "ann").await;
    world.connect(world.bob, &keys, "bob").await;
    let [ann, bob] = [world.ann, world.bob].map(|user| world.caller(user, Era::Modern));
    for _ in 0..2 {
        assert_eq!(world.names(&ann).await, ["keys_of_ann", "open_a"]);
        assert_eq!(world.names(&bob).await, ["keys_of_bob", "open_a"]);
    }
    // Each fetched their own once; what is everybody's was fetched once for both.
    assert_eq!((keys.asked("tools/list").len(), open.asked("tools/list").len()), (2, 1));
    world.clock.advance(Duration::from_secs(3700));
    world.names(&ann).await;
    assert_eq!((keys.asked("tools/list").len(), open.asked("tools/list").len()), (3, 2));
}

#[tokio::test]
async fn one_upstream_keeps_its_names_until_a_second_comes() {
    let (open, keys) = (Server::start(Era::Legacy, &["a.b"]).await, Server::start(Era::Legacy, &["c"]).await);
    let world = World::of(vec![seat(&open, "open"), personal(&keys, "keys")]).await;
    let caller = world.caller(world.ann, Era::Legacy);
    assert_eq!(world.names(&caller).await, ["a.b", "portcullis_connect"]);
    let description = world.aggregate.describe(&caller).await.unwrap();
    assert_eq!(
        (description.info["name"].as_str(), description.instructions.as_deref()),
        (Some("legacy"), Some("legacy instructions"))
    );
    let called = world.ask(&caller, "tools/call", json!({ "name": "a.b", "arguments": { "x": 1 } })).await.unwrap();
    assert_eq!(called["content"][0]["uri"], "file:///a");
    // What is hidden counts for nothing.
    world.connect(world.ann, &keys, "ann").await;
    let a_b = format!("open_a_b_{}", naming::mark("a.b"));
    assert_eq!(world.names(&caller).await, ["keys_c", "keys_of_ann", a_b.as_str()], "nothing is left to connect");
    let hidden = crate::store::MemberName { authority: keys.authority.clone(), account: String::new() };
    world.store.hide_member(world.ann, &hidden).await.unwrap();
    world.connections.lists_changed(world.ann);
    assert_eq!(world.names(&caller).await, ["a.b"]);
    let always = Unified { prefix: crate::config::Prefixes::Always, ..unified() };
    world.aggregate.reconfigure(always, limits(1000));
    assert_eq!(world.names(&caller).await, [a_b]);
}

#[tokio::test]
async fn a_list_that_changed_is_fetched_again_and_told() {
    let (server, other) = (Server::start(Era::Modern, &["a"]).await, Server::start(Era::Legacy, &["b"]).await);
    *server.hints.lock() = Some((3_600_000, "private"));
    let world = World::of(vec![seat(&server, "new"), seat(&other, "old")]).await;
    let caller = world.caller(world.ann, Era::Modern);
    assert_eq!(world.names(&caller).await, ["new_a", "old_b"]);
    let (back, mut told) = Back::new(16);
    let filter = Filter { tools: true, subscribed: ["old+file:///a".to_owned()].into(), ..Filter::default() };
    let listening = tokio::spawn({
        let (aggregate, caller) = (world.aggregate.clone(), caller.clone());
        async move { aggregate.listen(&caller, filter, back).await }
    });
    server.tools.lock().push(server::tool("c"));
    server.says(json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" })).await;
    let Some(Outgoing::Notification(changed)) = told.recv().await else { panic!("nothing was told") };
    assert_eq!(changed.method, "notifications/tools/list_changed");
    assert_eq!(world.names(&caller).await, ["new_a", "new_c", "old_b"]);
    other
        .says(
            json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": "file:///a" } }),
        )
        .await;
    let Some(Outgoing::Notification(updated)) = told.recv().await else { panic!("nothing was told") };
    assert_eq!(
        (updated.method.as_str(), &updated.params["uri"]),
        ("notifications/resources/updated", &json!("old+file:///a"))
    );
    caller.life.finish();
    listening.await.unwrap();
}
