//! What happened, as it is counted by gateways that run: requests, tools, streams, several nodes, and the API that tells it.

use crate::client::{Client, mcp_url};
use crate::gateway::{Gateway, USER, upstream, without_rates};
use crate::postgres::Cluster;
use crate::raw::{Caller, RawUpstream, SOON, get, post, status};
use crate::upstreams::Notes;
use http::StatusCode;
use portcullis::activity::{Point, Range, Report, Subject};
use portcullis::apikey::{ApiScope, NewApiKey};
use portcullis::config::{UpstreamAuth, UpstreamConfig};
use portcullis::mcp::{Pattern, ToolPolicy};
use portcullis::secret::Secret;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// One upstream that wants no authorization, and denies the tool `drop`.
async fn gateway_for(notes: &RawUpstream) -> Gateway {
    let authority = notes.authority.clone();
    Gateway::with(move |config| {
        without_rates(config);
        let tools = ToolPolicy::new(None, vec![Pattern::parse("drop").unwrap()]);
        config.upstream.push(UpstreamConfig { tools, ..upstream(&authority, UpstreamAuth::None) });
    })
    .await
}

fn call(tool: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": {}}}).to_string()
}

async fn send(gateway: &Gateway, (name, authority): (&str, &str), body: &str) -> u16 {
    let (token, _) = gateway.token_of(name, authority).await;
    let request = post(&gateway.host_of(authority), &token, body);
    let (head, _) = Caller::connect(gateway.port()).await.send(request).await.response().await;
    status(&head)
}

async fn report(gateway: &Gateway, range: Range, subject: Subject) -> Report {
    gateway.app().activity.flush().await;
    gateway.app().activity.report(range, &subject).await.unwrap()
}

/// Waits until a report is as it should be: what is over is counted a moment after its caller has seen the end.
async fn until(gateway: &Gateway, subject: Subject, fits: impl Fn(&Report) -> bool) -> Report {
    let begun = Instant::now();
    loop {
        let report = report(gateway, Range::Hour, subject.clone()).await;
        if fits(&report) {
            return report;
        }
        assert!(begun.elapsed() < SOON, "{:?}", report.sum);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn of(person: &str) -> Subject {
    Subject { person: Some(person.to_owned()), ..Subject::default() }
}

#[tokio::test]
async fn requests_count_for_their_person_upstream_client_and_tool() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = gateway_for(&notes).await;
    gateway.add("bob").await;
    let authority = notes.authority.as_str();
    for (name, tool, expected) in [(USER, "get", 200), (USER, "get", 200), ("bob", "put", 200), ("bob", "drop", 200)] {
        assert_eq!(send(&gateway, (name, authority), &call(tool)).await, expected);
    }
    assert_eq!(send(&gateway, ("bob", authority), r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await, 200);

    let all = until(&gateway, Subject::default(), |report| report.sum.requests == 5).await;
    assert_eq!((all.sum.errors, all.sum.refused), (0, 1));
    assert!(all.sum.p50_ms.is_some());
    assert_eq!(all.upstreams[0].name, authority);
    assert_eq!(all.clients[0].name, "test");
    assert_eq!(all.people.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["bob", USER]);
    let tools: Vec<_> = all.tools.iter().map(|one| (one.name.as_str(), one.sum.requests)).collect();
    assert_eq!(tools, [("get", 2), ("drop", 1), ("put", 1)]);
    let bob = report(&gateway, Range::Month, of("bob")).await;
    assert_eq!((bob.sum.requests, bob.sum.refused, bob.tools.len()), (3, 1, 2));

    // What is counted outlives the process, and is added to by the next one.
    send(&gateway, ("bob", authority), &call("put")).await;
    let gateway = gateway.restart().await;
    send(&gateway, ("bob", authority), &call("put")).await;
    until(&gateway, of("bob"), |report| report.sum.requests == 5).await;
}

#[tokio::test]
async fn an_upstream_that_fails_is_an_error() {
    let notes = RawUpstream::answering("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = gateway_for(&notes).await;
    assert_eq!(send(&gateway, (USER, &notes.authority), &call("get")).await, 503);
    until(&gateway, Subject::default(), |report| (report.sum.requests, report.sum.errors) == (1, 1)).await;
}

#[tokio::test]
async fn streams_are_seen_while_they_are_open_and_have_no_latency() {
    let notes = RawUpstream::start(|_, mut connection| async move {
        connection.request().await;
        connection.send(STREAM).await;
        connection.closed().await;
    })
    .await;
    let gateway = gateway_for(&notes).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(get(&gateway.host_of(&notes.authority), &token, "/mcp")).await.until("\r\n\r\n").await;
    let open = until(&gateway, of(USER), |report| report.streams_now == 1).await;
    assert_eq!((open.sum.streams, open.sum.requests), (1, 0));
    assert_eq!(open.upstreams.len(), 0, "nothing has ended yet");
    drop(caller);
    let over = until(&gateway, of(USER), |report| report.streams_now == 0 && report.sum.requests == 1).await;
    assert_eq!((over.sum.streams, over.sum.p50_ms, over.sum.errors), (1, None, 0));
}

#[tokio::test]
async fn a_refresh_and_the_last_use_of_a_connection_are_known() {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let tokens = client.connect().await;
    let user = gateway.app().store.user_by_name(USER).await.unwrap().unwrap().id;
    let last_used = async || {
        let connection = gateway.app().store.connection(user, &notes.authority(), "").await.unwrap().unwrap();
        connection.last_used_at
    };
    assert_eq!(last_used().await, None);
    assert_eq!(client.call(&tokens.access, "whoami").await.0, StatusCode::OK);
    let before = until(&gateway, of(USER), |report| report.sum.requests > 0).await;
    assert_eq!(before.sum.refreshes, 0);
    let first = last_used().await.unwrap();
    // Past the end of the upstream's token.
    gateway.clock.advance(Duration::from_secs(400));
    assert_eq!(client.call(&tokens.access, "whoami").await.0, StatusCode::OK);
    let subject = Subject { upstream: Some(notes.authority()), ..of(USER) };
    until(&gateway, subject, |report| report.sum.refreshes == 1).await;
    assert!(last_used().await.unwrap() > first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_add_up_on_one_file() {
    nodes_add_up(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_add_up_on_postgres() {
    nodes_add_up(Some(Cluster::shared().empty().await)).await;
}

async fn nodes_add_up(url: Option<String>) {
    let notes = RawUpstream::answering(OK).await;
    let authority = notes.authority.clone();
    let first = Gateway::with(move |config| {
        without_rates(config);
        if let Some(url) = &url {
            config.store.url = Secret::new(url.clone());
        }
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    })
    .await;
    let second = first.another(|_| {}).await;
    for _ in 0..5 {
        for gateway in [&first, &second] {
            assert_eq!(send(gateway, (USER, &notes.authority), &call("get")).await, 200);
        }
        // Both at once, into the same rows.
        tokio::join!(first.app().activity.flush(), second.app().activity.flush());
    }
    second.app().activity.flush().await;
    let report = until(&first, of(USER), |report| report.sum.requests == 10).await;
    assert_eq!(report.tools[0].sum.requests, 10);
    assert_eq!(report.points.iter().map(|point| point.requests).sum::<u64>(), 10);
}

#[tokio::test]
async fn the_api_tells_it() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = gateway_for(&notes).await;
    send(&gateway, (USER, &notes.authority), &call("get")).await;
    until(&gateway, Subject::default(), |report| report.sum.requests == 1).await;
    let new = NewApiKey { name: "test".to_owned(), scopes: vec![ApiScope::Admin], ..NewApiKey::default() };
    let key = gateway.app().api_keys.create(&new).await.unwrap().key.expose().to_owned();
    let ask = async |query: &str| -> (u16, Value) {
        let host = gateway.root().split_once("://").unwrap().1.to_owned();
        let request = format!(
            "GET /api/v1/activity{query} HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n"
        );
        let (head, body) = Caller::connect(gateway.port()).await.send(request).await.response().await;
        (status(&head), serde_json::from_str(&body).unwrap_or_default())
    };
    let (status, hour) = ask("").await;
    assert_eq!((status, &hour["step"], hour["points"].as_array().unwrap().len()), (200, &json!(60), 60));
    assert_eq!(hour["sum"]["requests"], 1);
    assert_eq!(hour["tools"][0]["upstream"], notes.authority.as_str());
    let (status, month) = ask("?range=month&person=alice").await;
    assert_eq!((status, month["points"].as_array().unwrap().len()), (200, 120));
    assert_eq!(ask("?range=year").await.0, 400);
    assert_eq!(ask("?client=test&upstream=x.example").await.0, 422);
    let nobody = report(&gateway, Range::Hour, of("nobody")).await;
    assert_eq!(nobody.sum, Point::default());
}
