//! `portcullis health`: the question of a probe, for places where nothing else is there to ask it.

use crate::config::Config;
use crate::error::Fault;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most that is read of it.
const MAX_ANSWER: u64 = 4096;
const REQUEST: &[u8] = b"GET /readyz HTTP/1.0\r\n\r\n";

/// Asks the admin listener of the configuration.
///
/// # Errors
/// When there is none, nobody answers, or the gateway is not ready; the text says which.
pub(super) async fn health(config: &Config) -> Result<(), Fault> {
    let Some(address) = config.server.admin_listen.map(reachable) else {
        return Err(Fault::caller("server.admin_listen is off, so nobody answers: give it an address"));
    };
    let answer = timeout(PATIENCE, ask(address)).await;
    let answer = answer.map_err(|_| Fault::gateway(format!("{address} does not answer")))?;
    let answer = answer.map_err(|error| Fault::gateway(format!("{address}: {error}; does the gateway run?")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(Fault::gateway(format!("not ready: {}", body.trim()))),
    }
}

/// Whoever listens everywhere is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load};
    use tokio::net::TcpListener;

    async fn asked(answer: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = load(&Source { file: None, environment: [].into() }).unwrap();
        // As a container has it: everywhere.
        config.server.admin_listen = Some(([0, 0, 0, 0], listener.local_addr().unwrap().port()).into());
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; REQUEST.len()];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            request
        };
        let (asked, request) = tokio::join!(health(&config), answering);
        assert_eq!(request, REQUEST);
        asked.map_err(|fault| fault.to_string())
    }

    #[tokio::test]
    async fn the_answer_is_what_readyz_says() {
        assert_eq!(asked("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n").await, Ok(()));
        let told = asked("HTTP/1.1 503 Service Unavailable\r\n\r\nthe database does not answer\n").await.unwrap_err();
        assert!(told.contains("the database does not answer"), "{told}");
        assert!(asked("nonsense").await.is_err());
    }

    #[tokio::test]
    async fn without_anybody_to_ask_it_says_so() {
        let mut config = load(&Source { file: None, environment: [].into() }).unwrap();
        config.server.admin_listen = None;
        assert!(health(&config).await.unwrap_err().to_string().contains("server.admin_listen"));
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        config.server.admin_listen = Some(closed);
        assert!(health(&config).await.unwrap_err().to_string().contains("does the gateway run"));
    }
}
