//! A caller and an upstream on loopback sockets, in the thread of the gateway that is between them. One thread makes what
//! happens the same every time: which end runs next is decided by one run queue, not by the kernel.

use super::inputs;
use std::hint::black_box;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The end of a chunk with the end of an event.
const END_OF_EVENT: &[u8] = b"\n\n\r\n";

/// An upstream: a POST is answered with [`inputs::answer`], a GET with a stream of [`inputs::event`], one for each notice.
pub struct Upstream {
    pub port: u16,
    next: Arc<Notify>,
}

impl Upstream {
    /// Serves on the runtime that it is called in, for as long as that runs.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, next) = (listener.local_addr().unwrap().port(), Arc::new(Notify::new()));
        let notice = next.clone();
        tokio::spawn(Aside::of(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(Aside::of(serve(stream, notice.clone())));
            }
        }));
        Self { port, next }
    }
}

async fn serve(mut stream: TcpStream, next: Arc<Notify>) {
    let answer = inputs::head("HTTP/1.1 200 OK", &inputs::answer_fields()) + &inputs::answer();
    let mut received = Vec::with_capacity(16 * 1024);
    while let Some(head) = read_message(&mut stream, &mut received).await {
        if !head.starts_with(b"GET ") {
            stream.write_all(answer.as_bytes()).await.unwrap();
            continue;
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let event = inputs::event();
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        loop {
            next.notified().await;
            if stream.write_all(chunk.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// One connection of a caller, which sends the same request again and again.
pub struct Caller {
    stream: TcpStream,
    request: Vec<u8>,
    received: Vec<u8>,
}

impl Caller {
    /// Connects to the gateway.
    pub async fn connect(gateway: SocketAddr, host: &str, token: &str) -> Self {
        let stream = TcpStream::connect(gateway).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let request = inputs::head("POST /mcp HTTP/1.1", &inputs::request_fields(host, token)) + &inputs::message();
        Self { stream, request: request.into_bytes(), received: Vec::with_capacity(16 * 1024) }
    }

    /// Sends the request so many times, each when the last one has been answered.
    pub async fn exchanges(&mut self, times: u64) {
        Aside::of(async {
            for _ in 0..times {
                self.stream.write_all(&self.request).await.unwrap();
                let head = read_message(&mut self.stream, &mut self.received).await.unwrap();
                assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
            }
        })
        .await;
    }
}

/// One open stream of events.
pub struct Listener {
    stream: TcpStream,
    next: Arc<Notify>,
    received: Vec<u8>,
}

impl Listener {
    /// Opens it through the gateway.
    pub async fn open(gateway: SocketAddr, host: &str, token: &str, upstream: &Upstream) -> Self {
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        let mut fields = inputs::request_fields(host, token);
        fields.remove("content-length");
        fields.remove("content-type");
        stream.write_all(inputs::head("GET /mcp HTTP/1.1", &fields).as_bytes()).await.unwrap();
        let mut received = Vec::with_capacity(16 * 1024);
        while !received.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0);
        }
        received.clear();
        Self { stream, next: upstream.next.clone(), received }
    }

    /// Waits for so many events, each sent when the last one is here.
    pub async fn events(&mut self, times: u64) {
        Aside::of(async {
            for _ in 0..times {
                self.next.notify_one();
                self.received.clear();
                while !self.received.ends_with(END_OF_EVENT) {
                    assert_ne!(self.stream.read_buf(&mut self.received).await.unwrap(), 0);
                }
            }
        })
        .await;
    }
}

/// Reads one message with a length and takes it out of `received`; its head, or `None` at the end of the connection.
async fn read_message(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) {
            let text = std::str::from_utf8(&received[..end]).unwrap().to_ascii_lowercase();
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            let whole = end + length.map_or(0, |length| length.parse::<usize>().unwrap());
            while received.len() < whole {
                assert_ne!(stream.read_buf(received).await.unwrap(), 0);
            }
            let head = received[..end].to_vec();
            received.drain(..whole);
            return Some(head);
        }
        if stream.read_buf(received).await.ok()? == 0 {
            return None;
        }
    }
}

/// A future of which `callgrind` counts nothing: what is not the gateway.
struct Aside<F>(Pin<Box<F>>);

impl<F: Future> Aside<F> {
    fn of(work: F) -> Self {
        Self(Box::pin(work))
    }
}

impl<F: Future> Future for Aside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if !COUNTS.load(Ordering::Relaxed) {
            return self.0.as_mut().poll(context);
        }
        let mut outcome = Poll::Pending;
        callgrind_pauses(&mut || outcome = self.0.as_mut().poll(context));
        outcome
    }
}

/// Whether callgrind counts now. Where it does not, [`callgrind_pauses`] would make it begin.
pub static COUNTS: AtomicBool = AtomicBool::new(false);

/// `benches/guard` tells callgrind to pause below this function.
#[inline(never)]
fn callgrind_pauses(work: &mut dyn FnMut()) {
    work();
    // A tail call would be no call.
    black_box(());
}
