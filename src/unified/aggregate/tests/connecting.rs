//! Connecting from within the conversation, and tools that stand for all others.

use super::*;

#[tokio::test]
async fn a_call_waits_for_the_person_who_connects_and_goes_on() {
    let (keys, open) = (Server::start(Era::Legacy, &["a"]).await, Server::start(Era::Legacy, &["b"]).await);
    let world = World::of(vec![personal(&keys, "keys"), seat(&open, "open")]).await;
    for (era, user, key) in [(Era::Legacy, world.ann, "ann"), (Era::Modern, world.bob, "bob")] {
        let caller = world.caller(user, era);
        assert!(world.names(&caller).await.contains(&"portcullis_connect".to_owned()));
        let (listener, mut changes) = Back::new(16);
        let listening = tokio::spawn({
            let (aggregate, caller) = (world.aggregate.clone(), caller.clone());
            let filter = Filter { tools: true, ..Filter::default() };
            async move { aggregate.listen(&caller, filter, listener).await }
        });
        let (back, mut outgoing) = Back::new(16);
        let call = request("tools/call", json!({ "name": "portcullis_connect", "arguments": { "server": "keys" } }));
        let connecting = world.aggregate.handle(&caller, call, &back);
        let person = async {
            let Some(Outgoing::Ask { method, params, answer, .. }) = outgoing.recv().await else { panic!("not asked") };
            assert_eq!((method.as_str(), &params["mode"]), ("elicitation/create", &json!("url")));
            let expected = format!("https://gw.example/oauth/start?server={}", keys.authority.replace(':', "%3A"));
            assert_eq!(params["url"], expected);
            assert_eq!(params.contains_key("elicitationId"), era == Era::Legacy);
            answer.send(Ok(json!({ "action": "accept" }))).unwrap();
            world.connect(user, &keys, key).await;
        };
        let (result, ()) = tokio::join!(connecting, person);
        let text = result.unwrap()["content"][0]["text"].as_str().unwrap().to_owned();
        assert!(text.contains("KEYS is connected"), "{text}");
        let Some(Outgoing::Notification(told)) = changes.recv().await else { panic!("nothing was told") };
        assert_eq!(told.method, "notifications/tools/list_changed");
        let tools = world.names(&caller).await;
        assert!(
            tools.contains(&format!("keys_of_{key}")) && !tools.contains(&"portcullis_connect".to_owned()),
            "{tools:?}"
        );
        listening.abort();
    }
}

#[tokio::test]
async fn whoever_cannot_show_links_gets_them_as_a_text() {
    let (keys, open) = (Server::start(Era::Legacy, &["a"]).await, Server::start(Era::Legacy, &["b"]).await);
    let world = World::of(vec![personal(&keys, "keys"), seat(&open, "open")]).await;
    let mut caller = world.caller(world.ann, Era::Legacy);
    caller.capabilities = Members::new();
    let connect = |server: Value| json!({ "name": "portcullis_connect", "arguments": { "server": server } });
    let result = world.ask(&caller, "tools/call", connect(json!("keys"))).await.unwrap();
    assert!(
        result["content"][0]["text"].as_str().unwrap().contains("https://gw.example/oauth/start?server="),
        "{result}"
    );
    let result = world.ask(&caller, "tools/call", connect(json!("other"))).await.unwrap();
    assert_eq!(result["isError"], true);
    let status = world.ask(&caller, "tools/call", connect(Value::Null)).await.unwrap();
    let text = status["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("- open (OPEN): 1 tools") && text.contains("- keys (KEYS)"), "{text}");
}

#[tokio::test]
async fn three_tools_stand_for_all() {
    let (one, two) =
        (Server::start(Era::Legacy, &["create_issue", "list_issues"]).await, Server::start(Era::Modern, &["a"]).await);
    let world = World::of(vec![seat(&one, "one"), seat(&two, "two")]).await;
    let mut caller = world.caller(world.ann, Era::Modern);
    caller.meta_tools = true;
    assert_eq!(world.names(&caller).await, meta_tools::TOOLS);
    let call = async |name: &str, arguments: Value| {
        let result = world.ask(&caller, "tools/call", json!({ "name": name, "arguments": arguments })).await.unwrap();
        (result["content"][0]["text"].as_str().unwrap_or_default().to_owned(), result)
    };
    let (found, _) = call("portcullis_search_tools", json!({ "query": "create an issue" })).await;
    assert_eq!(found.lines().next(), Some("one_create_issue: does create_issue"));
    let (described, _) = call("portcullis_describe_tools", json!({ "names": ["two_a", "two_b"] })).await;
    assert!(described.contains("\"inputSchema\"") && described.contains("There is no tool \"two_b\""), "{described}");
    let (_, called) = call("portcullis_call_tool", json!({ "name": "two_a", "arguments": { "x": 1 } })).await;
    assert_eq!((&called["got"]["name"], &called["got"]["arguments"]), (&json!("a"), &json!({ "x": 1 })));
    let (_, refused) = call("portcullis_call_tool", json!({ "name": "portcullis_call_tool" })).await;
    assert_eq!(refused["isError"], true);
}
