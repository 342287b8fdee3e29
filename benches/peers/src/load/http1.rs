//! Requests over HTTP/1.1, one after the other on a connection.

use super::Window;
use crate::message::Body;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

const READ: usize = 32 * 1024;

/// A request as it goes over the wire, and the status that it must get.
#[derive(Debug, Clone)]
pub struct Call {
    pub bytes: Vec<u8>,
    pub status: u16,
}

/// A connection that is used again and again.
pub struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl Connection<TcpStream> {
    pub async fn plain(address: SocketAddr) -> Result<Self, String> {
        Ok(Self { stream: connect(address).await?, buffer: Vec::with_capacity(READ) })
    }
}

impl Connection<TlsStream<TcpStream>> {
    pub async fn tls(address: SocketAddr, connector: &TlsConnector, name: &str) -> Result<Self, String> {
        Ok(Self { stream: connect_tls(address, connector, name).await?, buffer: Vec::with_capacity(READ) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends one request and reads its answer to the end.
    ///
    /// # Errors
    ///
    /// When the answer has another status, or the connection ends.
    pub async fn call(&mut self, call: &Call) -> Result<(), String> {
        self.stream.write_all(&call.bytes).await.map_err(|error| format!("sending: {error}"))?;
        let (status, mut body) = self.head().await?;
        if status != call.status {
            let text = String::from_utf8_lossy(&self.buffer);
            return Err(format!("answered {status}: {}", text.chars().take(200).collect::<String>()));
        }
        while !body.take(&mut self.buffer, |_| {}) {
            self.fill().await?;
        }
        Ok(())
    }

    /// Status and body of the next answer; its head is gone from the buffer.
    pub async fn head(&mut self) -> Result<(u16, Body), String> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut fields);
            let parsed = response.parse(&self.buffer).map_err(|error| format!("the answer is no HTTP: {error}"))?;
            if let httparse::Status::Complete(length) = parsed {
                let status = response.code.unwrap_or(0);
                let body = Body::of(response.headers).unwrap_or(Body::Length(0));
                self.buffer.drain(..length);
                return Ok((status, body));
            }
            self.fill().await?;
        }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|error| format!("sending: {error}"))
    }

    /// Reads more into the buffer.
    pub async fn fill(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the connection was closed".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("reading: {error}")),
        }
    }

    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Repeats one request until the time is over.
    pub async fn repeat(mut self, call: Rc<Call>, window: Rc<Window>) -> Result<(), String> {
        self.call(&call).await?;
        window.ready();
        while !window.over() {
            let sent = Instant::now();
            self.call(&call).await?;
            window.record(elapsed(sent));
        }
        Ok(())
    }
}

pub async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| format!("connecting: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

pub async fn connect_tls(
    address: SocketAddr,
    connector: &TlsConnector,
    name: &str,
) -> Result<TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    connector.connect(name, connect(address).await?).await.map_err(|error| format!("TLS handshake: {error}"))
}

/// Nanoseconds since then.
pub fn elapsed(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
