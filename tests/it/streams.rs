//! Server-sent events through the gateway: as they come, with heartbeats in between, and not longer than the grant.

use crate::client::Client;
use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, PATIENCE, RawUpstream, field, get, post, status};
use crate::upstreams::Notes;
use portcullis::config::UpstreamAuth;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// A gateway in front of one upstream that wants no authorization.
pub async fn gateway_for(notes: &RawUpstream, heartbeat: Duration) -> Gateway {
    let authority = notes.authority.clone();
    Gateway::with(move |config| {
        config.streams.heartbeat = Some(heartbeat);
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    })
    .await
}

/// An upstream that begins a stream and then says `next` whenever it is told to; it tells when it is left alone.
async fn speaking(first: &'static str, next: &'static str) -> (RawUpstream, Arc<Notify>, Arc<Notify>) {
    let (speak, left) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let told = (speak.clone(), left.clone());
    let notes = RawUpstream::start(move |_, mut connection| {
        let (speak, left) = told.clone();
        async move {
            connection.request().await;
            connection.send(STREAM.to_owned() + &chunk(first)).await;
            tokio::select! {
                () = speak.notified() => connection.send(chunk(next)).await,
                () = connection.closed() => left.notify_one(),
            }
            connection.closed().await;
            left.notify_one();
        }
    })
    .await;
    (notes, speak, left)
}

#[tokio::test]
async fn events_arrive_as_they_come_and_bytes_are_not_changed() {
    const FIRST: &str = "id: 7\r\nretry: 10\r\ndata: one\r\n\r\n";
    let (notes, speak, _) = speaking(FIRST, "data: two\n\n").await;
    let gateway = gateway_for(&notes, Duration::from_secs(60)).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(post(&gateway.host_of(&notes.authority), &token, "{}")).await;
    let head = caller.until("\r\n\r\n").await;
    assert_eq!(status(&head), 200);
    assert_eq!(field(&head, "x-accel-buffering").as_deref(), Some("no"));
    assert_eq!(field(&head, "content-type").as_deref(), Some("text/event-stream; charset=utf-8"));
    assert!(caller.until("data: one\r\n\r\n").await.ends_with(FIRST));
    speak.notify_one();
    caller.until("data: two\n\n").await;
}

#[tokio::test]
async fn an_idle_stream_gets_a_comment_but_never_inside_an_event() {
    let (notes, speak, _) = speaking("data: half", " whole\n\n").await;
    let gateway = gateway_for(&notes, Duration::from_millis(30)).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(get(&gateway.host_of(&notes.authority), &token, "/mcp")).await;
    caller.until("data: half\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await; // three heartbeats that must not come
    speak.notify_one();
    let event = caller.until(" whole\n\n").await;
    assert!(!event.contains("keep-alive"), "{event:?}");
    caller.until(": keep-alive\n\n").await;
    caller.until(": keep-alive\n\n").await;
}

#[tokio::test]
async fn revoking_the_grant_ends_its_streams_cleanly_and_the_upstream_s_side_too() {
    let (notes, _, left) = speaking("data: one\n\n", "").await;
    let gateway = gateway_for(&notes, Duration::from_secs(60)).await;
    let (token, grant) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(get(&gateway.host_of(&notes.authority), &token, "/mcp")).await;
    caller.until("data: one\n\n").await;
    // As the command line does it: in the database, noticed by the running gateway.
    let now = gateway.clock.now();
    assert!(gateway.app().store.revoke_grant(grant, now).await.unwrap());
    caller.until("0\r\n\r\n").await;
    tokio::time::timeout(PATIENCE, left.notified()).await.expect("the upstream was not closed");
}

#[tokio::test]
async fn a_caller_that_leaves_is_noticed_by_the_upstream_before_and_during_an_answer() {
    let (notes, _, left) = speaking("data: one\n\n", "").await;
    let (silent, silent_left) = RawUpstream::silent().await;
    let authorities = [notes.authority.clone(), silent.authority.clone()];
    let gateway = Gateway::with(move |config| {
        for authority in &authorities {
            config.upstream.push(upstream(authority, UpstreamAuth::None));
        }
    })
    .await;
    for (upstream, left) in [(&notes, left), (&silent, silent_left)] {
        let (token, _) = gateway.token_for(&upstream.authority).await;
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(get(&gateway.host_of(&upstream.authority), &token, "/mcp")).await;
        while upstream.connections() == 0 {
            tokio::task::yield_now().await;
        }
        drop(caller);
        tokio::time::timeout(PATIENCE, left.notified()).await.expect("the upstream was not closed");
    }
}

#[tokio::test]
async fn stopping_ends_streams_between_two_events() {
    let (notes, _, _) = speaking("data: one\n\n", "").await;
    let gateway = gateway_for(&notes, Duration::from_secs(60)).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(get(&gateway.host_of(&notes.authority), &token, "/mcp")).await;
    caller.until("data: one\n\n").await;
    gateway.stop().await;
    assert!(caller.rest().await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_caller_that_does_not_read_is_ended() {
    let left = Arc::new(Notify::new());
    let told = left.clone();
    let notes = RawUpstream::start(move |_, mut connection| {
        let told = told.clone();
        async move {
            connection.request().await;
            connection.send(STREAM).await;
            let event = chunk(&format!("data: {}\n\n", "x".repeat(60_000)));
            while tokio::io::AsyncWriteExt::write_all(&mut connection.stream, event.as_bytes()).await.is_ok() {}
            told.notify_one();
        }
    })
    .await;
    let authority = notes.authority.clone();
    let gateway = Gateway::with(move |config| {
        config.streams.write_timeout = Duration::from_millis(300);
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    })
    .await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(get(&gateway.host_of(&notes.authority), &token, "/mcp")).await;
    caller.until("\r\n\r\n").await;
    tokio::time::timeout(PATIENCE, left.notified()).await.expect("the upstream was pinned");
}

#[tokio::test]
async fn the_transport_of_2024_works_and_its_messages_stay_on_our_hostname() {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    let client = Client::ready(&format!("{}/sse", gateway.url_of(&notes.authority()))).await;
    let ours = client.connect().await;
    let host = gateway.host_of(&notes.authority());
    let mut stream = Caller::connect(gateway.port()).await;
    stream.send(get(&host, &ours.access, "/sse")).await;
    stream.until("event: endpoint").await;
    let event = stream.until("\n\n").await;
    let path = event.split("data:").nth(1).unwrap().trim();
    assert!(path.starts_with('/'), "{path} leads elsewhere");
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2024-11-05",
        "capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(post(&host, &ours.access, initialize).replace("/mcp", path)).await;
    assert_eq!(caller.status().await, 202);
    stream.until("\"protocolVersion\"").await;
}

#[tokio::test]
async fn an_endpoint_with_the_upstream_s_own_origin_becomes_a_path_on_our_hostname() {
    let (to_stream, posted) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let told = (to_stream.clone(), posted.clone());
    let mut notes = RawUpstream::start(move |_, mut connection| {
        let (to_stream, posted) = told.clone();
        async move {
            let address = connection.stream.local_addr().unwrap();
            connection.request().await;
            let event = format!("event: endpoint\r\ndata: http://{address}/messages/?session_id=1\r\n\r\n");
            connection.send(STREAM.to_owned() + &chunk(&event[..30])).await;
            connection.send(chunk(&event[30..])).await;
            to_stream.notified().await;
            connection.send(chunk(&event)).await;
            posted.notified().await;
        }
    })
    .await;
    let gateway = gateway_for(&notes, Duration::from_secs(60)).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(get(&gateway.host_of(&notes.authority), &token, "/sse")).await;
    caller.until("event: endpoint\r\ndata: /messages/?session_id=1\r\n\r\n").await;
    notes.received().await;
    // Only the first event is that one.
    to_stream.notify_one();
    caller.until(&format!("data: http://{}/messages/", notes.authority)).await;
    posted.notify_one();
}
