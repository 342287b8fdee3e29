//! Calls that the client has a part in: questions, progress, cancellation, in both eras over an upstream of 2025.

use super::asker::Asker;
use super::client::{Guest, LEGACY, MODERN, modern, request};
use crate::gateway::{Gateway, USER, upstream, without_rates};
use crate::raw::{Caller, status};
use http::StatusCode;
use portcullis::config::UpstreamAuth;
use portcullis::hostname::Scheme;
use serde_json::{Value, json};

async fn world() -> (Asker, Gateway) {
    let asker = Asker::start().await;
    let authority = asker.authority.clone();
    let gateway = Gateway::with(move |config| {
        without_rates(config);
        let mut upstream = upstream(&authority, UpstreamAuth::None);
        upstream.path = Some("/mcp".to_owned());
        config.upstream.push(upstream);
    })
    .await;
    (asker, gateway)
}

/// A session of a client that answers questions.
async fn session(guest: &Guest) -> String {
    let params = json!({
        "protocolVersion": LEGACY, "capabilities": { "elicitation": {} }, "clientInfo": { "name": "test", "version": "1" },
    });
    let answer = guest.post(&[], &request(1, "initialize", params)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.session()
}

/// Calls a tool in a session by hand; the stream of the answer.
async fn call(gateway: &Gateway, guest: &Guest, session: &str, tool: &str) -> (Caller, String) {
    let fields = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("Mcp-Session-Id", session),
    ];
    let mut message = request(7, "tools/call", json!({ "name": tool, "arguments": {} }));
    message["params"]["_meta"] = json!({ "progressToken": "t" });
    let mut caller = Caller::connect(gateway.port()).await;
    let body = message.to_string();
    let mut text = format!("POST /mcp HTTP/1.1\r\nHost: localhost:{}\r\n", gateway.port());
    text.push_str(&format!("Authorization: Bearer {}\r\n", guest.token));
    fields.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    caller.send(text).await;
    (caller, body)
}

/// The next message on a stream.
async fn next(caller: &mut Caller) -> Value {
    loop {
        let event = caller.until("\n\n").await;
        if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
            return serde_json::from_str(data).unwrap();
        }
    }
}

/// A modern call of a client that answers questions.
fn asked(tool: &str, more: &Value) -> Value {
    let mut message = modern("tools/call", json!({ "name": tool, "arguments": {} }));
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": {} });
    for (name, value) in more.as_object().unwrap() {
        message["params"][name] = value.clone();
    }
    message
}

const CALL: [(&str, &str); 2] = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/call")];

#[tokio::test]
async fn a_legacy_client_is_asked_on_the_stream_of_its_call() {
    let (_asker, gateway) = world().await;
    gateway.add("bob").await;
    let (guest, bob) = (Guest::of(&gateway, USER).await, Guest::of(&gateway, "bob").await);
    let (session_of_it, session_of_bob) = (session(&guest).await, session(&bob).await);
    let (mut stream, _) = call(&gateway, &guest, &session_of_it, "ask").await;
    assert_eq!(status(&stream.until("\r\n\r\n").await), 200);
    let question = next(&mut stream).await;
    assert_eq!(
        (&question["method"], &question["params"]["message"]),
        (&json!("elicitation/create"), &json!("Who are you?"))
    );
    let said = |name: &str| {
        let result = json!({ "action": "accept", "content": { "name": name } });
        json!({ "jsonrpc": "2.0", "id": question["id"], "result": result })
    };
    // Somebody else knows the id, and is heard by nobody.
    assert_eq!(bob.say(&session_of_bob, &said("bob")).await.status, StatusCode::ACCEPTED);
    assert_eq!(guest.say(&session_of_it, &said("alice")).await.status, StatusCode::ACCEPTED);
    let answer = next(&mut stream).await;
    let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(text.contains("alice") && !text.contains("bob"), "{text}");
    assert_eq!(answer["id"], 7);
}

#[tokio::test]
async fn a_modern_client_is_asked_by_a_result_and_comes_back() {
    let (_asker, gateway) = world().await;
    let guest = Guest::of(&gateway, USER).await;
    let fields: Vec<_> = CALL.into_iter().chain([("mcp-name", "ask")]).collect();
    let first = guest.post(&fields, &asked("ask", &json!({}))).await.message();
    let result = &first["result"];
    assert_eq!(result["resultType"], "input_required", "{first}");
    let (key, question) = result["inputRequests"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(question["method"], "elicitation/create");
    let nothing = json!({ "requestState": result["requestState"], "inputResponses": {} });
    let again = guest.post(&fields, &asked("ask", &nothing)).await.message();
    assert_eq!(again["result"]["inputRequests"], result["inputRequests"], "what is missing is asked again: {again}");
    let mut responses = serde_json::Map::new();
    responses.insert(key.clone(), json!({ "action": "accept", "content": { "name": "alice" } }));
    let retry = json!({ "requestState": again["result"]["requestState"], "inputResponses": responses });
    let other = Guest::at(&gateway, USER, "another").await;
    assert_eq!(other.post(&fields, &asked("ask", &retry)).await.code(), -32602, "the state is another client's");
    let last = guest.post(&fields, &asked("ask", &retry)).await.message();
    assert!(last["result"]["content"][0]["text"].as_str().unwrap_or_default().contains("alice"), "{last}");
    assert_eq!(last["result"]["resultType"], "complete");
}

#[tokio::test]
async fn whoever_asks_a_client_that_cannot_answer_is_told() {
    let (_asker, gateway) = world().await;
    let guest = Guest::of(&gateway, USER).await;
    let answer = guest.modern(&[("mcp-name", "ask")], "tools/call", json!({ "name": "ask", "arguments": {} })).await;
    let text = answer.message()["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    assert!(text.contains("elicitation"), "{}", answer.body);
}

#[tokio::test]
async fn progress_comes_before_the_result_in_both_eras() {
    let (_asker, gateway) = world().await;
    let guest = Guest::of(&gateway, USER).await;
    let session_of_it = session(&guest).await;
    let (mut stream, _) = call(&gateway, &guest, &session_of_it, "report").await;
    let progress = next(&mut stream).await;
    assert_eq!(
        (&progress["method"], &progress["params"]["progressToken"]),
        (&json!("notifications/progress"), &json!("t"))
    );
    assert_eq!(next(&mut stream).await["result"]["content"][0]["text"], "reported");

    let mut message = asked("report", &json!({}));
    message["params"]["_meta"]["progressToken"] = json!(9);
    let fields: Vec<_> = CALL.into_iter().chain([("mcp-name", "report")]).collect();
    let answer = guest.post(&fields, &message).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let progress = answer.body.find(r#""progressToken":9"#).unwrap_or_else(|| panic!("{}", answer.body));
    assert!(progress < answer.body.find("reported").unwrap());
}

#[tokio::test]
async fn a_modern_client_that_leaves_cancels_and_a_legacy_one_says_so() {
    let (asker, gateway) = world().await;
    let guest = Guest::of(&gateway, USER).await;
    let session_of_it = session(&guest).await;
    let (stream, _) = call(&gateway, &guest, &session_of_it, "hang").await;
    asker.hangs(1).await;
    drop(stream);
    let refused = guest.say(&session_of_it, &request(7, "ping", json!({}))).await;
    assert_eq!(refused.code(), -32600, "the request of the client that left goes on under its id: {}", refused.body);
    assert_eq!(asker.cancellations(), 0);
    let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 7 } });
    assert_eq!(guest.say(&session_of_it, &cancelled).await.status, StatusCode::ACCEPTED);
    asker.cancelled(1).await;

    let fields = [
        ("Content-Type", "application/json"),
        ("MCP-Protocol-Version", MODERN),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "hang"),
    ];
    let mut caller = Caller::connect(gateway.port()).await;
    let body = asked("hang", &json!({})).to_string();
    let mut text = format!("POST /mcp HTTP/1.1\r\nHost: localhost:{}\r\n", gateway.port());
    text.push_str(&format!("Authorization: Bearer {}\r\n", guest.token));
    fields.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    caller.send(format!("{text}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    asker.hangs(2).await;
    drop(caller);
    asker.cancelled(2).await;
}

#[tokio::test]
async fn revocation_cancels_what_is_under_way() {
    let (asker, gateway) = world().await;
    let guest = Guest::of(&gateway, USER).await;
    let session_of_it = session(&guest).await;
    let (mut stream, _) = call(&gateway, &guest, &session_of_it, "hang").await;
    asker.hangs(1).await;
    gateway.app().revocations.grant(guest.grant).await.unwrap();
    assert_eq!(status(&stream.until("\r\n\r\n").await), 401);
    asker.cancelled(1).await;
}

#[tokio::test]
async fn an_answer_reaches_its_asker_from_another_node() {
    let (_asker, first) = world().await;
    let public = first.port();
    let second = first.another(move |config| config.server.public = Some((Scheme::Http, public))).await;
    let guest = Guest::of(&first, USER).await;
    let session_of_it = session(&guest).await;
    let list = guest.say(&session_of_it, &request(2, "tools/list", json!({}))).await;
    assert_eq!(list.message()["result"]["tools"].as_array().unwrap().len(), 3, "{}", list.body);
    let (mut stream, _) = call(&first, &guest, &session_of_it, "ask").await;
    stream.until("\r\n\r\n").await;
    let question = next(&mut stream).await;
    let said = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "decline" } });
    let fields = [("Content-Type", "application/json"), ("Mcp-Session-Id", session_of_it.as_str())];
    let (_, head) = guest.open(second.port(), "POST", "/mcp", &fields, &said.to_string()).await;
    assert_eq!(status(&head), 202);
    let answer = next(&mut stream).await;
    assert!(answer["result"]["content"][0]["text"].as_str().unwrap_or_default().contains("decline"), "{answer}");
}
