//! Plain HTTP beside TLS, on port 80: what a certificate authority asks is answered (RFC 8555 §8.3), everything else led to https. One
//! short request a connection; nothing of it reaches the rest of the gateway.

use super::accept::{Manners, accept_all};
use super::seats::{Seat, Seats};
use crate::app::App;
use crate::hostname::{HostName, Site};
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// The most bytes of a head.
const MAX_HEAD: usize = 8 * 1024;
const MAX_FIELDS: usize = 64;
/// How long a request may take, from accepting to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long, and how much of it, a body is read that nobody wants: closing before would take the answer away from the caller.
const LINGER: Duration = Duration::from_secs(1);
const MAX_BODY: usize = 64 * 1024;

const CHALLENGE: &str = "/.well-known/acme-challenge/";

/// What the listener works with.
pub(super) struct PlainReception {
    pub(super) app: Arc<App>,
    pub(super) seats: Arc<Seats>,
    pub(super) manners: Arc<ArcSwap<Manners>>,
}

impl PlainReception {
    /// Accepts until the gateway stops.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener, stopping: watch::Receiver<bool>) {
        let seats = self.seats.clone();
        let greet = |stream, seat| drop(tokio::spawn(self.clone().greet(stream, seat)));
        accept_all(listener, &seats, stopping, greet).await;
    }

    async fn greet(self: Arc<Self>, mut stream: TcpStream, mut seat: Seat) {
        let served = async {
            let client = self.manners.load_full().client_of(&mut stream).await?;
            if !seat.belongs_to(client.ip()) {
                return None;
            }
            let head = read_head(&mut stream).await;
            let answer = self.answer(head.as_deref(), client).await;
            stream.write_all(answer.to_bytes().as_slice()).await.ok()?;
            stream.shutdown().await.ok()
        };
        if let Ok(Some(())) = timeout(PATIENCE, served).await {
            drop(timeout(LINGER, drain(&mut stream)).await);
        }
    }

    async fn answer(&self, head: Option<&[u8]>, client: SocketAddr) -> Answer {
        let Some(request) = head.and_then(Request::parse) else { return Answer::text(400, "Bad Request") };
        if self.app.limits().check_ip(client.ip()).is_err() {
            return Answer::text(429, "Too Many Requests");
        }
        let Some(token) = request.path().strip_prefix(CHALLENGE).filter(|_| request.only_asks()) else {
            return request.led_to_https(&self.app.site);
        };
        match self.app.certificates.answer(token).await {
            Ok(Some(answer)) => Answer { status: 200, reason: "OK", location: None, body: request.body(answer) },
            Ok(None) => Answer::text(404, "Not Found"),
            Err(fault) => {
                tracing::warn!(%fault, "a question of a certificate authority cannot be answered");
                Answer::text(503, "Service Unavailable")
            }
        }
    }
}

/// What is asked for, as far as anybody wants to know.
struct Request {
    method: String,
    /// Path and query.
    target: String,
    host: String,
}

impl Request {
    /// `None` for what is no request of HTTP/1 with one host (RFC 9112 §3.2).
    fn parse(head: &[u8]) -> Option<Self> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        if !request.parse(head).ok()?.is_complete() {
            return None;
        }
        let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
        let host = std::str::from_utf8(hosts.next()?.value).ok()?.trim();
        let target = request.path?;
        let plain = target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic());
        if hosts.next().is_some() || !plain {
            return None;
        }
        Some(Self { method: request.method?.to_owned(), target: target.to_owned(), host: host.to_owned() })
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    fn only_asks(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD")
    }

    /// The answer to HEAD has none.
    fn body(&self, body: String) -> Option<String> {
        (self.method != "HEAD").then_some(body)
    }

    /// The same on our own hostname with TLS; a method that does something is kept (308). Nobody is led elsewhere.
    fn led_to_https(&self, site: &Site) -> Answer {
        let origin = match site.classify(&self.host) {
            HostName::Root | HostName::Loopback => site.root_origin(),
            HostName::Mcp(label) => site.origin_of(&label),
            HostName::Foreign => return Answer::text(404, "Not Found"),
        };
        let (status, reason) = if self.only_asks() { (301, "Moved Permanently") } else { (308, "Permanent Redirect") };
        let location = Some(format!("{origin}{}", self.target));
        Answer { status, reason, location, body: self.body(format!("{reason}\n")) }
    }
}

struct Answer {
    status: u16,
    reason: &'static str,
    location: Option<String>,
    body: Option<String>,
}

impl Answer {
    fn text(status: u16, reason: &'static str) -> Self {
        Self { status, reason, location: None, body: Some(format!("{reason}\n")) }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let location = self.location.as_ref().map_or_else(String::new, |to| format!("Location: {to}\r\n"));
        let body = self.body.as_deref().unwrap_or_default();
        let (status, reason, length) = (self.status, self.reason, body.len());
        format!(
            "HTTP/1.1 {status} {reason}\r\n{location}Content-Type: text/plain\r\nX-Content-Type-Options: nosniff\r\n\
             Cache-Control: no-store\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// Everything up to the empty line; `None` when there is none within the limit.
async fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::with_capacity(1024);
    while head.len() < MAX_HEAD {
        let before = head.len().saturating_sub(3);
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = memchr::memmem::find(&head[before..], b"\r\n\r\n") {
            head.truncate(before + end + 4);
            return Some(head);
        }
    }
    None
}

async fn drain(stream: &mut TcpStream) {
    let (mut buffer, mut read) = ([0; 4096], 0);
    while read < MAX_BODY {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(more) => read += more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostname::Scheme;

    fn led(text: &str) -> Option<(u16, Option<String>)> {
        let site = Site::new("gw.example", Scheme::Https, 443);
        let answer = Request::parse(text.as_bytes())?.led_to_https(&site);
        Some((answer.status, answer.location))
    }

    #[test]
    fn own_names_are_led_to_https_and_no_others() {
        let to = |status, location: &str| Some((status, Some(location.to_owned())));
        assert_eq!(led("GET /a?b=c HTTP/1.1\r\nHost: GW.example:80\r\n\r\n"), to(301, "https://gw.example/a?b=c"));
        assert_eq!(
            led("POST /mcp HTTP/1.1\r\nHost: notes.gw.example\r\n\r\n"),
            to(308, "https://notes.gw.example/mcp")
        );
        assert_eq!(
            led("HEAD //evil.example HTTP/1.0\r\nHost: gw.example\r\n\r\n"),
            to(301, "https://gw.example//evil.example")
        );
        for foreign in ["evil.example", "gw.example.evil.example", "a.b.gw.example", "", "evil.example#.gw.example"] {
            assert_eq!(led(&format!("GET / HTTP/1.1\r\nHost: {foreign}\r\n\r\n")), Some((404, None)), "{foreign}");
        }
        for wrong in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: gw.example\r\nHost: gw.example\r\n\r\n",
            "GET http://gw.example/ HTTP/1.1\r\nHost: gw.example\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\nHost: gw.example\r\n\r\n",
            "\u{16}\u{3}\u{1} HTTP/1.1\r\nHost: gw.example\r\n\r\n",
        ] {
            assert_eq!(led(wrong), None, "{wrong:?}");
        }
    }
}
