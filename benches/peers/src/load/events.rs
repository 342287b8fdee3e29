//! Event streams: how late each event is, how many come, and streams on which nothing happens.

use super::http1::{Connection, connect};
use super::{Window, http1};
use crate::clock::nanoseconds;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What stands before the moment at which an event was sent.
const MARK: &[u8] = br#""progress":""#;
const DIGITS: usize = 20;

/// Reads events until the time is over; a sample is how late one came.
pub async fn listen(address: SocketAddr, call: Rc<http1::Call>, window: Rc<Window>) -> Result<(), String> {
    let mut connection = Connection::plain(address).await?;
    connection.send(&call.bytes).await?;
    let (status, mut body) = connection.head().await?;
    if status != call.status {
        return Err(format!("answered {status}"));
    }
    let (mut text, mut first) = (Vec::new(), true);
    while !window.over() {
        let ended = body.take(connection.buffer(), |content| text.extend_from_slice(content));
        let now = nanoseconds();
        let mut read = 0;
        while let Some((sent, length)) = moment(&text[read..]) {
            read += length;
            window.record(now.saturating_sub(sent));
            if std::mem::take(&mut first) {
                window.ready();
            }
        }
        text.drain(..read);
        if ended {
            return Err("the stream ended".to_owned());
        }
        connection.fill().await?;
    }
    Ok(())
}

/// The moment that the first event in `text` names, and where it ends.
fn moment(text: &[u8]) -> Option<(u64, usize)> {
    let at = text.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let digits = std::str::from_utf8(text.get(at..at + DIGITS)?).ok()?;
    Some((digits.parse().ok()?, at + DIGITS))
}

/// A stream on which nothing happens. Two thousand of them are in this process, so that it has no buffer.
pub struct Idle {
    stream: TcpStream,
}

impl Idle {
    /// Opens it and reads its first event.
    pub async fn open(address: SocketAddr, call: &http1::Call) -> Result<Self, String> {
        let mut stream = connect(address).await?;
        stream.write_all(&call.bytes).await.map_err(|error| format!("sending: {error}"))?;
        let mut idle = Self { stream };
        let head = idle.until(b"event: open\n\n").await?;
        match head.get(9..12) {
            Some(status) if status == call.status.to_string().as_bytes() => Ok(idle),
            _ => Err(format!("answered {}", String::from_utf8_lossy(&head))),
        }
    }

    /// Reads until `what` has come.
    pub async fn until(&mut self, what: &[u8]) -> Result<Vec<u8>, String> {
        let mut seen = Vec::new();
        while !seen.windows(what.len()).any(|window| window == what) {
            let read = self.stream.read_buf(&mut seen).await.map_err(|error| format!("reading: {error}"))?;
            if read == 0 {
                return Err(format!("the stream ended: {}", String::from_utf8_lossy(&seen)));
            }
        }
        Ok(seen)
    }
}
