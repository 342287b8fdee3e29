//! Streams: what they begin with, and all the ways in which they end.

use super::client::{Guest, MODERN, modern, request};
use crate::gateway::{Gateway, USER};
use crate::raw::{PATIENCE, SOON, status};
use http::{Method, StatusCode};
use serde_json::json;
use std::time::{Duration, Instant};

const EVENTS: (&str, &str) = ("Accept", "text/event-stream");

async fn quick() -> Gateway {
    Gateway::with(|config| config.streams.heartbeat = Some(Duration::from_millis(100))).await
}

/// The fields of a `subscriptions/listen` and its body.
fn listen() -> ([(&'static str, &'static str); 4], String) {
    let fields = [
        EVENTS,
        ("Content-Type", "application/json"),
        ("Mcp-Method", "subscriptions/listen"),
        ("MCP-Protocol-Version", MODERN),
    ];
    let params = json!({ "notifications": { "toolsListChanged": true } });
    (fields, modern("subscriptions/listen", params).to_string())
}

#[tokio::test]
async fn a_subscription_is_acknowledged_first_and_kept_alive() {
    let gateway = quick().await;
    let guest = Guest::of(&gateway, USER).await;
    let (fields, body) = listen();
    let (mut caller, head) = guest.open(gateway.port(), "POST", "/mcp", &fields, &body).await;
    assert_eq!(status(&head), 200, "{head}");
    assert!(head.to_ascii_lowercase().contains("x-accel-buffering: no"), "{head}");
    let first = caller.until("\n\n").await;
    assert!(first.contains("notifications/subscriptions/acknowledged"), "{first}");
    assert!(first.contains(r#""io.modelcontextprotocol/subscriptionId":1"#), "{first}");
    caller.until(": keep-alive").await;
    caller.until(": keep-alive").await;
    assert_eq!(gateway.app().metrics.open_streams.get(), 1);
    drop(caller);
    let began = Instant::now();
    while gateway.app().metrics.open_streams.get() > 0 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn revocation_ends_every_kind_of_stream_within_a_second() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    let session = guest.initialize().await;
    let (fields, body) = listen();
    let (mut modern, _) = guest.open(gateway.port(), "POST", "/mcp", &fields, &body).await;
    let (mut legacy, head) =
        guest.open(gateway.port(), "GET", "/mcp", &[EVENTS, ("Mcp-Session-Id", &session)], "").await;
    assert_eq!(status(&head), 200, "{head}");
    let (mut old, head) = guest.open(gateway.port(), "GET", "/mcp/sse", &[EVENTS], "").await;
    assert_eq!(status(&head), 200, "{head}");
    modern.until("acknowledged").await;
    old.until("\n\n").await;
    let began = Instant::now();
    gateway.app().revocations.grant(guest.grant).await.unwrap();
    for caller in [&mut modern, &mut legacy, &mut old] {
        let rest = caller.until("0\r\n\r\n").await;
        assert!(rest.ends_with("0\r\n\r\n"), "it ends in good order: {rest:?}");
        assert!(began.elapsed() < SOON);
    }
    assert_eq!(guest.say(&session, &request(2, "ping", json!({}))).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_gateway_that_stops_says_good_bye() {
    let mut gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    let (fields, body) = listen();
    let (mut caller, _) = guest.open(gateway.port(), "POST", "/mcp", &fields, &body).await;
    caller.until("acknowledged").await;
    let (rest, _) = tokio::join!(caller.rest(), gateway.halt());
    assert!(rest.contains(r#""result":{"resultType":"complete""#), "{rest}");
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
}

#[tokio::test]
async fn the_newest_stream_of_a_session_takes_the_place_of_the_one_before() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    let session = guest.initialize().await;
    let fields = [EVENTS, ("Mcp-Session-Id", session.as_str())];
    let (mut first, _) = guest.open(gateway.port(), "GET", "/mcp", &fields, "").await;
    let (second, head) = guest.open(gateway.port(), "GET", "/mcp", &fields, "").await;
    assert_eq!(status(&head), 200);
    assert_eq!(first.until("0\r\n\r\n").await, "0\r\n\r\n");
    drop(second);
    let json = [("mcp-session-id", session.as_str()), ("accept", "application/json")];
    assert_eq!(guest.send(Method::GET, &json, None).await.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn a_session_that_ends_takes_its_stream_along() {
    let gateway = Gateway::start().await;
    let guest = Guest::of(&gateway, USER).await;
    let session = guest.initialize().await;
    let fields = [EVENTS, ("Mcp-Session-Id", session.as_str())];
    let (mut stream, _) = guest.open(gateway.port(), "GET", "/mcp", &fields, "").await;
    guest.send(Method::DELETE, &[("mcp-session-id", session.as_str())], None).await;
    assert_eq!(stream.until("0\r\n\r\n").await, "0\r\n\r\n");
}

/// MCP 2024-11-05.
#[tokio::test]
async fn clients_of_2024_have_one_stream_for_everything() {
    let gateway = Gateway::start().await;
    gateway.add("bob").await;
    let (guest, bob) = (Guest::of(&gateway, USER).await, Guest::of(&gateway, "bob").await);
    let (mut stream, head) = guest.open(gateway.port(), "GET", "/mcp/sse", &[EVENTS], "").await;
    assert_eq!(status(&head), 200);
    let opening = stream.until("\n\n").await;
    let path = opening.split("data: ").nth(1).unwrap().trim().split('\r').next().unwrap().to_owned();
    assert!(opening.contains("event: endpoint") && path.starts_with("/mcp/messages?session="), "{opening}");
    let port = gateway.port();
    let post = async |guest: &Guest, message: serde_json::Value| {
        let (_, head) =
            guest.open(port, "POST", &path, &[("Content-Type", "application/json")], &message.to_string()).await;
        status(&head)
    };
    assert_eq!(post(&bob, super::client::initialize("2024-11-05")).await, 404, "it is somebody else's");
    assert_eq!(post(&guest, request(9, "ping", json!({}))).await, 400, "nobody knows yet who it is");
    assert_eq!(post(&guest, super::client::initialize("2024-11-05")).await, 202);
    assert!(stream.until("\n\n").await.contains(r#""protocolVersion":"2024-11-05""#));
    assert_eq!(post(&guest, request(2, "ping", json!({}))).await, 202);
    assert!(stream.until("\n\n").await.contains(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#));
    let id = path.split_once('=').unwrap().1.to_owned();
    assert_eq!(
        guest.say(&id, &request(2, "ping", json!({}))).await.status,
        StatusCode::NOT_FOUND,
        "it is no other session"
    );
    drop(stream);
    let began = Instant::now();
    while post(&guest, request(3, "ping", json!({}))).await != 404 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
