//! HTTP/1.1 as an upstream speaks it: keep-alive, bodies with a length or in chunks.

use super::{Bearers, answer, events, websocket};
use crate::message::{self, Body};
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a large answer has.
const LARGE: usize = 1024 * 1024;
const READ: usize = 32 * 1024;

/// What a request wants.
enum Wish {
    Call,
    Large,
    Events { per_second: u32 },
    WebSocket { key: String },
    Bearers,
}

pub(super) async fn serve(mut stream: TcpStream, bearers: Rc<Bearers>) {
    let body = answer();
    let mut call =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    call.push_str(&String::from_utf8_lossy(&body));
    let mut buffer = Vec::with_capacity(READ);
    loop {
        let Some((wish, body)) = head(&mut stream, &mut buffer, &bearers).await else { return };
        if !skip(&mut stream, &mut buffer, body).await {
            return;
        }
        let written = match wish {
            Wish::Call => stream.write_all(call.as_bytes()).await,
            Wish::Large => large(&mut stream).await,
            Wish::Events { per_second } => return events::send(stream, per_second, buffer).await,
            Wish::WebSocket { key } => return websocket::echo(stream, &key, buffer).await,
            Wish::Bearers => {
                let counts = bearers.take().to_string();
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{counts}", counts.len());
                let _ = stream.write_all(head.as_bytes()).await;
                return;
            }
        };
        if written.is_err() {
            return;
        }
    }
}

/// Reads a head and takes it out of `buffer`; none at the end, or where it is no HTTP.
async fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>, bearers: &Bearers) -> Option<(Wish, Body)> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        if let httparse::Status::Complete(length) = request.parse(buffer).ok()? {
            let found = wish(&request, bearers);
            let body = Body::of(request.headers).unwrap_or(Body::Length(0));
            buffer.drain(..length);
            return Some((found, body));
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn wish(request: &httparse::Request, bearers: &Bearers) -> Wish {
    let path = request.path.unwrap_or("/");
    if path == "/-/bearers" {
        return Wish::Bearers;
    }
    bearers.count(message::field(request.headers, "authorization"));
    if let Some(rate) = path.strip_prefix("/events?per_second=") {
        return Wish::Events { per_second: rate.parse().unwrap_or(0) };
    }
    if let Some(key) = message::field(request.headers, "sec-websocket-key") {
        return Wish::WebSocket { key: String::from_utf8_lossy(key).into_owned() };
    }
    if path == "/large" { Wish::Large } else { Wish::Call }
}

/// Reads a request's body; whether it came.
async fn skip(stream: &mut TcpStream, buffer: &mut Vec<u8>, mut body: Body) -> bool {
    while !body.take(buffer, |_| {}) {
        if !stream.read_buf(buffer).await.is_ok_and(|read| read > 0) {
            return false;
        }
    }
    true
}

async fn large(stream: &mut TcpStream) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {LARGE}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let piece = [b'z'; 64 * 1024];
    for _ in 0..LARGE / piece.len() {
        stream.write_all(&piece).await?;
    }
    Ok(())
}
