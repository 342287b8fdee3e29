//! Tools that an administrator limits: calls are refused in every disguise, lists lose what is denied and nothing else,
//! and the audit log knows who called what.

use crate::client::Client;
use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, RawUpstream, field, get, post, status};
use crate::upstreams::Notes;
use portcullis::config::{AuditedRequests, OAuthSettings, UpstreamAuth, UpstreamConfig};
use portcullis::mcp::{Pattern, ToolPolicy};
use serde_json::{Value, json};
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const TOOLS: &str =
    r#"{"jsonrpc":"2.0", "id":1,"result":{"tools":[{"name":"get","x":1.0},{"name":"drop"}],"nextCursor":"é"}}"#;
const KEPT: &str = r#"{"jsonrpc":"2.0", "id":1,"result":{"tools":[{"name":"get","x":1.0}],"nextCursor":"é"}}"#;

/// An upstream whose tool `drop` is denied.
fn limited(authority: &str, auth: UpstreamAuth) -> UpstreamConfig {
    let tools = ToolPolicy::new(None, vec![Pattern::parse("drop*").unwrap()]);
    UpstreamConfig { tools, ..upstream(authority, auth) }
}

async fn gateway_for(notes: &RawUpstream) -> Gateway {
    let authority = notes.authority.clone();
    Gateway::with(move |config| {
        config.streams.heartbeat = Some(Duration::from_millis(20));
        config.upstream.push(limited(&authority, UpstreamAuth::None));
    })
    .await
}

/// An upstream that answers everything with this body.
async fn saying(fields: &str, body: &str) -> RawUpstream {
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len());
    RawUpstream::answering(answer.leak()).await
}

fn call(tool: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": {}}}).to_string()
}

/// Adds fields to a request.
fn with(request: &str, fields: &str) -> String {
    request.replacen("\r\n", &format!("\r\n{fields}"), 1)
}

#[tokio::test]
async fn a_denied_call_is_answered_as_an_unknown_tool_and_goes_nowhere() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let mut caller = Caller::connect(gateway.port()).await;
    for body in
        [call("drop"), call("drop_table"), call("DROP"), call("drop").replace("tools/call", "tools\\/c\\u0061ll")]
    {
        caller.send(post(&host, &token, &body)).await;
        let (head, answer) = caller.response().await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(
            (status(&head), &answer["id"], &answer["error"]["code"]),
            (200, &json!(7), &json!(-32602)),
            "{body}"
        );
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.to_lowercase().contains("drop") && message.contains("administrator"), "{message}");
    }
    // Of the transport of 2024, whose clients do not read answers to what they post.
    let legacy = post(&host, &token, &call("drop")).replace("Accept: application/json, text/event-stream\r\n", "");
    assert_eq!(caller.send(legacy).await.status().await, 400);
    assert_eq!(notes.connections(), 0);
}

#[tokio::test]
async fn a_batch_with_a_denied_call_is_refused_as_a_whole() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let batch = format!("[{LIST},{},{{\"method\":\"notifications/initialized\"}}]", call("drop"));
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(post(&gateway.host_of(&notes.authority), &token, &batch)).await;
    let (head, answer) = caller.response().await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let ids: Vec<&Value> = answer.as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!((status(&head), ids), (200, vec![&json!(1), &json!(7)]));
    assert_eq!(notes.connections(), 0);
}

#[tokio::test]
async fn what_cannot_be_read_for_certain_is_refused() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let posted = |body: &str| post(&host, &token, body);
    let get_call = posted(&call("get"));
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (request, expected) in [
        (posted(r#"{"method":"ping","method":"tools/call","params":{"name":"drop"}}"#), 400),
        (posted(r#"{"Method":"tools/call","params":{"name":"drop"}}"#), 400),
        (posted(r#"{"method":"tools/call","params":{"name":"get","Name":"drop"}}"#), 400),
        (posted(r#"{"method":"tools/call","params":["drop"]}"#), 400),
        (posted("{\"method\":\"ping\"}\n{\"method\":\"tools/call\"}"), 400),
        (posted("\u{feff}{\"method\":\"ping\"}"), 400),
        (posted("name=drop"), 400),
        (with(&get_call, "Content-Encoding: gzip\r\n"), 415),
        (get_call.replace("application/json\r\n", "application/json; charset=utf-16\r\n"), 415),
        (get_call.replace("application/json\r\n", "application/json; charset=utf-8; charset=\"utf-7\"\r\n"), 415),
        (with(&get_call, "Mcp-Method: tools/call\r\nMcp-Name: drop\r\n"), 400),
        (with(&get_call, "Mcp-Method: tools/list\r\n"), 400),
        (with(&get(&host, &token, "/mcp"), upgrade), 403),
    ] {
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(&request).await;
        let (head, body) = caller.response().await;
        assert_eq!(status(&head), expected, "{request}");
        assert!(serde_json::from_str::<Value>(&body).unwrap()["error"]["message"].is_string(), "{body}");
    }
    assert_eq!(notes.connections(), 0);
}

#[tokio::test]
async fn an_honest_header_does_not_help_a_denied_body() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let mut caller = Caller::connect(gateway.port()).await;
    let mirrors = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: get\r\n";
    caller.send(with(&post(&host, &token, &call("drop")), mirrors)).await;
    let (head, body) = caller.response().await;
    assert_eq!((status(&head), body.contains("-32020")), (400, true), "{body}");
    assert_eq!(caller.send(with(&post(&host, &token, &call("get")), mirrors)).await.status().await, 200);
}

#[tokio::test]
async fn bodies_without_length_are_looked_at_and_large_ones_are_refused() {
    let mut notes = RawUpstream::answering(OK).await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let chunked = |body: &str| {
        let (first, second) = body.split_at(body.len() / 2);
        format!(
            "POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\
             Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
            first.len(),
            second.len()
        )
    };
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(chunked(&call("drop"))).await;
    assert!(caller.response().await.1.contains("administrator"));
    let large = call("get").replace("{}", &format!("{{\"x\":\"{}\"}}", "y".repeat(200_000)));
    assert_eq!(caller.send(chunked(&large)).await.status().await, 200);
    assert_eq!(notes.received().await.body, large.as_bytes());
    let (head, body) = {
        let huge = format!(
            "POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Length: 1048577\r\n\r\n"
        );
        caller.send(huge).await.response().await
    };
    assert_eq!((status(&head), body.contains("1 MiB")), (413, true), "{body}");
    assert!(!notes.has_received());
}

#[tokio::test]
async fn a_list_loses_what_is_denied_and_nothing_else() {
    let mut notes = saying("Content-Type: application/json\r\nETag: \"1\"\r\nMcp-Session-Id: s\r\n", TOOLS).await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(with(&post(&host, &token, LIST), "Accept-Encoding: gzip, br\r\n")).await;
    let (head, body) = caller.response().await;
    assert_eq!((status(&head), body.as_str()), (200, KEPT));
    assert_eq!((field(&head, "etag"), field(&head, "mcp-session-id").as_deref()), (None, Some("s")));
    assert_eq!(
        field(&head, "content-security-policy").as_deref().map(|policy| policy.starts_with("sandbox")),
        Some(true)
    );
    let seen = notes.received().await;
    assert_eq!((seen.field("accept-encoding"), seen.body.as_slice()), (Some("identity"), LIST.as_bytes()));
    // What was asked for is no list: it flows as it comes.
    caller.send(post(&host, &token, &call("get"))).await;
    let (head, body) = caller.response().await;
    assert_eq!((field(&head, "etag").as_deref(), body.as_str()), (Some("\"1\""), TOOLS));
}

#[tokio::test]
async fn lists_in_streams_lose_it_too_and_heartbeats_go_on() {
    let notes = RawUpstream::start(|_, mut connection| async move {
        connection.request().await;
        connection
            .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        let stream = format!("event: endpoint\ndata: /m?s=1\n\nid: 5\ndata: {TOOLS}\n\n");
        let half = &stream[..stream.len() - 20];
        connection.send(format!("{:x}\r\n{half}\r\n", half.len())).await;
        connection.closed().await;
    })
    .await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(get(&host, &token, "/sse")).await;
    let begun = caller.until(": keep-alive\n\n").await;
    assert!(begun.contains("event: endpoint\ndata: /m?s=1\n\n") && !begun.contains("id: 5"), "{begun}");

    let whole = format!("data: {TOOLS}\n\ndata: {{}}\n\ndata: {TOOLS}");
    let stream = saying("Content-Type: text/event-stream\r\n", &whole).await;
    let gateway = gateway_for(&stream).await;
    let (token, _) = gateway.token_for(&stream.authority).await;
    for request in [post("HOST", &token, LIST), get("HOST", &token, "/mcp")] {
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(request.replace("HOST", &gateway.host_of(&stream.authority))).await;
        let (head, body) = caller.response().await;
        assert_eq!(body, format!("data: {KEPT}\n\ndata: {{}}\n\ndata: {KEPT}"));
        assert_eq!(field(&head, "content-length"), None);
    }
}

#[tokio::test]
async fn what_cannot_be_looked_through_is_not_passed_on() {
    let compressed = saying("Content-Type: application/json\r\nContent-Encoding: gzip\r\n", "x").await;
    let stream = saying("Content-Type: text/event-stream\r\nContent-Encoding: br\r\n", "x").await;
    let large = saying("Content-Type: application/json\r\n", &"x".repeat(8 * 1024 * 1024 + 1)).await;
    for (notes, hint) in [(&compressed, "compresses"), (&stream, "compresses"), (&large, "too large")] {
        let gateway = gateway_for(notes).await;
        let (token, _) = gateway.token_for(&notes.authority).await;
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(post(&gateway.host_of(&notes.authority), &token, LIST)).await;
        let (head, body) = caller.response().await;
        assert_eq!((status(&head), body.contains(hint)), (502, true), "{body}");
    }
}

#[tokio::test]
async fn the_transport_of_2024_is_limited_on_both_its_ways() {
    let notes = Notes::start().await;
    let authority = notes.authority();
    let gateway = Gateway::with(move |config| {
        let tools = ToolPolicy::new(Some(vec![Pattern::parse("whoami").unwrap()]), Vec::new());
        let auth = UpstreamAuth::OAuth(Box::<OAuthSettings>::default());
        config.upstream.push(UpstreamConfig { tools, ..upstream(&authority, auth) });
    })
    .await;
    let client = Client::ready(&format!("{}/sse", gateway.url_of(&notes.authority()))).await;
    let ours = client.connect().await;
    let host = gateway.host_of(&notes.authority());
    let mut stream = Caller::connect(gateway.port()).await;
    stream.send(get(&host, &ours.access, "/sse")).await;
    stream.until("event: endpoint").await;
    let event = stream.until("\n\n").await;
    let path = event.split("data:").nth(1).unwrap().trim();
    let send = |body: &str| {
        post(&host, &ours.access, body)
            .replace("/mcp", path)
            .replace("Accept: application/json, text/event-stream\r\n", "")
    };
    let mut caller = Caller::connect(gateway.port()).await;
    assert_eq!(caller.send(send(LIST)).await.status().await, 202);
    let list = stream.until("\n\n").await;
    assert!(list.contains("\"whoami\"") && !list.contains("\"echo\""), "{list}");
    assert_eq!(caller.send(send(&call("echo"))).await.status().await, 400);
    assert_eq!(caller.send(send(&call("whoami"))).await.status().await, 202);
    assert!(stream.until("\n\n").await.contains("\"id\":7"));
}

#[tokio::test]
async fn calls_and_refusals_are_remembered() {
    let notes = RawUpstream::answering(OK).await;
    let other = RawUpstream::answering(OK).await;
    let authorities = (notes.authority.clone(), other.authority.clone());
    let gateway = Gateway::with(move |config| {
        config.audit.requests = AuditedRequests::Calls;
        config.upstream.push(limited(&authorities.0, UpstreamAuth::None));
        config.upstream.push(upstream(&authorities.1, UpstreamAuth::None));
    })
    .await;
    let mirrors = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: far\r\n";
    let mut caller = Caller::connect(gateway.port()).await;
    for (notes, fields, body) in [
        (&notes, "", call("get")),
        (&notes, "", call("drop")),
        (&notes, "", LIST.to_owned()),
        (&other, "", call("drop")),
        (&other, mirrors, call("far").replace("{}", &format!("\"{}\"", "x".repeat(100_000)))),
        (&other, "", format!("\"{}\"", "x".repeat(100_000))),
        (&other, "", format!("[{},{}]", call("a"), call("b"))),
    ] {
        let (token, _) = gateway.token_for(&notes.authority).await;
        let request = post(&gateway.host_of(&notes.authority), &token, &body);
        assert_eq!(caller.send(with(&request, fields)).await.status().await, 200);
    }
    // A request is over a moment after its answer: the next one on the connection comes after that.
    assert_eq!(caller.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.status().await, 200);
    gateway.app().audit.flush().await;
    let mut events = gateway.app().store.audit(20).await.unwrap();
    events.reverse();
    let calls: Vec<_> = events.iter().filter(|event| event.upstream.is_some()).collect();
    let told: Vec<String> = calls.iter().map(|event| format!("{} {}", event.action, event.subject)).collect();
    let expected = [
        "tool.called get",
        "tool.refused drop",
        "tool.called drop",
        "tool.called far",
        "request.unclear (none)",
        "tool.called a, b",
    ];
    assert_eq!(told, expected);
    for event in calls {
        assert_eq!((event.actor.as_str(), event.client.as_deref(), event.status), ("alice", Some("test"), Some(200)));
        assert_eq!(event.address.as_deref(), Some("127.0.0.1"));
        assert!(event.duration_ms.is_some_and(|took| took < 10_000));
    }
    let metrics = gateway.app().metrics.encode();
    for line in [
        "{method=\"tools/call\",fate=\"answered\"} 3",
        "{method=\"tools/call\",fate=\"refused\"} 1",
        "{method=\"(batch)\",fate=\"answered\"} 1",
    ] {
        assert!(metrics.contains(&format!("portcullis_mcp_requests_total{line}")), "{line} is not in\n{metrics}");
    }
    assert!(!crate::logs::contain("xxxxxxxxxxxxxxxxxxxx"), "arguments are in the log");
}
