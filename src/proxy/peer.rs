//! Upstream connections: checked addresses, pooled and kept apart by person.

use crate::config::Upstreams;
use crate::connect::ConnectionKey;
use crate::http::{ResolveError, Resolver};
use crate::upstream::Upstream;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::protocols::TcpKeepalive;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One address gets this long for TCP and TLS together, before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How many addresses of one upstream are tried.
const MAX_ADDRESSES: usize = 3;
/// How long an unused connection is kept. Below the 60 s after which common servers close: the fewer requests meet a
/// connection that is being closed, the better.
const POOL_IDLE: Duration = Duration::from_secs(45);
/// How many unused connections are kept, all upstreams together.
const POOL_SIZE: usize = 1024;

/// Connects to upstreams.
pub(super) struct Peers {
    connector: Connector,
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
}

impl Peers {
    pub(super) fn new(resolver: Resolver, settings: &Upstreams) -> Self {
        let mut options = ConnectorOptions::new(POOL_SIZE);
        options.ca_file = settings.ca_file.as_ref().map(|path| path.display().to_string());
        Self { connector: Connector::new(Some(options)), resolver, group: RandomState::new() }
    }

    /// A connection for a request of `key`, from the pool or new; `http2` when the upstream may speak it.
    ///
    /// # Errors
    /// When no address of the upstream takes a connection.
    pub(super) async fn connect(
        &self,
        upstream: &Upstream,
        key: &ConnectionKey,
        http2: bool,
    ) -> Result<Connected, ConnectFailure> {
        let addresses = self.resolver.resolve(&upstream.authority, upstream.allow_private).await;
        let addresses: Arc<[SocketAddr]> = addresses.map_err(ConnectFailure::Address)?;
        let mut failure = ConnectFailure::Address(ResolveError::NotFound);
        for address in addresses.iter().take(MAX_ADDRESSES) {
            let peer = self.peer(upstream, *address, key, http2);
            match self.connector.get_http_session(&peer).await {
                Ok((session, reused)) => return Ok(Connected { session, reused, peer }),
                Err(error) => failure = ConnectFailure::from(&*error),
            }
        }
        Err(failure)
    }

    /// Gives a connection back whose response has been read completely.
    pub(super) async fn release(&self, connected: Connected) {
        let Connected { session, peer, .. } = connected;
        self.connector.release_http_session(session, &peer, Some(POOL_IDLE)).await;
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
