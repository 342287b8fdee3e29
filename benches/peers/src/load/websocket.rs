//! WebSocket messages that come back, one at a time on each connection.

use super::Window;
use super::http1::{Call, Connection, elapsed};
use crate::frame;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

/// About what a call has.
const MESSAGE: [u8; 300] = [b'm'; 300];
const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x88];

pub async fn echo(address: SocketAddr, call: Rc<Call>, window: Rc<Window>) -> Result<(), String> {
    let mut connection = Connection::plain(address).await?;
    connection.send(&call.bytes).await?;
    let (status, _) = connection.head().await?;
    if status != call.status {
        return Err(format!("answered {status}"));
    }
    let mut message = Vec::new();
    frame::write(&mut message, frame::TEXT, &MESSAGE, Some(MASK));
    let mut first = true;
    while !window.over() {
        let sent = Instant::now();
        connection.send(&message).await?;
        next_text(&mut connection).await?;
        window.record(elapsed(sent));
        if std::mem::take(&mut first) {
            window.ready();
        }
    }
    Ok(())
}

async fn next_text(connection: &mut Connection<tokio::net::TcpStream>) -> Result<(), String> {
    loop {
        while let Some((frame, length)) = frame::parse(connection.buffer()) {
            connection.buffer().drain(..length);
            match frame.opcode {
                frame::TEXT if frame.payload == MESSAGE => return Ok(()),
                frame::TEXT => return Err("another message came back".to_owned()),
                frame::CLOSE => return Err("the WebSocket was closed".to_owned()),
                _ => {}
            }
        }
        connection.fill().await?;
    }
}
