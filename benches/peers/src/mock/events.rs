//! Event streams: each event names the moment that it was sent.

use crate::clock::nanoseconds;
use std::io::Write;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n\
    d\r\nevent: open\n\n\r\n";

/// Sends so many events per second, or none at all, until the caller goes.
pub(super) async fn send(mut stream: TcpStream, per_second: u32, buffer: Vec<u8>) {
    drop(buffer);
    if stream.write_all(HEAD.as_bytes()).await.is_err() {
        return;
    }
    let mut nothing = [0; 16];
    if per_second == 0 {
        let _ = stream.read(&mut nothing).await;
        return;
    }
    let mut pace = interval(Duration::from_secs(1) / per_second);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut chunk = Vec::with_capacity(256);
    loop {
        tokio::select! {
            _ = pace.tick() => {
                chunk.clear();
                event(&mut chunk);
                if stream.write_all(&chunk).await.is_err() {
                    return;
                }
            }
            _ = stream.read(&mut nothing) => return,
        }
    }
}

/// About what a progress notification has.
fn event(chunk: &mut Vec<u8>) {
    const AROUND: &str =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":""}}"#;
    let length = "event: message\ndata: \n\n".len() + AROUND.len() + 20;
    let (before, after) = AROUND.split_at(AROUND.len() - 3);
    // The moment has always twenty digits, so that the chunk's length is known before it.
    let _ = write!(chunk, "{length:x}\r\nevent: message\ndata: {before}{:020}{after}\n\n\r\n", nanoseconds());
}
