//! WebSocket through the gateway.

use crate::gateway::{Gateway, upstream};
use crate::raw::{Connection, PATIENCE, RawUpstream, field, status};
use futures_util::{SinkExt, StreamExt};
use portcullis::config::UpstreamAuth;
use portcullis::secret::Secret;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

/// An upstream that echoes, insists on its credential and takes the subprotocol `mcp`.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                #[allow(clippy::result_large_err)] // tungstenite's own signature
                let check = |request: &Request, mut response: Response| {
                    assert_eq!(request.headers()["authorization"], "Bearer upstream-secret");
                    response.headers_mut().insert("sec-websocket-protocol", "mcp".parse().unwrap());
                    Ok(response)
                };
                let Ok(mut socket) = accept_hdr_async(stream, check).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    let echoed = match message {
                        Message::Text(_) | Message::Binary(_) => socket.send(message).await,
                        _ => Ok(()),
                    };
                    if echoed.is_err() {
                        return;
                    }
                }
            });
        }
    });
    authority
}

async fn gateway_for(authority: &str, heartbeat: Duration) -> Gateway {
    let authority = authority.to_owned();
    Gateway::with(move |config| {
        config.streams.websocket_heartbeat = Some(heartbeat);
        let name = http::header::AUTHORIZATION;
        let value = Secret::new("Bearer upstream-secret".to_owned());
        config.upstream.push(upstream(&authority, UpstreamAuth::Header { name, value }));
    })
    .await
}

async fn open(gateway: &Gateway, authority: &str, token: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut request = format!("ws://{}/ws", gateway.host_of(authority)).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request.headers_mut().insert("sec-websocket-protocol", "mcp".parse().unwrap());
    let stream = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
    client_async(request, stream).await.map(|(socket, _)| socket)
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Message {
    tokio::time::timeout(PATIENCE, socket.next()).await.expect("nothing came").expect("closed").unwrap()
}

#[tokio::test]
async fn no_handshake_is_torn_and_messages_of_all_sizes_come_back() {
    let authority = echo().await;
    let gateway = gateway_for(&authority, Duration::from_secs(15)).await;
    let (token, _) = gateway.token_for(&authority).await;
    for round in 0..200 {
        let mut socket = open(&gateway, &authority, &token).await.unwrap_or_else(|e| panic!("round {round}: {e}"));
        let text = "x".repeat(if round % 20 == 0 { 200_000 } else { round });
        socket.send(Message::text(text.clone())).await.unwrap();
        assert_eq!(next(&mut socket).await, Message::text(text));
        socket.close(None).await.unwrap();
    }
}

#[tokio::test]
async fn no_token_no_handshake() {
    let authority = echo().await;
    let gateway = gateway_for(&authority, Duration::from_secs(15)).await;
    match open(&gateway, &authority, "x").await {
        Err(Error::Http(response)) => {
            assert_eq!(response.status(), 401);
            assert!(response.headers().contains_key("www-authenticate"));
        }
        other => panic!("{:?}", other.map(|_| "a handshake")),
    }
}

#[tokio::test]
async fn an_idle_connection_gets_pings_and_survives() {
    let authority = echo().await;
    // Long enough for a machine that stands still to send its Pong in time.
    let gateway = gateway_for(&authority, Duration::from_secs(1)).await;
    let (token, _) = gateway.token_for(&authority).await;
    let mut socket = open(&gateway, &authority, &token).await.unwrap();
    for _ in 0..4 {
        assert!(matches!(next(&mut socket).await, Message::Ping(_)));
        socket.flush().await.unwrap(); // sends the Pong that was prepared
    }
    socket.send(Message::text("still here")).await.unwrap();
    loop {
        match next(&mut socket).await {
            Message::Ping(_) => {}
            other => break assert_eq!(other, Message::text("still here")),
        }
    }
}

#[tokio::test]
async fn revoking_the_grant_closes_with_1008() {
    let authority = echo().await;
    let gateway = gateway_for(&authority, Duration::from_secs(15)).await;
    let (token, grant) = gateway.token_for(&authority).await;
    let mut socket = open(&gateway, &authority, &token).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::text("hello"));
    gateway.app().lives.end(grant);
    match next(&mut socket).await {
        Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Policy),
        other => panic!("{other:?}"),
    }
    assert!(open(&gateway, &authority, &token).await.is_err());
}

/// A Ping of ours.
const PING: [u8; 2] = [0x89, 0x00];
/// What a caller of the test below sends: a compressed (RSV1) and masked frame.
const MASKED: [u8; 9] = [0xc2, 0x83, 1, 2, 3, 4, 0xff, 0x00, 0x89];

/// An upstream that compresses: a whole frame in one piece with its 101, then a message in two fragments, the first of them
/// in two pieces.
async fn compressing(connection: &mut Connection, pinged: &Notify) {
    connection.request().await;
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: v2.mcp\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n\r\n";
    connection.send([head.as_bytes(), &[0xc1, 0x03, 0xff, 0xfe, 0x89]].concat()).await;
    connection.send([0x42, 0x04, 1, 2]).await;
    tokio::time::sleep(Duration::from_millis(300)).await; // a heartbeat that must not come
    connection.send([3, 4]).await;
    pinged.notified().await;
    connection.send([0x80, 0x01, 5]).await;
    let mut frame = [0; MASKED.len()];
    connection.stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame, MASKED);
    connection.send([0x88, 0x02, 0x03, 0xe8]).await;
}

#[tokio::test]
async fn subprotocols_extensions_and_compressed_frames_pass_as_they_are() {
    let pinged = Arc::new(Notify::new());
    let told = pinged.clone();
    let mut upstream = RawUpstream::start(move |_, mut connection| {
        let pinged = told.clone();
        async move { compressing(&mut connection, &pinged).await }
    })
    .await;
    let gateway = gateway_for(&upstream.authority, Duration::from_secs(1)).await;
    let (token, _) = gateway.token_for(&upstream.authority).await;
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
    let asked = [
        ("sec-websocket-protocol", "mcp, v2.mcp"),
        ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits, x-other; a=\"b\""),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];
    let fields: String = asked.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let host = gateway.host_of(&upstream.authority);
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: WebSocket\r\n{fields}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let exchange = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert_eq!((status(&head), field(&head, "upgrade").as_deref()), (101, Some("websocket")));
        assert_eq!(field(&head, "sec-websocket-protocol").as_deref(), Some("v2.mcp"));
        let extensions = field(&head, "sec-websocket-extensions");
        assert_eq!(extensions.as_deref(), Some("permessage-deflate; server_max_window_bits=10"));
        let mut frames = [0; 11];
        stream.read_exact(&mut frames).await.unwrap();
        assert_eq!(frames, [0xc1, 0x03, 0xff, 0xfe, 0x89, 0x42, 0x04, 1, 2, 3, 4], "nothing inside a frame");
        let mut start = [0; 2];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(start, PING, "a Ping fits between two fragments");
        pinged.notify_one();
        while start == PING {
            stream.read_exact(&mut start).await.unwrap();
        }
        assert_eq!((start, stream.read_u8().await.unwrap()), ([0x80, 0x01], 5));
        stream.write_all(&MASKED).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.ends_with(&[0x88, 0x02, 0x03, 0xe8]), "{rest:?}");
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("the frames did not come");
    let seen = upstream.received().await;
    for (name, value) in asked {
        assert_eq!(seen.field(name), Some(value));
    }
    assert_eq!(seen.field("authorization"), Some("Bearer upstream-secret"));
}
