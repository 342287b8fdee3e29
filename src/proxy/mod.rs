//! The data plane: every request comes in here. The way of a request is in `way.rs`, a line per step; each step
//! consumes the proof of the last.
//!
//! The loop is our own, and so is HTTP/1.1 on both sides of it (`http1/`); Pingora speaks HTTP/2 and begins TLS toward upstreams
//! (ARCHITECTURE.md, "Why our own HTTP/1.1").

// The way of a request, from its head to what became of it.
mod address;
mod admit;
mod conversation;
mod forward;
mod local;
mod origin;
mod record;
mod reply;
mod route;
mod way;

// What it asks for, and whether it may.
mod filter;
mod headers;
mod peek;
mod policy;
mod stepup;
mod trace;

// Its body on the way to the upstream.
mod body;
mod budget;
mod patience;
mod progress;

// The connection to the upstream, and one exchange over it.
mod exchange;
mod peer;
mod pool;
mod race;

// HTTP itself.
mod http1;
mod session;

// The answer on the way back, for as long as it lasts.
mod deadlines;
mod endpoint;
mod events;
mod frames;
mod lifeline;
mod stopping;
mod stream;
mod upgrade;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
#[cfg(test)]
pub(crate) mod trial;
#[doc(hidden)]
pub mod workbench;

pub use http1::Wire;
pub use progress::Progress;
pub use stopping::Phase;

use crate::audit::Audit;
use crate::config::Config;
use crate::connect::Connections;
use crate::hostname::Site;
use crate::http::Resolver;
use crate::overload::Overload;
use crate::ratelimit::RateLimits;
use crate::telemetry::{Metrics, Tracer};
use crate::tokens::AccessTokens;
use crate::upstream::{HealthTable, Registry};
use arc_swap::{ArcSwap, Cache};
use async_trait::async_trait;
use pingora::ErrorSource;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession as PingoraSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::ShutdownWatch;
use session::ServerSession;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use trace::Traced;
use way::{Outcome, Way};

/// An HTTP/2 connection without streams is closed after this long.
const HTTP2_IDLE: Duration = Duration::from_secs(120);

/// What one HTTP/2 stream may have waiting for its peer, in bytes.
const HTTP2_SEND_BUFFER: usize = 64 * 1024;

/// How many streams of a connection we may have to reset because of its peer's errors (CVE-2025-8671); the default is 1024.
const HTTP2_OUR_RESETS: usize = 128;

/// What the data plane is made of for as long as it runs.
pub struct Parts {
    /// Our names.
    pub site: Site,
    /// Which upstreams there are.
    pub registry: Arc<Registry>,
    /// Who may come in.
    pub tokens: Arc<AccessTokens>,
    /// What is injected.
    pub connections: Arc<Connections>,
    /// Where upstreams are.
    pub resolver: Resolver,
    /// How upstreams do.
    pub health: HealthTable,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is remembered.
    pub audit: Audit,
    /// Begins traces, if anybody wants them.
    pub tracer: Tracer,
    /// Says when there is no memory for more.
    pub overload: Arc<Overload>,
    /// Says when the gateway stops.
    pub phase: watch::Receiver<Phase>,
    /// Dropped with the last connection.
    pub alive: oneshot::Sender<()>,
}

/// What a new configuration replaces, all at once.
pub struct Settings {
    /// For everything that is read directly.
    pub config: Arc<Config>,
    /// How often somebody may come.
    pub limits: Arc<RateLimits>,
    /// The control plane of the root domain.
    pub root: axum::Router,
    /// The control plane of every MCP hostname.
    pub mcp: axum::Router,
    /// Our own MCP server, behind the same admission as upstreams.
    pub unified: axum::Router,
}

/// The one door that every connection comes through.
pub struct Gate {
    /// Every request loads it once and goes by it to its end.
    way: Arc<ArcSwap<Way>>,
    options: HttpServerOptions,
    _alive: oneshot::Sender<()>,
}

/// Puts other settings in force; requests under way are not touched.
pub struct Control(Arc<ArcSwap<Way>>);

impl Gate {
    /// Puts the data plane together.
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(HTTP2_IDLE);
        let (way, alive) = Way::new(parts, settings);
        Self { way: Arc::new(ArcSwap::from_pointee(way)), options, _alive: alive }
    }

    /// For changing its settings while it serves.
    pub fn control(&self) -> Control {
        Control(self.way.clone())
    }
}

impl Control {
    /// From the next request on, these settings hold. Connections to upstreams are made anew when `authorities` says that
    /// other certificate authorities are to be trusted.
    pub fn install(&self, settings: Settings, authorities: Authorities) {
        let way = self.0.load().with(settings, authorities);
        self.0.store(Arc::new(way));
    }
}

/// Whether upstreams are trusted as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// The same certificate authorities.
    Same,
    /// Others.
    Other,
}

impl Gate {
    /// Serves a connection of `client` that speaks HTTP/1.1, request by request, until it ends. The caller must take what it is
    /// sent within `write_timeout`.
    pub async fn serve_http1(&self, wire: Wire, client: SocketAddr, write_timeout: Duration) {
        let session = http1::ServerSession::new(wire, client, write_timeout);
        let mut session = ServerSession::Http1(Box::new(session));
        let ending = self.way.load().stopping.ending();
        tokio::pin!(ending);
        let (mut way, mut again) = (Cache::new(&*self.way), false);
        while way.load().read_head(&mut session, again, ending.as_mut()).await {
            // Loaded again: a connection may have waited long for this request.
            if !answer(way.load(), &mut session).await {
                return;
            }
            let ServerSession::Http1(session) = &mut session else { return };
            if !session.finish().await {
                return;
            }
            again = true;
        }
    }
}

/// Serves a request whose head has been read; false when its connection is of no more use.
async fn answer(way: &Way, session: &mut ServerSession) -> bool {
    let started = Instant::now();
    let trace = way.traced(session);
    let outcome = match &trace {
        None => way.serve(session, None).await,
        Some(trace) => Box::pin(trace.serve(way, session)).await,
    };
    // Dropped at the end of this: what is logged here belongs to the trace, too.
    let marked = trace.as_ref().map(Traced::log);
    let marked = |log: &dyn Fn()| marked.as_ref().map_or_else(log, |span| span.in_scope(log));
    match outcome {
        Outcome::Answered(kind, status) => {
            let (head, took) = (session.req_header(), started.elapsed());
            // The path alone: queries carry codes and state.
            marked(&|| {
                tracing::debug!(target: "access", method = %head.method, path = head.uri.path(), %status, ?kind, ?took);
            });
            way.metrics.request(kind, status.as_u16(), took);
            true
        }
        Outcome::Aborted(error) => {
            tracing::debug!(%error, "a request was broken off");
            if *error.esource() == ErrorSource::Upstream {
                way.metrics.upstream_failures.inc();
            }
            session.shutdown().await;
            false
        }
    }
}

#[async_trait]
impl HttpServerApp for Gate {
    /// One stream of an HTTP/2 connection: connections that speak HTTP/1.1 never come here.
    async fn process_new_http(
        self: &Arc<Self>,
        session: PingoraSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let mut session = ServerSession::Http2(Box::new(session));
        let way = self.way.load_full();
        if way.read_head(&mut session, false, pending()).await
            && answer(&way, &mut session).await
            && let ServerSession::Http2(session) = session
            && let Err(error) = session.finish().await
        {
            tracing::debug!(%error, "a stream did not end in good order");
        }
        None
    }

    fn h2_options(&self) -> Option<H2Options> {
        // `H2Options::default()` would lift Pingora's bounds on streams, header lists and malformed frames.
        let mut options = default_h2_options();
        // What a peer does not take is kept for each of its streams, up to this; the default is 400 KiB.
        options.max_send_buffer_size(HTTP2_SEND_BUFFER);
        options.max_local_error_reset_streams(Some(HTTP2_OUR_RESETS));
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}
