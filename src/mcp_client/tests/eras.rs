use super::*;
use crate::devkit::mcp::{Lie, Misbehaviour};
use crate::mcp::era::LEGACY;

/// What every server has to do, whatever it speaks.
async fn works(client: &Client) {
    let (to, mut from) = events();
    let listed = client.request(call("tools/list", json!({})), &to).await.unwrap();
    assert!(listed["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "echo"));
    let text = "gr\u{fc}\u{df}e \u{1f600} \n";
    let mirrored = vec![(HeaderName::from_static("mcp-param-text"), crate::mcp::mirror::encoded(text))];
    let echo = Call { mirrored, ..tool("echo", json!({ "text": text })) };
    assert_eq!(text_of(&client.request(echo, &to).await.unwrap()), text);
    let error = client.request(tool("nonsense", json!({})), &to).await.unwrap_err();
    assert!(matches!(error, CallError::Rpc(error) if error.code == RpcError::INVALID_PARAMS));

    let mut slow = tool("slow", json!({ "steps": 3, "delay_ms": 1 }));
    slow.params.insert("_meta".to_owned(), json!({ "progressToken": "mine" }));
    assert_eq!(text_of(&client.request(slow, &to).await.unwrap()), "done");
    for step in 1..=3 {
        let progress = next_notification(&mut from).await;
        assert_eq!(
            (progress.params["progressToken"].clone(), progress.params["progress"].clone()),
            (json!("mine"), json!(step))
        );
    }
    assert_eq!(client.server().info["name"], "portcullis-demo");
}

#[tokio::test]
async fn a_modern_server_is_used_without_a_session() {
    let (server, authority) = demo().await;
    let world = World::around(&[(&authority, Transport::Auto, None)]).await;
    let client = world.open(&authority, "a").await.unwrap();
    assert_eq!((client.server().era, client.server().version.as_str()), (Era::Modern, "2026-07-28"));
    assert_eq!(client.resumption(), None);
    works(&client).await;
    let methods: Vec<_> = server.control.recorder().messages().iter().map(|m| m["method"].to_string()).collect();
    assert!(!methods.iter().any(|method| method.contains("initialize")), "{methods:?}");
    let message = &server.control.recorder().messages()[1];
    let meta = &message["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "a client");
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({ "elicitation": {} }));
}

#[tokio::test]
async fn a_legacy_server_is_initialized_and_that_is_remembered() {
    let (server, authority) = demo().await;
    server.control.lie(Lie::LegacyOnly);
    let world = World::around(&[(&authority, Transport::Auto, None)]).await;
    let client = world.open(&authority, "a").await.unwrap();
    assert_eq!((client.server().era, client.server().version.as_str()), (Era::Legacy, LEGACY[0]));
    works(&client).await;
    assert!(Arc::ptr_eq(&client, &world.open(&authority, "a").await.unwrap()));
    assert_eq!(server.control.sessions(), 1);

    let probes = || server.control.recorder().messages().iter().filter(|m| m["method"] == "server/discover").count();
    assert_eq!(probes(), 1);
    let another = world.open(&authority, "b").await.unwrap();
    assert_ne!(another.resumption().unwrap().session, client.resumption().unwrap().session);
    assert_eq!(probes(), 1, "the era is a property of the server");
    for request in server.control.recorder().requests().iter().skip(2) {
        assert_eq!(request.header("mcp-protocol-version").is_some(), request.header("mcp-session-id").is_some());
    }
    world.clients.end("a").await;
    assert_eq!(server.control.sessions(), 1, "closed with DELETE");
    another.close().await;
    assert_eq!(server.control.sessions(), 0);
}

#[tokio::test]
async fn a_server_that_changes_its_era_is_asked_anew() {
    let (server, authority) = demo().await;
    let world = World::around(&[(&authority, Transport::Auto, None)]).await;
    world.open(&authority, "a").await.unwrap();
    let before = world.open(&authority, "b").await.unwrap();
    server.control.lie(Lie::LegacyOnly);
    assert!(before.request(call("tools/list", json!({})), &events().0).await.is_err());
    for session in ["b", "c"] {
        let client = world.open(&authority, session).await.unwrap();
        assert_eq!(client.server().era, Era::Legacy);
        works(&client).await;
    }
}

#[tokio::test]
async fn http_sse_is_found_behind_a_refused_post() {
    let (server, authority) = demo().await;
    for transport in [Transport::Auto, Transport::Sse] {
        let world = World::around(&[(&authority, transport, Some("/sse"))]).await;
        let client = world.open(&authority, "a").await.unwrap();
        assert_eq!(client.server().era, Era::Legacy);
        works(&client).await;
        world.clients.end("a").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn web_sockets_carry_either_era() {
    let (server, authority) = demo().await;
    let world = World::around(&[(&authority, Transport::WebSocket, Some("/ws"))]).await;
    let client = world.open(&authority, "a").await.unwrap();
    assert_eq!(client.server().era, Era::Modern);
    works(&client).await;
    let request = server.control.recorder().requests().pop().unwrap();
    assert_eq!(request.header("sec-websocket-protocol"), Some("mcp"));
    server.stop().await;
    let (fault, _) = unavailable(client.request(call("tools/list", json!({})), &events().0).await);
    assert!(fault.public.contains("lost"), "{fault}");
}

#[tokio::test]
async fn an_endpoint_is_looked_for_where_it_usually_is() {
    let server = Scripted::start(|asked| {
        (asked.path != "/").then(|| (http::StatusCode::NOT_FOUND, "nothing here").into_response())
    })
    .await;
    let world = World::around(&[(&server.authority, Transport::Auto, None)]).await;
    let client = world.open(&server.authority, "a").await.unwrap();
    assert_eq!(client.resumption().unwrap().path, "/");
    let before = server.all().len();
    world.open(&server.authority, "b").await.unwrap();
    assert_eq!(server.all().len() - before, 2, "initialize and initialized, nothing else");
}

#[tokio::test]
async fn where_there_is_no_endpoint_that_is_said() {
    let server = Scripted::start(|_| Some(http::StatusCode::NOT_FOUND.into_response())).await;
    let world = World::around(&[(&server.authority, Transport::Auto, None)]).await;
    let (fault, _) = unavailable(world.open(&server.authority, "a").await.map(|_| ()));
    assert!(fault.public.contains("no MCP endpoint"), "{fault}");
}

#[tokio::test]
async fn an_offered_version_is_taken() {
    let server = Scripted::start(|asked| match asked.method() {
        "server/discover" => {
            let data = json!({ "supported": ["2025-06-18"], "requested": "2026-07-28" });
            let error = json!({ "code": -32022, "message": "Unsupported protocol version", "data": data });
            let body = json!({ "jsonrpc": "2.0", "id": asked.message["id"], "error": error });
            Some((http::StatusCode::BAD_REQUEST, axum::Json(body)).into_response())
        }
        _ => None,
    })
    .await;
    let world = World::around(&[(&server.authority, Transport::Auto, None)]).await;
    world.open(&server.authority, "a").await.unwrap();
    assert_eq!(server.asked("initialize")[0].message["params"]["protocolVersion"], "2025-06-18");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (server, authority) = demo().await;
    let world = World::around(&[(&authority, Transport::Auto, Some("/mcp"))]).await;
    for _ in 0..2 {
        server.control.misbehave(Misbehaviour::Redirect("http://127.0.0.1:1/".to_owned()));
    }
    unavailable(world.open(&authority, "a").await.map(|_| ()));
    assert!(world.open(&authority, "a").await.is_ok());
}

#[tokio::test]
async fn whoever_leaves_cancels() {
    let server =
        Scripted::start(|asked| (asked.method() == "tools/call").then(|| scripted::open_stream(String::new()))).await;
    let world = World::around(&[(&server.authority, Transport::Auto, None)]).await;
    let client = world.open(&server.authority, "a").await.unwrap();
    let (to, _from) = events();
    let request = tokio::spawn(async move { client.request(tool("x", json!({})), &to).await });
    let asked = server.arrived("tools/call", 1).await;
    request.abort();
    let cancelled = server.arrived("notifications/cancelled", 1).await;
    assert_eq!(cancelled[0].message["params"]["requestId"], asked[0].message["id"]);
    assert_eq!(cancelled[0].header("mcp-session-id"), Some("s1"));
}

use axum::response::IntoResponse;
use http::HeaderName;
