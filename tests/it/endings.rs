//! However a stream ends, nothing of it is left: no count, no descriptor, no task.

use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, Connection, PATIENCE, RawUpstream, SOON, get};
use futures_util::{SinkExt, StreamExt};
use portcullis::config::UpstreamAuth;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const EVENT: &str = "b\r\ndata: one\n\n\r\n";

/// How a stream comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    CallerLeaves,
    UpstreamEnds,
    UpstreamBreaksOff,
    UpstreamResets,
    UpstreamBabbles,
    Revoked,
}

const ENDINGS: [Ending; 6] = [
    Ending::CallerLeaves,
    Ending::UpstreamEnds,
    Ending::UpstreamBreaksOff,
    Ending::UpstreamResets,
    Ending::UpstreamBabbles,
    Ending::Revoked,
];

async fn gateway_for(authority: &str, max_duration: Option<Duration>) -> Gateway {
    let authority = authority.to_owned();
    Gateway::with(move |config| {
        config.streams.max_duration = max_duration;
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    })
    .await
}

/// An upstream that begins a stream and ends it as it is told; it tells when a connection is closed.
async fn obedient(how: Ending) -> (RawUpstream, mpsc::UnboundedReceiver<()>, Arc<tokio::sync::Notify>) {
    let (left, leaving) = mpsc::unbounded_channel();
    let now = Arc::new(tokio::sync::Notify::new());
    let told = now.clone();
    let notes = RawUpstream::start(move |_, mut connection: Connection| {
        let (left, now) = (left.clone(), told.clone());
        async move {
            while connection.request().await.is_some() {
                connection.send(format!("{STREAM}{EVENT}")).await;
                tokio::select! {
                    () = now.notified() => {}
                    () = connection.closed() => break,
                }
                match how {
                    Ending::UpstreamEnds => {
                        // The last chunk in pieces, an extension and a trailer with it.
                        for piece in ["0;la", "st\r", "\nDigest: x\r\n\r", "\n"] {
                            connection.send(piece).await;
                            tokio::task::yield_now().await;
                        }
                    }
                    Ending::UpstreamBreaksOff => drop(connection.stream.shutdown().await),
                    Ending::UpstreamResets => {
                        connection.stream.set_zero_linger().unwrap();
                        break;
                    }
                    Ending::UpstreamBabbles => connection.send("no chunk\r\n").await,
                    Ending::CallerLeaves | Ending::Revoked => {}
                }
            }
            drop(connection);
            let _ = left.send(());
        }
    })
    .await;
    (notes, leaving, now)
}

/// Polls until it holds; what is waited for gives no signal.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sockets of this process that are connected to `authority`.
fn sockets_to(authority: &str) -> usize {
    let port: u16 = authority.rsplit(':').next().unwrap().parse().unwrap();
    let ends = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    // sl local_address rem_address st …, where 01 is established and 08 waits for us to close; without an inode nobody has
    // a descriptor of it.
    let open = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[2].ends_with(&format!(":{port:04X}")) && fields[9] != "0"
    };
    ends.lines().skip(1).filter(open).count()
}

#[tokio::test]
async fn nothing_is_left_of_a_stream_of_events_however_it_ends() {
    for how in ENDINGS {
        let (notes, mut leaving, now) = obedient(how).await;
        let gateway = gateway_for(&notes.authority, None).await;
        let open_streams = gateway.app().metrics.open_streams.clone();
        let tasks = Handle::current().metrics().num_alive_tasks();
        let (token, grant) = gateway.token_for(&notes.authority).await;
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(get(&gateway.host_of(&notes.authority), &token, "/mcp")).await;
        caller.until("data: one\n\n").await;
        assert_eq!((open_streams.get(), sockets_to(&notes.authority)), (1, 1), "{how:?}");
        let began = Instant::now();
        let (mut caller, mut rest) = (Some(caller), String::new());
        match how {
            Ending::CallerLeaves => drop(caller.take()),
            Ending::Revoked => gateway.app().lives.end(grant),
            _ => now.notify_one(),
        }
        if let Some(caller) = &mut caller {
            rest = match how {
                Ending::UpstreamEnds | Ending::Revoked => caller.until("0\r\n\r\n").await,
                _ => caller.rest().await,
            };
        }
        // A torn answer is seen to be torn; one that was ended has its last chunk.
        let clean = matches!(how, Ending::UpstreamEnds | Ending::Revoked);
        assert_eq!(rest.contains("0\r\n\r\n"), clean, "{how:?}: {rest:?}");
        if how == Ending::UpstreamEnds {
            // Both connections go on.
            let caller = caller.as_mut().unwrap();
            caller.send(get(&gateway.host_of(&notes.authority), &token, "/mcp")).await;
            caller.until("data: one\n\n").await;
            assert_eq!(notes.connections(), 1);
        }
        drop(caller);
        tokio::time::timeout(PATIENCE, leaving.recv()).await.expect("the upstream's connection stayed").unwrap();
        if how != Ending::UpstreamEnds {
            assert!(began.elapsed() < SOON, "{how:?} took {:?}", began.elapsed());
        }
        eventually("a stream is still counted", || open_streams.get() == 0).await;
        eventually("a socket is left", || sockets_to(&notes.authority) == 0).await;
        eventually("a task is left", || Handle::current().metrics().num_alive_tasks() <= tasks).await;
        gateway.stop().await;
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_websocket_however_it_ends() {
    for how in [Ending::CallerLeaves, Ending::UpstreamEnds, Ending::UpstreamResets, Ending::Revoked] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let gateway = gateway_for(&authority, None).await;
        let open_streams = gateway.app().metrics.open_streams.clone();
        let tasks = Handle::current().metrics().num_alive_tasks();
        let (token, grant) = gateway.token_for(&authority).await;
        let accept = async { accept_async(listener.accept().await.unwrap().0).await.unwrap() };
        let (mut caller, mut notes) = tokio::join!(open(&gateway, &authority, &token), accept);
        notes.send(Message::text("hello")).await.unwrap();
        assert_eq!(caller.next().await.unwrap().unwrap(), Message::text("hello"));
        assert_eq!((open_streams.get(), sockets_to(&authority)), (1, 1), "{how:?}");
        let began = Instant::now();
        match how {
            Ending::CallerLeaves => {
                drop(caller);
                while let Some(Ok(_)) = notes.next().await {}
            }
            Ending::UpstreamEnds => {
                drop(notes);
                while let Some(Ok(_)) = caller.next().await {}
            }
            Ending::UpstreamResets => {
                notes.get_ref().set_zero_linger().unwrap();
                drop(notes);
                while let Some(Ok(_)) = caller.next().await {}
            }
            _ => {
                gateway.app().lives.end(grant);
                let Some(Ok(Message::Close(Some(close)))) = caller.next().await else { panic!("no Close") };
                assert_eq!(close.code, CloseCode::Policy);
                while let Some(Ok(_)) = caller.next().await {}
                while let Some(Ok(_)) = notes.next().await {}
            }
        }
        assert!(began.elapsed() < SOON, "{how:?} took {:?}", began.elapsed());
        eventually("a stream is still counted", || open_streams.get() == 0).await;
        eventually("a socket is left", || sockets_to(&authority) == 0).await;
        eventually("a task is left", || Handle::current().metrics().num_alive_tasks() <= tasks).await;
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_stream_that_may_last_so_long_ends_between_two_events_and_a_websocket_with_1001() {
    let (notes, mut leaving, _) = obedient(Ending::CallerLeaves).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket_authority = listener.local_addr().unwrap().to_string();
    let authorities = [notes.authority.clone(), socket_authority.clone()];
    let gateway = Gateway::with(move |config| {
        config.streams.max_duration = Some(Duration::from_millis(300));
        config.upstream.extend(authorities.iter().map(|authority| upstream(authority, UpstreamAuth::None)));
    })
    .await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(get(&gateway.host_of(&notes.authority), &token, "/mcp")).await;
    caller.until("data: one\n\n").await;
    caller.until("\r\n0\r\n\r\n").await;
    tokio::time::timeout(PATIENCE, leaving.recv()).await.expect("the upstream's connection stayed").unwrap();

    let (token, _) = gateway.token_for(&socket_authority).await;
    let accept = async { accept_async(listener.accept().await.unwrap().0).await.unwrap() };
    let (mut socket, _notes) = tokio::join!(open(&gateway, &socket_authority, &token), accept);
    let close = tokio::time::timeout(PATIENCE, socket.next()).await.expect("it lasts");
    let Some(Ok(Message::Close(Some(close)))) = close else { panic!("{close:?}") };
    assert_eq!(close.code, CloseCode::Away);
}

#[tokio::test]
async fn a_websocket_that_is_not_read_is_ended_whichever_side_does_not_read() {
    for caller_reads in [true, false] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let named = authority.clone();
        let gateway = Gateway::with(move |config| {
            config.streams.write_timeout = Duration::from_millis(300);
            config.upstream.push(upstream(&named, UpstreamAuth::None));
        })
        .await;
        let (token, _) = gateway.token_for(&authority).await;
        let accept = async { accept_async(listener.accept().await.unwrap().0).await.unwrap() };
        let (mut caller, mut notes) = tokio::join!(open(&gateway, &authority, &token), accept);
        let writer = if caller_reads { &mut caller } else { &mut notes };
        let flood = async { while writer.send(Message::binary(vec![0; 60_000])).await.is_ok() {} };
        tokio::time::timeout(PATIENCE, flood).await.expect("nobody reads, and nobody minds");
        gateway.stop().await;
    }
}

async fn open(gateway: &Gateway, authority: &str, token: &str) -> WebSocketStream<TcpStream> {
    let mut request = format!("ws://{}/ws", gateway.host_of(authority)).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let stream = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
    client_async(request, stream).await.unwrap().0
}
