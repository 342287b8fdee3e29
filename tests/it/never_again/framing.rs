//! Where a request ends: what is left of one is never the beginning of another.

use super::{OK, in_front_of};
use crate::raw::{Caller, RawUpstream, field, status};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Early answers of ours: the rest of the body is read away, or the connection ends. It never becomes a request.
#[tokio::test]
async fn a27_an_early_answer_leaves_no_bytes_for_the_next_request() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = in_front_of(&[&notes.authority]).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let (host, root) = (gateway.host_of(&notes.authority), format!("localhost:{}", gateway.port()));
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
    let health = format!("GET /health HTTP/1.1\r\nHost: {root}\r\n\r\n");
    for (line, host) in [
        ("POST /mcp", &host),      // no token: 401
        ("POST /register", &host), // no JSON: 400
        ("POST /token", &host),    // no client: 401
        ("POST /nothing", &root),  // not there
        ("POST /health", &root),   // not with this method
        ("POST /connections/disconnect", &root),
    ] {
        // Small: what follows it is answered as what it is, and only that.
        let length = smuggled.len();
        for request in [
            format!("{line} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{smuggled}"),
            format!(
                "{line} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{smuggled}\r\n0\r\n\r\n"
            ),
        ] {
            let mut caller = Caller::connect(gateway.port()).await;
            caller.send(format!("{request}{health}")).await;
            refuses_and_goes_on_or_ends(&mut caller, line).await;
        }
        // Large: answered before it has arrived, or read to its end.
        let mut caller = Caller::connect(gateway.port()).await;
        let piece = smuggled.repeat(65_536 / length);
        let length = piece.len() * 100;
        caller.send(format!("{line} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n")).await;
        let mut taken = 0;
        while taken < 100 && caller.try_send(&piece).await {
            taken += 1;
        }
        caller.try_send(&health).await;
        refuses_and_goes_on_or_ends(&mut caller, line).await;
    }
    assert_eq!(notes.connections(), 0);
}

/// One refusal, and then either what came behind the body or the end of the connection.
async fn refuses_and_goes_on_or_ends(caller: &mut Caller, line: &str) {
    let Some((head, _)) = caller.try_response().await else { return };
    assert!((300..500).contains(&status(&head)), "{line}: {head}");
    if let Some((head, body)) = caller.try_response().await {
        assert_eq!(body, r#"{"status":"ok"}"#, "{line}: {head}");
    }
}

/// Bytes behind a request to upgrade are the new protocol's once the upstream has agreed, and never before.
#[tokio::test]
async fn a28_nothing_behind_an_upgrade_reaches_the_upstream_before_it_agrees() {
    let mut notes = RawUpstream::start(|number, mut connection| async move {
        let head = connection.request_head().await.unwrap_or_default();
        if head.is_empty() {
            return;
        }
        let refusal = match number {
            0 => "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            1 => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
            2 => "HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            _ => {
                // Agrees late: until then nothing may come.
                let mut early = [0; 1024];
                let read = tokio::time::timeout(Duration::from_millis(200), connection.stream.read(&mut early)).await;
                assert!(read.is_err(), "{read:?} came before 101");
                connection
                    .send(
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                    )
                    .await;
                let mut frame = [0; 11];
                connection.stream.read_exact(&mut frame).await.unwrap();
                // As it was sent, with its mask.
                connection.send([&b"\x82\x0b"[..], &frame].concat()).await;
                connection.closed().await;
                return;
            }
        };
        connection.send(refusal).await;
        // Whatever else comes on this connection is recorded as a request.
        connection.request_head().await;
    })
    .await;
    let gateway = in_front_of(&[&notes.authority]).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    for expected in [403, 200, 426] {
        let mut caller = Caller::connect(gateway.port()).await;
        // Without a token, so it would be refused as a request of its own.
        caller.send(format!("{upgrade}GET /smuggled HTTP/1.1\r\nHost: {host}\r\nX-Smuggled: 1\r\n\r\n")).await;
        let answers = caller.rest_or(2).await;
        assert!(answers.starts_with(&format!("HTTP/1.1 {expected} ")), "{answers}");
        let second =
            answers.match_indices("HTTP/1.1 ").nth(1).map(|(at, _)| answers.get(at..at + 12).unwrap_or_default());
        assert!(second.is_none_or(|second| second == "HTTP/1.1 401"), "{answers}");
        assert!(notes.received().await.head.starts_with("GET /ws HTTP/1.1\r\n"));
        assert!(!notes.has_received(), "something was smuggled");
    }
    // What the upstream agrees to: the bytes are there, all of them.
    let mut caller = Caller::connect(gateway.port()).await;
    let frame = b"\x82\x85\x00\x00\x00\x00hello";
    caller.send([upgrade.as_bytes(), frame].concat()).await;
    let head = caller.until("\r\n\r\n").await;
    assert_eq!(status(&head), 101, "{head}");
    assert_eq!(field(&head, "upgrade").as_deref(), Some("websocket"));
    let echoed = caller.until("hello").await;
    assert!(echoed.ends_with("\u{0}hello"), "{echoed:?}");
}
