//! The upstream behind every proxy: answers a call with 1 KiB of JSON, sends events, echoes WebSocket messages, and counts which
//! bearers it receives. One thread, HTTP/1.1 in the clear and HTTP/2 over TLS.

mod events;
mod http1;
mod http2;
mod websocket;

use crate::certificate;
use crate::process::Program;
use serde_json::{Value, json};
use std::cell::Cell;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::rc::Rc;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::LocalSet;

/// What a proxy that swaps the header sends; what a caller sent is another one.
pub const BEARER: &str = "Bearer upstream";

/// What arrived in `Authorization` since somebody last asked.
#[derive(Debug, Default)]
pub struct Bearers {
    upstream: Cell<u64>,
    others: Cell<u64>,
    none: Cell<u64>,
}

impl Bearers {
    fn count(&self, authorization: Option<&[u8]>) {
        let counter = match authorization {
            Some(value) if value == BEARER.as_bytes() => &self.upstream,
            Some(_) => &self.others,
            None => &self.none,
        };
        counter.set(counter.get() + 1);
    }

    fn take(&self) -> Value {
        json!({ "upstream": self.upstream.take(), "others": self.others.take(), "none": self.none.take() })
    }
}

/// The running mock.
pub struct Mock {
    pub program: Program,
    pub plain: SocketAddr,
    pub tls: SocketAddr,
}

impl Mock {
    pub fn start(directory: &Path, core: usize, certificate: &certificate::Files) -> Result<Self, String> {
        let (plain, tls) = (crate::process::free_address()?, crate::process::free_address()?);
        let myself = std::env::current_exe().map_err(|error| error.to_string())?;
        let (plain_text, tls_text) = (plain.to_string(), tls.to_string());
        let command: [&OsStr; 6] = [
            myself.as_os_str(),
            OsStr::new("mock"),
            OsStr::new(&plain_text),
            OsStr::new(&tls_text),
            certificate.chain.as_os_str(),
            certificate.key.as_os_str(),
        ];
        let mut program = Program::start(directory, "mock", &[core], &command)?;
        program.answers(plain)?;
        program.answers(tls)?;
        Ok(Self { program, plain, tls })
    }

    /// What arrived since the last time: with the upstream's bearer, with another one, with none.
    pub fn bearers(&self) -> Result<[u64; 3], String> {
        let mut text = String::new();
        let mut stream = TcpStream::connect(self.plain).map_err(|error| format!("mock: {error}"))?;
        let asked = stream
            .write_all(b"GET /-/bearers HTTP/1.1\r\nHost: mock\r\nConnection: close\r\n\r\n")
            .and_then(|()| stream.read_to_string(&mut text));
        asked.map_err(|error| format!("mock: {error}"))?;
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let counts: Value = serde_json::from_str(body).map_err(|error| format!("mock: {error}: {text}"))?;
        Ok(["upstream", "others", "none"].map(|name| counts[name].as_u64().unwrap_or(0)))
    }
}

/// `mock PLAIN-ADDRESS TLS-ADDRESS CERTIFICATE KEY`: serves until it is killed.
pub fn main(arguments: &[String]) -> Result<(), String> {
    let [plain, tls, chain, key] = arguments else { return Err("mock PLAIN TLS CERTIFICATE KEY".to_owned()) };
    let acceptor = certificate::acceptor(Path::new(chain), Path::new(key), &[b"h2"])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let bearers = Rc::new(Bearers::default());
    LocalSet::new().block_on(&runtime, async {
        let (plain, tls) = (listen(plain)?, listen(tls)?);
        loop {
            tokio::select! {
                accepted = plain.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let _ = stream.set_nodelay(true);
                    tokio::task::spawn_local(http1::serve(stream, bearers.clone()));
                }
                accepted = tls.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let _ = stream.set_nodelay(true);
                    let (acceptor, bearers) = (acceptor.clone(), bearers.clone());
                    tokio::task::spawn_local(async move {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            http2::serve(stream, bearers).await;
                        }
                    });
                }
            }
        }
    })
}

fn listen(address: &str) -> Result<TcpListener, String> {
    let address: SocketAddr = address.parse().map_err(|_| format!("{address} is no address"))?;
    let open = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(4096)
    };
    open().map_err(|error| format!("{address}: {error}"))
}

/// The answer to a call: 1 KiB of JSON.
fn answer() -> Vec<u8> {
    let text = "y".repeat(1024 - r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":""}]}}"#.len());
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#).into_bytes()
}
