//! Connections to upstreams: checked addresses, the fastest of them, TLS, and who they are kept for.

use super::http1::{self, Wire};
use super::pool::{Idle, Owner, Place, Pool};
use super::race;
use super::session::ClientSession;
use crate::config::Upstreams;
use crate::connect::ConnectionKey;
use crate::http::{ResolveError, Resolver, system_bundle};
use crate::upstream::{Failure, Health, Stage, Turn, Unavailable, Upstream};
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::v2;
use pingora::protocols::TcpKeepalive;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::l4::ext::set_tcp_keepalive;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use rustix::io::Errno;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// One address gets this long for TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// When the next address is tried although the last one may still answer (RFC 8305 §5, Connection Attempt Delay).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How many addresses of one upstream are tried.
const MAX_ADDRESSES: usize = 6;
/// How long an unused HTTP/2 connection is kept, and how many.
const POOL_IDLE: Duration = Duration::from_secs(45);
const POOL_SIZE: usize = 1024;
/// A connection that is used again and again asks this often whether the upstream's name still leads where it does.
const RECHECK: Duration = Duration::from_secs(10);
/// A stream may be silent for hours: only the kernel can tell whether its upstream is still there.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(10),
    count: 3,
    user_timeout: Duration::from_secs(30),
};

/// Connects to upstreams.
pub(super) struct Peers {
    http1: Pool,
    /// Also makes the TLS connections that turn out to speak HTTP/1.1.
    http2: v2::Connector,
    resolver: Resolver,
    /// Keys Pingora's pool by person, unpredictably.
    group: RandomState,
}

/// A connection in use, and how to give it back.
pub(super) struct Connected {
    pub(super) session: ClientSession,
    /// Whether it was used before: only then can the upstream have closed it meanwhile.
    pub(super) reused: bool,
    way_back: WayBack,
    /// The place among those that wait for the upstream.
    pub(super) turn: Turn,
}

/// Which pool a connection came from, and where it lies there.
enum WayBack {
    Http1(Place),
    Http2(Box<HttpPeer>),
}

/// A connection that was made or found.
struct Found {
    session: ClientSession,
    reused: bool,
    way_back: WayBack,
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
        let http2 = v2::Connector::new(Some(options));
        Self { http1: Pool::default(), http2, resolver, group: RandomState::new() }
    }

    /// A connection for a request of `key`, from a pool or new; `http2` when the upstream may speak it. Of several
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
        let found = match self.pooled(upstream, key).await {
            Some(found) => Ok(found),
            // On the heap: most requests find a connection.
            None => Box::pin(self.open(upstream, key, http2, health)).await,
        };
        match found {
            Ok(Found { session, reused, way_back }) => {
                if !reused {
                    turn.connected();
                }
                Ok(Connected { session, reused, way_back, turn })
            }
            Err(failure) => {
                if let Some(failure) = failure.blames_upstream() {
                    health.failed(&failure);
                }
                Err(failure)
            }
        }
    }

    /// An HTTP/1.1 connection that waits.
    async fn pooled(&self, upstream: &Upstream, key: &ConnectionKey) -> Option<Found> {
        loop {
            let Idle { mut session, mut place } = self.http1.take(key, upstream.allow_private)?;
            if !session.is_alive() {
                continue;
            }
            if place.checked.elapsed() > RECHECK {
                let addresses = self.resolver.resolve(&upstream.authority, upstream.allow_private).await.ok()?;
                if !addresses.contains(&place.address) {
                    continue;
                }
                place.checked = Instant::now();
            }
            let session = ClientSession::Http1(session);
            return Some(Found { session, reused: true, way_back: WayBack::Http1(place) });
        }
    }

    async fn open(
        &self,
        upstream: &Upstream,
        key: &ConnectionKey,
        http2: bool,
        health: &Health,
    ) -> Result<Found, ConnectFailure> {
        let addresses = self.resolver.resolve(&upstream.authority, upstream.allow_private).await;
        let addresses = addresses.map_err(ConnectFailure::Address)?;
        let tls = upstream.authority.scheme() == "https";
        let owner = Arc::new(Owner { key: key.clone(), allow_private: upstream.allow_private });
        let mut attempts = Vec::new();
        for address in in_order(&addresses, health.favourite()) {
            let peer = tls.then(|| self.peer(upstream, address, key, http2));
            if let Some(peer) = peer.as_ref().filter(|_| http2)
                // A connection that ends just now is none.
                && let Ok(Some(session)) = self.http2.reused_http_session(peer).await
            {
                let way_back = WayBack::Http2(Box::new(peer.clone()));
                return Ok(Found { session: ClientSession::Http2(Box::new(session)), reused: true, way_back });
            }
            attempts.push((address, peer));
        }
        let several = attempts.len() > 1;
        let attempts = attempts.into_iter().map(async |(address, peer)| {
            let found = match peer {
                None => opened(Wire::Tcp(connect(address).await?), address, &owner),
                Some(peer) => self.open_tls(peer, address, http2, &owner).await?,
            };
            Ok((found, address))
        });
        let none = |failure: Option<_>| failure.unwrap_or(ConnectFailure::Address(ResolveError::NotFound));
        let (found, address) = race::first(attempts, ATTEMPT_DELAY).await.map_err(none)?;
        if several {
            health.prefer(address);
        }
        Ok(found)
    }

    async fn open_tls(
        &self,
        peer: HttpPeer,
        address: SocketAddr,
        http2: bool,
        owner: &Arc<Owner>,
    ) -> Result<Found, ConnectFailure> {
        let failed = |error: Box<Error>| ConnectFailure::from(&*error);
        if !http2 {
            let stream = self.http2.transport().new_stream(&peer).await.map_err(failed)?;
            return Ok(opened(Wire::Pingora(stream), address, owner));
        }
        match self.http2.new_http_session(&peer).await.map_err(failed)? {
            HttpSession::H2(session) => {
                let session = ClientSession::Http2(Box::new(session));
                Ok(Found { session, reused: false, way_back: WayBack::Http2(Box::new(peer)) })
            }
            HttpSession::H1(session) => Ok(opened(Wire::Pingora(session.into_inner()), address, owner)),
            HttpSession::Custom(()) => Err(ConnectFailure::Refused("the upstream speaks another protocol".to_owned())),
        }
    }

    /// Gives a connection back whose response has been read completely.
    pub(super) fn release(&self, connected: Connected) {
        match (connected.session, connected.way_back) {
            (ClientSession::Http1(session), WayBack::Http1(place)) => self.http1.put(Idle { session, place }),
            (ClientSession::Http2(session), WayBack::Http2(peer)) => {
                self.http2.release_http_session(*session, &*peer, Some(POOL_IDLE));
            }
            _ => {}
        }
    }

    fn peer(&self, upstream: &Upstream, address: SocketAddr, key: &ConnectionKey, http2: bool) -> HttpPeer {
        let mut peer = HttpPeer::new(address, true, upstream.authority.host().to_owned());
        // Two people never share a connection: whatever an upstream attaches to one stays with one.
        peer.group_key = self.group.hash_one(key);
        peer.options.connection_timeout = Some(CONNECT_TIMEOUT);
        peer.options.total_connection_timeout = Some(CONNECT_TIMEOUT);
        peer.options.idle_timeout = Some(POOL_IDLE);
        peer.options.tcp_keepalive = Some(KEEPALIVE);
        if http2 {
            peer.options.set_http_version(2, 1);
            peer.options.max_h2_streams = 100;
            peer.options.h2_ping_interval = Some(Duration::from_secs(30));
        } else {
            peer.options.set_http_version(1, 1);
        }
        peer
    }
}

/// A new HTTP/1.1 connection.
fn opened(wire: Wire, address: SocketAddr, owner: &Arc<Owner>) -> Found {
    let place = Place { owner: owner.clone(), address, checked: Instant::now() };
    let session = ClientSession::Http1(Box::new(http1::ClientSession::new(wire)));
    Found { session, reused: false, way_back: WayBack::Http1(place) }
}

/// A TCP connection without TLS.
async fn connect(address: SocketAddr) -> Result<TcpStream, ConnectFailure> {
    let unreachable = || ConnectFailure::Refused("the upstream cannot be reached".to_owned());
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await.map_err(|_| ConnectFailure::Timeout)?;
    let stream = stream.map_err(|error| if lacks_descriptors(&error) { BUSY } else { unreachable() })?;
    stream.set_nodelay(true).map_err(|_| unreachable())?;
    set_tcp_keepalive(&stream, &KEEPALIVE).map_err(|_| unreachable())?;
    Ok(stream)
}

/// Nobody's fault but ours.
const BUSY: ConnectFailure = ConnectFailure::Unavailable(Unavailable::Busy);

/// Whether this process, or the whole machine, has no descriptor left.
fn lacks_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
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
        if error.root_cause().downcast_ref().is_some_and(lacks_descriptors) {
            return BUSY;
        }
        match error.etype() {
            ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => ConnectFailure::Timeout,
            ErrorType::InvalidCert | ErrorType::TLSHandshakeFailure => {
                ConnectFailure::Refused("the upstream's certificate was not accepted".to_owned())
            }
            _ => ConnectFailure::Refused("the upstream cannot be reached".to_owned()),
        }
    }
}
