//! Clients of the years before: sessions, and whose they are.

use super::client::{Guest, LEGACY, initialize, request};
use crate::gateway::{Gateway, USER};
use http::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn a_version_is_agreed_on() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    for (asked, agreed) in [
        (LEGACY, LEGACY),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2024-11-05"),
        ("2026-07-28", LEGACY),
        ("1999-01-01", LEGACY),
    ] {
        let answer = guest.post(&[], &initialize(asked)).await;
        let message = answer.message();
        assert_eq!(message["result"]["protocolVersion"], agreed, "{message}");
        assert!(message["result"]["capabilities"].is_object() && message["result"]["serverInfo"]["name"].is_string());
        assert!(answer.session().len() >= 43);
    }
    let wrong = guest.post(&[], &request(1, "initialize", json!({}))).await;
    assert_eq!((wrong.status, wrong.code()), (StatusCode::BAD_REQUEST, -32602));
}

#[tokio::test]
async fn a37_a_session_is_worth_nothing_to_another_person_or_client() {
    let gateway = Gateway::start().await;
    gateway.add("bob").await;
    let alice = Guest::of(&gateway, USER).await;
    let session = alice.initialize().await;
    let ping = request(2, "ping", json!({}));
    for other in [Guest::of(&gateway, "bob").await, Guest::at(&gateway, USER, "another").await] {
        let answer = other.say(&session, &ping).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, -32001));
        let fields = [("mcp-session-id", session.as_str()), ("accept", "text/event-stream")];
        assert_eq!(other.send(Method::GET, &fields, None).await.status, StatusCode::NOT_FOUND);
        assert_eq!(other.send(Method::DELETE, &fields, None).await.status, StatusCode::NOT_FOUND);
        let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
        assert_eq!(other.say(&session, &cancelled).await.status, StatusCode::NOT_FOUND);
        let response = json!({ "jsonrpc": "2.0", "id": "q.a.b.c", "result": {} });
        assert_eq!(other.say(&session, &response).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(alice.say(&session, &ping).await.message()["result"], json!({}));
}

#[tokio::test]
async fn a_session_ends_when_its_client_says_so() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    let (session, other) = (guest.initialize().await, guest.initialize().await);
    let delete = [("mcp-session-id", session.as_str())];
    assert_eq!(guest.send(Method::DELETE, &delete, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(guest.send(Method::DELETE, &delete, None).await.status, StatusCode::NOT_FOUND);
    assert_eq!(guest.send(Method::DELETE, &[], None).await.status, StatusCode::BAD_REQUEST);
    let ping = request(2, "ping", json!({}));
    assert_eq!(guest.say(&session, &ping).await.status, StatusCode::NOT_FOUND);
    assert_eq!(guest.say(&other, &ping).await.status, StatusCode::OK);
    for made_up in ["x", &"A".repeat(43)] {
        assert_eq!(guest.say(made_up, &ping).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn whoever_has_too_many_sessions_loses_the_oldest() {
    let gateway = Gateway::with(|config| config.unified.max_sessions = 2).await;
    let guest = Guest::of(&gateway, USER).await;
    let first = guest.initialize().await;
    gateway.clock.advance(std::time::Duration::from_secs(61));
    let mut sessions = Vec::new();
    for _ in 0..2 {
        sessions.push(guest.initialize().await);
    }
    gateway.clock.advance(std::time::Duration::from_secs(6));
    let ping = request(2, "ping", json!({}));
    assert_eq!(guest.say(&first, &ping).await.status, StatusCode::NOT_FOUND);
    for session in sessions {
        assert_eq!(guest.say(&session, &ping).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn batches_are_for_the_one_version_that_has_them() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    let batch = json!([
        request(1, "ping", json!({})),
        { "jsonrpc": "2.0", "method": "notifications/initialized" },
        request(2, "ping", json!({})),
    ]);
    let with_batches = guest.post(&[], &initialize("2025-03-26")).await.session();
    let fields = [("mcp-session-id", with_batches.as_str())];
    let answer = guest.post(&fields, &batch).await;
    let mut ids: Vec<_> = answer.message().as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
    let nothing_asked = json!([{ "jsonrpc": "2.0", "method": "notifications/initialized" }]);
    assert_eq!(guest.post(&fields, &nothing_asked).await.status, StatusCode::ACCEPTED);
    let without = guest.initialize().await;
    let refused = guest.say(&without, &batch).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, -32600));
}

#[tokio::test]
async fn what_belongs_to_the_session_is_answered_here() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    let session = guest.initialize().await;
    let again = guest.post(&[("mcp-session-id", session.as_str())], &initialize(LEGACY)).await;
    assert_ne!(again.session(), session, "another session begins");
    let level = guest.say(&session, &request(3, "logging/setLevel", json!({ "level": "loud" }))).await;
    assert_eq!(level.code(), -32602);
    let only_events = [("mcp-session-id", session.as_str()), ("accept", "text/event-stream")];
    let fields: Vec<_> = only_events.into_iter().chain([("content-type", "application/json")]).collect();
    let ping = Some(request(4, "ping", json!({})).to_string());
    let answer = guest.send(Method::POST, &fields, ping).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert_eq!(answer.message(), json!({ "jsonrpc": "2.0", "id": 4, "result": {} }));
    let unknown: Value = guest.say(&session, &request(5, "no/such", json!({}))).await.message();
    assert_eq!((unknown["id"].as_u64(), unknown["error"]["code"].as_i64()), (Some(5), Some(-32601)));
}
