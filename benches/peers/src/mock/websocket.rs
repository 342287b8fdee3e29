//! A WebSocket that says back what it hears (RFC 6455).

use crate::frame;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) async fn echo(mut stream: TcpStream, key: &str, mut buffer: Vec<u8>) {
    let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{}", frame::GUID).as_bytes()));
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let mut out = Vec::with_capacity(4096);
    loop {
        out.clear();
        while let Some((frame, length)) = frame::parse(&buffer) {
            match frame.opcode {
                frame::CLOSE => return,
                frame::PING | frame::PONG => {}
                opcode => frame::write(&mut out, opcode, &frame.payload, None),
            }
            buffer.drain(..length);
        }
        if !out.is_empty() && stream.write_all(&out).await.is_err() {
            return;
        }
        if !stream.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
            return;
        }
    }
}
