//! Steps of the way over plain types, for `benches/` alone: what it measures is private to this module. Nothing here may
//! do more than call the step, or the figures would not be its own.

use super::endpoint::EndpointEvent;
use super::events::EventTracker;
use super::frames::FrameTracker;
use super::headers::{CallerHead, Delivery, Isolation, UpstreamHead};
use super::route::{Route, Router};
use super::session::ServerSession;
use super::{admit, http1, peek};
use crate::connect::Credential;
use crate::hostname::{Authority, Site};
use crate::ratelimit::RateLimits;
use crate::tokens::AccessTokens;
use crate::upstream::{HealthTable, Registry};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a caller that is in the same process may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One request that was read from a connection, before its first step.
pub struct Arrived {
    session: ServerSession,
    router: Router,
}

impl Arrived {
    /// Reads the head of a request from `stream`; `None` when it is none.
    pub async fn read(stream: TcpStream, site: Site, registry: Arc<Registry>, health: HealthTable) -> Option<Self> {
        let caller = stream.peer_addr().ok()?;
        let mut session = http1::ServerSession::new(http1::Wire::Tcp(stream), caller, PATIENCE);
        let is_ready = session.read_head((PATIENCE, PATIENCE), |_| true).await == http1::NextHead::Ready;
        let session = ServerSession::Http1(Box::new(session));
        is_ready.then(|| Self { session, router: Router::new(site, registry, health) })
    }

    /// Whether it goes to an upstream.
    pub fn leads_to_an_upstream(&self) -> bool {
        matches!(self.router.route(&self.session), Ok(Route::Upstream(_)))
    }

    /// Whether it is for an upstream, and may go there.
    pub async fn is_admitted(&self, tokens: &AccessTokens, limits: &RateLimits) -> bool {
        let Ok(Route::Upstream(target)) = self.router.route(&self.session) else { return false };
        admit::admit(tokens, limits, &target, self.session.req_header()).await.is_ok()
    }
}

/// The head of a caller's request.
pub struct Request(RequestHeader);

impl Request {
    /// `None` when the path is no request target.
    pub fn new(method: Method, path: &[u8], fields: &HeaderMap) -> Option<Self> {
        let mut head = RequestHeader::build_no_case(method, path, Some(fields.len())).ok()?;
        for (name, value) in fields {
            head.append_header(name.clone(), value.clone()).ok()?;
        }
        Some(Self(head))
    }

    /// Writes the fields of the head for the upstream, whose body has so many bytes.
    pub fn write(&self, out: &mut Vec<u8>, host: &str, credential: &Credential, body: u64) {
        let framing = http1::Framing::Length(body);
        let head = UpstreamHead { request: &self.0, host, credential, framing, trace: None, uncompressed: false };
        head.each(|name, value| line(out, name, value));
    }
}

/// The head of an upstream's answer.
pub struct Answer(ResponseHeader);

impl Answer {
    /// `None` never, in practice.
    pub fn new(status: StatusCode, fields: &HeaderMap) -> Option<Self> {
        let mut head = ResponseHeader::build_no_case(status, Some(fields.len())).ok()?;
        for (name, value) in fields {
            head.append_header(name.clone(), value.clone()).ok()?;
        }
        Some(Self(head))
    }

    /// Writes the fields of the head for the caller.
    pub fn write(&self, out: &mut Vec<u8>, upstream: &Authority) {
        let isolation = Isolation { upstream, allowed_origin: None, challenge: None };
        let head = CallerHead { response: &self.0, isolation: &isolation, delivery: Delivery::default() };
        head.each(|name, value| line(out, name, value));
    }
}

fn line(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Whether a request calls a tool, by its header fields or its body.
pub fn calls_a_tool(headers: &HeaderMap, body: &[u8]) -> bool {
    peek::Asked::by(headers, Some(body)).calls_a_tool
}

/// After how many of these pieces an event stream is between two events.
pub fn event_boundaries<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> usize {
    let mut tracker = EventTracker::default();
    pieces
        .filter(|piece| {
            tracker.feed(piece);
            tracker.at_boundary()
        })
        .count()
}

/// After how many of these pieces a WebSocket connection is between two frames.
pub fn frame_boundaries<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> usize {
    let mut tracker = FrameTracker::default();
    pieces
        .filter(|piece| {
            tracker.feed(piece);
            tracker.at_boundary()
        })
        .count()
}

/// The beginning of an event stream, as the caller gets it.
pub fn beginning_of_events(upstream: &Authority, piece: Bytes) -> Bytes {
    EndpointEvent::of(upstream).feed(piece)
}
