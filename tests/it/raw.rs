//! Sockets by hand: an upstream that says exactly what a test wants, and a caller that sends exactly what a test wants.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// Longer than anything here takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What is promised within a second is waited for thirty times as long: a test's machine may stand still for a while, and
/// what really takes long is measured by the benches. Longer than this takes only what does not come by itself.
pub const SOON: Duration = PATIENCE;

/// An upstream made of raw TCP.
pub struct RawUpstream {
    pub authority: String,
    connections: Arc<AtomicUsize>,
    requests: mpsc::UnboundedReceiver<Received>,
    task: JoinHandle<()>,
}

/// A request as it came in.
#[derive(Debug)]
pub struct Received {
    pub head: String,
    pub body: Vec<u8>,
}

impl Received {
    /// The value of a field, if it is there.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl RawUpstream {
    /// Handles every connection with `serve`, which gets its number, counted from 0.
    pub async fn start<F, R>(serve: F) -> Self
    where
        F: Fn(usize, Connection) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let (seen, requests) = mpsc::unbounded_channel();
        let task = tokio::spawn({
            let connections = connections.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let number = connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(serve(number, Connection { stream, buffer: Vec::new(), seen: seen.clone() }));
                }
            }
        });
        Self { authority, connections, requests, task }
    }

    /// Answers every request with the same bytes and keeps the connection.
    pub async fn answering(response: &'static str) -> Self {
        Self::start(move |_, mut connection| async move {
            while connection.request().await.is_some() {
                connection.send(response).await;
            }
        })
        .await
    }

    /// Takes connections and says nothing; who is notified knows that one was closed.
    pub async fn silent() -> (Self, Arc<Notify>) {
        let closed = Arc::<Notify>::default();
        let told = closed.clone();
        let upstream = Self::start(move |_, mut connection| {
            let told = told.clone();
            async move {
                connection.closed().await;
                told.notify_one();
            }
        });
        (upstream.await, closed)
    }

    /// The next request that came in.
    pub async fn received(&mut self) -> Received {
        tokio::time::timeout(PATIENCE, self.requests.recv()).await.expect("no request arrived").unwrap()
    }

    /// Whether a request came in that nobody has looked at.
    pub fn has_received(&mut self) -> bool {
        !self.requests.is_empty()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection of an upstream.
pub struct Connection {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    seen: mpsc::UnboundedSender<Received>,
}

impl Connection {
    /// Reads a request, body included; `None` when the peer closed.
    pub async fn request(&mut self) -> Option<()> {
        self.request_head().await.map(drop)
    }

    /// The same, with what was asked for.
    pub async fn request_head(&mut self) -> Option<String> {
        let (head, body) = read_message(&mut self.stream, &mut self.buffer).await?;
        let _ = self.seen.send(Received { head: head.clone(), body });
        Some(head)
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Waits until the gateway closes the connection.
    pub async fn closed(&mut self) {
        let mut sink = [0; 1024];
        while matches!(self.stream.read(&mut sink).await, Ok(read) if read > 0) {}
    }
}

/// A caller made of raw TCP.
pub struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Caller {
    pub async fn connect(port: u16) -> Self {
        Self { stream: TcpStream::connect(("127.0.0.1", port)).await.unwrap(), buffer: Vec::new() }
    }

    /// From one of this machine's other loopback addresses.
    pub async fn connect_from(source: &str, port: u16) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
        let stream = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self
    }

    /// A whole response with a body of known length, chunked or none: head and body, chunks joined.
    pub async fn response(&mut self) -> (String, String) {
        self.response_within(PATIENCE).await
    }

    /// The same where a machine with little to spare has much to do.
    pub async fn response_within(&mut self, patience: Duration) -> (String, String) {
        let message = tokio::time::timeout(patience, read_message(&mut self.stream, &mut self.buffer)).await;
        let (head, body) = message.expect("no response in time").expect("the connection was closed");
        (head, String::from_utf8_lossy(&body).into_owned())
    }

    /// Sends, or finds that the connection is closed.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// As [`Caller::response`]; `None` when the connection ends before the response does.
    pub async fn try_response(&mut self) -> Option<(String, String)> {
        let message = tokio::time::timeout(PATIENCE, read_message(&mut self.stream, &mut self.buffer)).await;
        let (head, body) = message.expect("no response in time, and no end either")?;
        Some((head, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The status of the next response, its body thrown away.
    pub async fn status(&mut self) -> u16 {
        status(&self.response().await.0)
    }

    /// Bytes until `end` was seen, chunk framing and all.
    pub async fn until(&mut self, end: &str) -> String {
        let read = async {
            loop {
                if let Some(at) = find(&self.buffer, end.as_bytes()) {
                    let rest = self.buffer.split_off(at + end.len());
                    return String::from_utf8_lossy(&std::mem::replace(&mut self.buffer, rest)).into_owned();
                }
                assert!(fill(&mut self.stream, &mut self.buffer).await, "closed before {end:?}: {:?}", self.buffer);
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the bytes did not arrive in time")
    }

    /// Everything until the gateway closes the connection.
    pub async fn rest(&mut self) -> String {
        let read = async { while fill(&mut self.stream, &mut self.buffer).await {} };
        tokio::time::timeout(PATIENCE, read).await.expect("the connection stayed open");
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// Everything until so many answers have begun, or the connection has ended.
    pub async fn rest_or(&mut self, answers: usize) -> String {
        let read = async {
            while String::from_utf8_lossy(&self.buffer).matches("HTTP/1.1 ").count() < answers {
                if !fill(&mut self.stream, &mut self.buffer).await {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("neither answers nor an end");
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}

/// The head of a request to an MCP hostname.
pub fn post(host: &str, token: &str, body: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn get(host: &str, token: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n")
}

pub fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status in {head:?}"))
}

/// A field of a head, by its lower-case name.
pub fn field(head: &str, name: &str) -> Option<String> {
    head.lines().skip(1).find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

async fn read_message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let end = loop {
        if let Some(at) = find(buffer, b"\r\n\r\n") {
            break at;
        }
        if !fill(stream, buffer).await {
            return None;
        }
    };
    let rest = buffer.split_off(end + 4);
    let head = String::from_utf8_lossy(&std::mem::replace(buffer, rest)).into_owned();
    let chunked = field(&head, "transfer-encoding").is_some_and(|value| value.contains("chunked"));
    let length = field(&head, "content-length").and_then(|value| value.parse::<usize>().ok());
    let bodiless = head.starts_with("HTTP/") && matches!(status(&head), 100..=199 | 204 | 304);
    let body = match length {
        _ if bodiless => Vec::new(),
        _ if chunked => read_chunks(stream, buffer).await?,
        Some(length) => {
            while buffer.len() < length {
                if !fill(stream, buffer).await {
                    return None;
                }
            }
            let rest = buffer.split_off(length);
            std::mem::replace(buffer, rest)
        }
        None => Vec::new(),
    };
    Some((head, body))
}

async fn read_chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = loop {
            match find(buffer, b"\r\n") {
                Some(at) => break at,
                None if fill(stream, buffer).await => {}
                None => return None,
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&buffer[..line]).ok()?.trim(), 16).ok()?;
        while buffer.len() < line + 2 + size + 2 {
            if !fill(stream, buffer).await {
                return None;
            }
        }
        body.extend_from_slice(&buffer[line + 2..line + 2 + size]);
        buffer.drain(..line + 2 + size + 2);
        if size == 0 {
            return Some(body);
        }
    }
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    matches!(stream.read_buf(buffer).await, Ok(read) if read > 0)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
