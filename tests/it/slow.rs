//! Callers that are slow on purpose, many of them, and too large: each has its deadline, and others notice nothing.

use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, PATIENCE, RawUpstream, field, get, post, status};
use crate::tls_peers::Authority;
use futures_util::future::join_all;
use portcullis::config::{Config, Rate, UpstreamAuth};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const SHORT: Duration = Duration::from_millis(500);

/// A gateway with little patience in front of one upstream.
async fn impatient(edit: impl Fn(&mut Config) + Send + Sync + 'static) -> (RawUpstream, Gateway, String) {
    let notes = RawUpstream::answering(OK).await;
    let authority = notes.authority.clone();
    let gateway = Gateway::with(move |config| {
        config.limits.per_ip = Rate { count: 1_000_000, period: Duration::from_secs(1), burst: 1_000_000 };
        config.limits.connections.head_timeout = SHORT;
        config.limits.connections.body_timeout = SHORT;
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
        edit(config);
    })
    .await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    (notes, gateway, token)
}

/// Sends a beginning at once and then a byte now and again, until the gateway closes; what it said.
async fn drip(port: u16, beginning: String, byte: &[u8]) -> String {
    let (mut reader, mut writer) = TcpStream::connect(("127.0.0.1", port)).await.unwrap().into_split();
    writer.write_all(beginning.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let dripping = async {
        loop {
            tokio::select! {
                read = reader.read_buf(&mut said) => if !matches!(read, Ok(1..)) { return },
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    // Written into a closed connection at worst; reading finds out.
                    let _ = writer.write_all(byte).await;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, dripping).await.expect("the connection stays open");
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn three_hundred_dripping_connections_are_ended_and_others_are_served() {
    let (notes, gateway, token) = impatient(|_| {}).await;
    let (port, host) = (gateway.port(), gateway.host_of(&notes.authority));
    let announced = post(&host, &token, "").replace("Length: 0", "Length: 1000");
    let flowing = post(&host, &token, "").replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let ours = format!("POST /login HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 1000\r\n\r\n");
    let heads = join_all((0..100).map(|_| drip(port, format!("GET /mcp HTTP/1.1\r\nHost: {host}\r\nX"), b"x")));
    let bodies = [announced, flowing, ours].map(|beginning| {
        let byte: &[u8] = if beginning.contains("chunked") { b"1\r\nx\r\n" } else { b"x" };
        join_all((0..67).map(move |_| drip(port, beginning.clone(), byte)))
    });
    let others = async {
        let mut caller = Caller::connect(port).await;
        for _ in 0..20 {
            assert_eq!(caller.send(post(&host, &token, LIST)).await.status().await, 200);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let (heads, bodies, ()) = tokio::join!(heads, join_all(bodies), others);
    assert!(heads.iter().all(String::is_empty), "{heads:?}");
    for said in bodies.iter().flatten() {
        assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("too slowly"), "{said}");
        assert!(said.to_ascii_lowercase().contains("connection: close"), "{said}");
    }
}

#[tokio::test]
async fn an_honest_upload_may_take_longer_than_any_pause_in_it() {
    let (mut notes, gateway, token) = impatient(|_| {}).await;
    let mut caller = Caller::connect(gateway.port()).await;
    let host = gateway.host_of(&notes.authority);
    caller.send(post(&host, &token, "").replace("Content-Length: 0", "Transfer-Encoding: chunked")).await;
    for _ in 0..10 {
        tokio::time::sleep(SHORT / 4).await;
        caller.send(format!("{:x}\r\n{}\r\n", 1000, "u".repeat(1000))).await;
    }
    assert_eq!(caller.send("0\r\n\r\n").await.status().await, 200);
    assert_eq!(notes.received().await.body.len(), 10_000);
}

#[tokio::test]
async fn a_later_head_has_the_deadline_of_the_first_once_it_began() {
    let (notes, gateway, token) = impatient(|_| {}).await;
    let mut caller = Caller::connect(gateway.port()).await;
    let host = gateway.host_of(&notes.authority);
    assert_eq!(caller.send(post(&host, &token, LIST)).await.status().await, 200);
    // Between requests it may rest for longer than that,
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(caller.send(post(&host, &token, LIST)).await.status().await, 200);
    // but not within one: `rest` waits for 10 s, and an idle connection is kept for 75.
    caller.send("GET /mcp HTTP/1.1\r\nHo").await;
    assert_eq!(caller.rest().await, "");
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_ended() {
    let authority = Authority::new("test");
    let tls = authority.files(&["gw.test"]);
    let gateway = Gateway::with(move |config| {
        config.tls = tls.clone();
        config.server.domain = "gw.test".to_owned();
        config.limits.connections.head_timeout = SHORT;
    })
    .await;
    // The first bytes of a ClientHello; and a whole handshake with nothing after it.
    let mut begun = Caller::connect(gateway.port()).await;
    begun.send([22, 3, 1, 2, 0, 1]).await;
    let mut done = authority.connect(gateway.port(), "gw.test", "http/1.1").await;
    assert_eq!(begun.rest().await, "");
    let closed = tokio::time::timeout(PATIENCE, done.read(&mut [0; 1])).await.expect("the connection stays open");
    assert!(matches!(closed, Ok(0) | Err(_)));
}

#[tokio::test]
async fn connections_are_limited_in_all_and_for_each_address() {
    for by_address in [false, true] {
        let (_, gateway, _) = impatient(move |config| {
            let limits = &mut config.limits.connections;
            limits.head_timeout = PATIENCE * 2;
            if by_address { limits.per_address = 16 } else { limits.total = Some(16) }
        })
        .await;
        let metrics = &gateway.app().metrics;
        let mut open = Vec::new();
        for _ in 0..16 {
            open.push(Caller::connect(gateway.port()).await);
        }
        let health = format!("GET /health HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", gateway.port());
        let mut refused = Caller::connect(gateway.port()).await;
        assert!(!refused.try_send(&health).await || refused.try_response().await.is_none());
        assert_eq!(metrics.connections_refused.get(), 1);
        assert_eq!(open[0].send(&health).await.status().await, 200, "those that are open go on");
        open.pop();
        while metrics.connections.get() > 15 {
            tokio::task::yield_now().await;
        }
        assert_eq!(Caller::connect(gateway.port()).await.send(&health).await.status().await, 200);
    }
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused_in_our_words_before_they_are_collected() {
    let (notes, gateway, token) = impatient(|config| config.limits.connections.head_timeout = PATIENCE).await;
    let host = gateway.host_of(&notes.authority);
    let begin = format!("GET /mcp HTTP/1.1\r\nHost: {host}\r\n");
    let fields: String = (0..300).map(|number| format!("X-{number}: x\r\n")).collect();
    for (request, expected) in [
        (get(&host, &token, &format!("/{}", "x".repeat(70_000))), 431),
        (format!("{begin}X: {}\r\n\r\n", "x".repeat(70_000)), 431),
        (format!("{begin}X: {}\r\n", "x".repeat(2_000_000)), 431),
        (format!("{begin}{fields}\r\n"), 400),
        (format!("{begin}No colon\r\n\r\n"), 400),
    ] {
        let mut caller = Caller::connect(gateway.port()).await;
        // The rest of a megabyte is not taken.
        let _ = tokio::time::timeout(SHORT, caller.try_send(&request)).await;
        let (head, body) = caller.response().await;
        assert_eq!(status(&head), expected, "{}", &request[..60]);
        assert_eq!(field(&head, "content-type").as_deref(), Some("application/json"), "{head}");
        assert!(body.contains("\"jsonrpc\""), "{body}");
    }
    assert_eq!(notes.connections(), 0);
}

#[tokio::test]
async fn what_surrounds_a_chunked_body_is_bounded_too() {
    let (notes, gateway, token) = impatient(|_| {}).await;
    let host = gateway.host_of(&notes.authority);
    let head = post(&host, &token, "").replace("Content-Length: 0", "Transfer-Encoding: chunked");
    for (what, flood) in [
        ("extensions", format!("1;{}", "e".repeat(1000))),
        ("trailers", format!("0\r\n{}", "X: y\r\n".repeat(100))),
        ("a size without end", "0".repeat(1000)),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let flooding = async { while stream.write_all(flood.as_bytes()).await.is_ok() {} };
        let ended = tokio::time::timeout(PATIENCE, flooding).await;
        assert!(ended.is_ok(), "{what}: taken without end");
    }
}
