use super::scripted::{Scripted, event_stream, events_of, initialized};
use super::*;
use crate::mcp::rpc::Id;
use axum::response::IntoResponse;
use http::{Method, StatusCode};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server that forgets its first session, and says so in its own way.
async fn forgetful(refusal: impl Fn() -> axum::response::Response + Send + Sync + 'static) -> Scripted {
    let begun = AtomicUsize::new(0);
    Scripted::start(move |asked| match asked.method() {
        "initialize" => Some(initialized(["s1", "s2"][begun.fetch_add(1, Ordering::SeqCst).min(1)])),
        "tools/call" if asked.header("mcp-session-id") == Some("s1") => Some(refusal()),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_forgotten_session_is_begun_anew_and_the_request_repeated() {
    let said = || {
        let error = json!({ "code": -32000, "message": "Bad Request: No valid session ID provided" });
        (StatusCode::BAD_REQUEST, axum::Json(json!({ "jsonrpc": "2.0", "id": null, "error": error }))).into_response()
    };
    for server in [forgetful(|| StatusCode::NOT_FOUND.into_response()).await, forgetful(said).await] {
        let world = World::around(&[(&server.authority, Transport::Auto, None)]).await;
        let client = world.open(&server.authority, "a").await.unwrap();
        let (to, _from) = events();
        let calls = (0..10).map(|_| client.request(tool("x", json!({})), &to));
        for outcome in futures_util::future::join_all(calls).await {
            assert_eq!(outcome.unwrap()["said"], "tools/call");
        }
        assert_eq!(server.asked("initialize").len(), 2, "once for all who found out");
        assert_eq!(client.resumption().unwrap().session, "s2");
        assert_eq!(server.asked("tools/call").last().unwrap().header("mcp-session-id"), Some("s2"));
    }
}

#[tokio::test]
async fn a_server_that_always_forgets_is_given_up() {
    let server = Scripted::start(|asked| (asked.method() == "x").then(|| StatusCode::NOT_FOUND.into_response())).await;
    let world = World::around(&[(&server.authority, Transport::Auto, None)]).await;
    let client = world.open(&server.authority, "a").await.unwrap();
    unavailable(client.request(call("x", json!({})), &events().0).await);
    assert_eq!(server.asked("initialize").len(), 2);
}

#[tokio::test]
async fn a_session_of_another_process_is_gone_on_with() {
    let server = Scripted::start(|_| None).await;
    let world = World::around(&[(&server.authority, Transport::Auto, None)]).await;
    let before = world.open(&server.authority, "a").await.unwrap().resumption().unwrap();
    let kept: Resumption = serde_json::from_value(serde_json::to_value(&before).unwrap()).unwrap();

    let other = World::around(&[(&server.authority, Transport::Auto, None)]).await;
    let principal = other.principal(&server.authority, "a");
    let client = other.clients.open(&other.upstream(&server.authority), &principal, Some(kept)).await.unwrap();
    client.request(call("tools/list", json!({})), &events().0).await.unwrap();
    assert_eq!(server.asked("initialize").len(), 1);
    assert_eq!(server.asked("tools/list")[0].header("mcp-session-id"), Some("s1"));
    assert_eq!(client.server().info["name"], "scripted");
    client.respond(Id::from(7), Ok(json!({ "roots": [] }))).await.unwrap();
    assert!(server.all().iter().any(|asked| asked.message["id"] == 7 && asked.message["result"].is_object()));
}

/// MCP 2025-11-25, Transports: a server may close the connection and have the client poll.
#[tokio::test]
async fn a_stream_that_ends_early_is_gone_on_with_behind_its_last_event() {
    let server = Scripted::start(|asked| match (&asked.http, asked.method()) {
        (_, "tools/call") => Some(event_stream("id: a-1\nretry: 10\ndata:\n\n")),
        (&Method::GET, _) if asked.header("last-event-id") == Some("a-1") => {
            let progress = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "data": 1 } });
            Some(event_stream(format!("id: a-2\nretry: 10\ndata: {progress}\n\n")))
        }
        (&Method::GET, _) if asked.header("last-event-id") == Some("a-2") => {
            Some(events_of(&[json!({ "jsonrpc": "2.0", "id": 2, "result": { "done": true } })]))
        }
        _ => None,
    })
    .await;
    let world = World::around(&[(&server.authority, Transport::Auto, None)]).await;
    let client = world.open(&server.authority, "a").await.unwrap();
    let (to, mut from) = events();
    let request = client.request(tool("x", json!({})), &to).await;
    assert_eq!(request.unwrap(), json!({ "done": true }));
    assert_eq!(next_notification(&mut from).await.method, "notifications/message");
}

#[tokio::test]
async fn questions_come_with_the_call_and_are_answered() {
    let server = Scripted::start(|asked| match asked.method() {
        "tools/call" => {
            let question =
                json!({ "jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": { "message": "?" } });
            let ping = json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" });
            Some(events_of(&[ping, question, json!({ "jsonrpc": "2.0", "id": asked.message["id"], "result": {} })]))
        }
        _ => None,
    })
    .await;
    let world = World::around(&[(&server.authority, Transport::Auto, None)]).await;
    let client = world.open(&server.authority, "a").await.unwrap();
    let (to, mut from) = events();
    client.request(tool("x", json!({})), &to).await.unwrap();
    let Some(Event::Request(question)) = from.recv().await else { panic!("a question") };
    assert_eq!(question.method, "elicitation/create");
    client.respond(question.id, Ok(json!({ "action": "accept" }))).await.unwrap();
    let answers: Vec<_> = server.all().into_iter().filter(|asked| asked.message.get("result").is_some()).collect();
    assert_eq!(answers.iter().map(|asked| asked.message["id"].clone()).collect::<Vec<_>>(), [json!("p"), json!("q")]);
}

#[tokio::test]
async fn idle_clients_are_closed() {
    let server = Scripted::start(|_| None).await;
    let limits = Limits { idle: Duration::from_millis(100), ..Limits::default() };
    let world = World::with(&[(&server.authority, Transport::Auto, None)], limits).await;
    world.open(&server.authority, "a").await.unwrap();
    let ended = async {
        while !server.all().iter().any(|asked| asked.http == Method::DELETE) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    assert_eq!(world.clients.count(), 0);
    let limits = Limits { max_clients: 4, ..Limits::default() };
    let world = World::with(&[(&server.authority, Transport::Auto, None)], limits).await;
    for session in 0..20 {
        world.open(&server.authority, &session.to_string()).await.unwrap();
    }
    assert!(world.clients.count() <= 4);
}
