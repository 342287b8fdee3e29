//! Bodies of requests that take their time: each piece reaches the upstream when it comes, and an answer need not wait.

use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, PATIENCE, RawUpstream, status};
use crate::tls::{PAIRS, between, host_of, send_body};
use crate::tls_peers::{Authority, TlsUpstream};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use portcullis::config::UpstreamAuth;
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// A body that consists of what is sent to it.
fn body() -> (mpsc::Sender<Bytes>, impl hyper::body::Body<Data = Bytes, Error = Infallible> + Send + Unpin) {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|bytes| (Ok(Frame::data(bytes)), receiver))
    });
    (sender, StreamBody::new(Box::pin(frames)))
}

fn request(token: &str) -> http::request::Builder {
    Request::post("/").header(header::AUTHORIZATION, format!("Bearer {token}"))
}

#[tokio::test]
async fn every_piece_arrives_when_it_was_sent() {
    let authority = Authority::new("test");
    for (downstream, spoken) in PAIRS {
        let what = format!("{downstream} to {spoken}");
        let mut upstream = TlsUpstream::start(&authority, "mcp.test", &[spoken]).await;
        let (gateway, name, token) = between(&authority, upstream.port).await;
        let host = host_of(&name);
        let stream = authority.connect(gateway.port(), &host, downstream).await;
        let url = format!("https://{host}:{}/upload", gateway.port()).parse().unwrap();
        let (sender, body) = body();
        let answer = tokio::spawn(send_body(stream, downstream, request(&token), url, body));
        for text in ["one", "two", "three"] {
            sender.send(Bytes::from(text)).await.unwrap();
            let piece = tokio::time::timeout(PATIENCE, upstream.pieces.recv()).await.expect(&what);
            assert_eq!(piece.unwrap(), text, "{what}");
        }
        drop(sender);
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect(&what).unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{what}");
    }
}

/// From HTTP/2 only: in HTTP/1.1 the client may notice first that its body is no longer wanted.
#[tokio::test]
async fn an_answer_does_not_wait_for_the_end_of_the_upload() {
    let authority = Authority::new("test");
    for (downstream, spoken) in PAIRS.into_iter().filter(|(downstream, _)| *downstream == "h2") {
        let what = format!("{downstream} to {spoken}");
        let upstream = TlsUpstream::start(&authority, "mcp.test", &[spoken]).await;
        let (gateway, name, token) = between(&authority, upstream.port).await;
        let host = host_of(&name);
        let stream = authority.connect(gateway.port(), &host, downstream).await;
        let url = format!("https://{host}:{}/early", gateway.port()).parse().unwrap();
        let (sender, body) = body();
        // Never ends: whoever waits for that waits for ever.
        let sending = tokio::spawn(async move { while sender.send(Bytes::from(vec![0; 10_000])).await.is_ok() {} });
        let answer = tokio::time::timeout(PATIENCE, send_body(stream, downstream, request(&token), url, body));
        let answer = answer.await.expect(&what);
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{what}");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "too large", "{what}");
        sending.abort();
    }
}

/// An upstream that has answered and then neither reads nor closes: it is not waited for longer than for an answer.
#[tokio::test]
async fn an_answer_is_seen_when_the_upstream_stops_reading() {
    let notes = RawUpstream::start(|_, mut connection| async move {
        connection.send("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nno\n").await;
        std::future::pending::<()>().await;
    })
    .await;
    let authority = notes.authority.clone();
    let gateway = Gateway::with(move |config| {
        config.streams.response_timeout = Duration::from_secs(1);
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    })
    .await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let mut caller = Caller::connect(gateway.port()).await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Length: 30000000\r\n\r\n"
    );
    caller.send(head).await;
    let mut stream = caller.into_stream();
    let (mut reading, mut writing) = stream.split();
    let body = vec![0; 30_000_000];
    let mut answer = [0; 32];
    let read = async {
        // The rest of the body is not taken, which is no reason not to read.
        let (read, _) = tokio::join!(reading.read_exact(&mut answer), writing.write_all(&body));
        read.unwrap();
    };
    tokio::time::timeout(PATIENCE, read).await.expect("no answer");
    assert_eq!(status(std::str::from_utf8(&answer).unwrap()), 413);
}
