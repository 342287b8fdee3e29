//! Upstream connections: checked addresses, pooled and kept apart by person.

use super::race;
use crate::config::Upstreams;
use crate::connect::ConnectionKey;
use crate::http::{ResolveError, Resolver, system_bundle};
use crate::upstream::{Failure, Health, Stage, Turn, Unavailable, Upstream};
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::{v1, v2};
use pingora::protocols::TcpKeepalive;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use pingora::{Error, ErrorType};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One address gets this long for TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// When the next address is tried although the last one may still answer (RFC 8305 §5, Connection Attempt Delay).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How many addresses of one upstream are tried.
const MAX_ADDRESSES: usize = 6;
/// How long an unused connection is kept. Below the 60 s after which common servers close: the fewer requests meet a
/// connection that is being closed, the better.
const POOL_IDLE: Duration = Duration::from_secs(45);
/// How many unused connections are kept, all upstreams together.
const POOL_SIZE: usize = 1024;

/// Connects to upstreams.
pub(super) struct Peers {
    // Pingora's connector for both versions does not say what is in its pools.
    http1: v1::Connector,
    http2: v2::Connector,
    resolver: Resolver,
    /// Keys the pool by person, unpredictably.
    group: RandomState,
}

/// A connection in use, and how to give it back.
pub(super) struct Connected {
    pub(super) session: HttpSession,
    /// Whether it was used before: only then can the upstream have closed it meanwhile.
    pub(super) reused: bool,
    pub(super) peer: HttpPeer,
    /// The place among those that wait for the upstream.
    pub(super) turn: Turn,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectFailure {
    /// The name leads nowhere, or nowhere we may go.
    Address(ResolveError),
    /// No address answered in time.
    Timeout,
    /// Refused, unreachable, or TLS failed; in words.
    Refused(String),
    /// It was not tried.
    Unavailable(Unavailable),
}

impl Peers {
    pub(super) fn new(resolver: Resolver, settings: &Upstreams) -> Self {
        let mut options = ConnectorOptions::new(POOL_SIZE);
        let authorities = settings.ca_file.as_deref().or_else(|| system_bundle());
        options.ca_file = authorities.map(|path| path.display().to_string());
        let (http1, http2) = (v1::Connector::new(Some(options.clone())), v2::Connector::new(Some(options)));
        Self { http1, http2, resolver, group: RandomState::new() }
    }

    /// A connection for a request of `key`, from the pool or new; `http2` when the upstream may speak it. Of several
    /// addresses the one that connects first is taken (RFC 8305), TLS included.
    ///
    /// # Errors
    /// When no address of the upstream takes a connection, or none was tried for the sake of the others.
    pub(super) async fn connect(
        &self,
        upstream: &Upstream,
        health: &Arc<Health>,
        key: &ConnectionKey,
        http2: bool,
    ) -> Result<Connected, ConnectFailure> {
        let mut turn = health.begin().map_err(ConnectFailure::Unavailable)?;
        let connected = async {
            let addresses = self.resolver.resolve(&upstream.authority, upstream.allow_private).await;
            let addresses = addresses.map_err(ConnectFailure::Address)?;
            let mut peers = Vec::new();
            for address in in_order(&addresses, health.favourite()) {
                let peer = self.peer(upstream, address, key, http2);
                if let Some(session) = self.pooled(&peer, http2).await {
                    return Ok((session, true, peer));
                }
                peers.push(peer);
            }
            self.open(peers, http2, health).await
        };
        match connected.await {
            Ok((session, reused, peer)) => {
                if !reused {
                    turn.connected();
                }
                Ok(Connected { session, reused, peer, turn })
            }
            Err(failure) => {
                if let Some(failure) = failure.blames_upstream() {
                    health.failed(&failure);
                }
                Err(failure)
            }
        }
    }

    async fn pooled(&self, peer: &HttpPeer, http2: bool) -> Option<HttpSession> {
        if http2 {
            // A connection that ends just now is none.
            if let Ok(Some(session)) = self.http2.reused_http_session(peer).await {
                return Some(HttpSession::H2(session));
            }
        }
        self.http1.reused_http_session(peer).await.map(HttpSession::H1)
    }

    async fn open(
        &self,
        peers: Vec<HttpPeer>,
        http2: bool,
        health: &Health,
    ) -> Result<(HttpSession, bool, HttpPeer), ConnectFailure> {
        let several = peers.len() > 1;
        let attempts = peers.into_iter().map(async |peer| {
            let (session, reused) = if http2 {
                (self.http2.new_http_session(&peer).await?, false)
            } else {
                let (session, reused) = self.http1.get_http_session(&peer).await?;
                (HttpSession::H1(session), reused)
            };
            Ok((session, reused, peer))
        });
        let failed = |error: Option<Box<Error>>| match error {
            Some(error) => ConnectFailure::from(&*error),
            None => ConnectFailure::Address(ResolveError::NotFound),
        };
        let winner = race::first(attempts, ATTEMPT_DELAY).await.map_err(failed)?;
        if let Some(address) = winner.2.address().as_inet().filter(|_| several) {
            health.prefer(*address);
        }
        Ok(winner)
    }

    /// Gives a connection back whose response has been read completely.
    pub(super) async fn release(&self, connected: Connected) {
        let Connected { session, peer, .. } = connected;
        match session {
            HttpSession::H1(session) => self.http1.release_http_session(session, &peer, Some(POOL_IDLE)).await,
            HttpSession::H2(session) => self.http2.release_http_session(session, &peer, Some(POOL_IDLE)),
            HttpSession::Custom(()) => {}
        }
    }

    fn peer(&self, upstream: &Upstream, address: SocketAddr, key: &ConnectionKey, http2: bool) -> HttpPeer {
        let tls = upstream.authority.scheme() == "https";
        let mut peer = HttpPeer::new(address, tls, upstream.authority.host().to_owned());
        // Two people never share a connection: whatever an upstream attaches to one stays with one.
        peer.group_key = self.group.hash_one(key);
        peer.options.connection_timeout = Some(CONNECT_TIMEOUT);
        peer.options.total_connection_timeout = Some(CONNECT_TIMEOUT);
        peer.options.idle_timeout = Some(POOL_IDLE);
        // A stream may be silent for hours: only the kernel can tell whether its upstream is still there.
        peer.options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            count: 3,
            user_timeout: Duration::from_secs(30),
        });
        if tls && http2 {
            peer.options.set_http_version(2, 1);
            peer.options.max_h2_streams = 100;
            peer.options.h2_ping_interval = Some(Duration::from_secs(30));
        } else {
            peer.options.set_http_version(1, 1);
        }
        peer
    }
}

/// The addresses to try: the last winner first, for a while.
fn in_order(addresses: &[SocketAddr], favourite: Option<(SocketAddr, bool)>) -> impl Iterator<Item = SocketAddr> {
    let first = favourite.filter(|(address, stale)| !stale && addresses.contains(address)).map(|(address, _)| address);
    first
        .into_iter()
        .chain(addresses.iter().copied().filter(move |address| Some(*address) != first))
        .take(MAX_ADDRESSES)
}

impl ConnectFailure {
    /// What the upstream's health should know of it.
    fn blames_upstream(&self) -> Option<Failure> {
        let (timeout, why) = match self {
            ConnectFailure::Address(ResolveError::Forbidden(_)) | ConnectFailure::Unavailable(_) => return None,
            ConnectFailure::Address(why) => (*why == ResolveError::Timeout, why.to_string()),
            ConnectFailure::Timeout => (true, "no connection in time".to_owned()),
            ConnectFailure::Refused(why) => (false, why.clone()),
        };
        Some(Failure { stage: Stage::Connecting, timeout, why })
    }
}

impl From<&Error> for ConnectFailure {
    fn from(error: &Error) -> Self {
        match error.etype() {
            ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => ConnectFailure::Timeout,
            ErrorType::InvalidCert | ErrorType::TLSHandshakeFailure => {
                ConnectFailure::Refused("the upstream's certificate was not accepted".to_owned())
            }
            _ => ConnectFailure::Refused("the upstream cannot be reached".to_owned()),
        }
    }
}
