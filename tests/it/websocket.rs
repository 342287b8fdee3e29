//! WebSocket through the gateway.

use crate::gateway::{Gateway, upstream};
use crate::raw::PATIENCE;
use futures_util::{SinkExt, StreamExt};
use portcullis::config::UpstreamAuth;
use portcullis::secret::Secret;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
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
    let gateway = gateway_for(&authority, Duration::from_millis(20)).await;
    let (token, _) = gateway.token_for(&authority).await;
    let mut socket = open(&gateway, &authority, &token).await.unwrap();
    for _ in 0..5 {
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
