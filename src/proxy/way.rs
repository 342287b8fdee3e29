//! The way of a request: from its head to what became of it.

mod unified;

use super::body::Bodies;
use super::http1::{Malformed, NextHead};
use super::origin::{self, Origin, OriginPolicy};
use super::reply::{self, Asked, Reader, Refusal, TokenError};
use super::route::{BAD_TARGET, Route, Router, Target};
use super::session::ServerSession;
use super::stopping::Stopping;
use super::trace::Traced;
use super::{Authorities, Parts, Settings, address, admit, forward, headers, local, peer, record};
use crate::audit::Audit;
use crate::config::{ConnectionLimits, Streams};
use crate::connect::Connections;
use crate::hostname::{Realm, Site};
use crate::http::Resolver;
use crate::overload::Overload;
use crate::paths::HEALTH;
use crate::ratelimit::RateLimits;
use crate::request::{Arrival, TrustedProxy};
use crate::telemetry::{Kind, Metrics, SharedSpan, Tracer};
use crate::tokens::AccessTokens;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::Error;
use pingora::http::ResponseHeader;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// A body over HTTP/2 that nobody wants is read for this long.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// The way of a request under the settings of one moment. What outlives them is behind an `Arc`.
pub(super) struct Way {
    site: Site,
    router: Arc<Router>,
    origins: OriginPolicy,
    tokens: Arc<AccessTokens>,
    limits: Arc<RateLimits>,
    connections: Arc<Connections>,
    resolver: Resolver,
    peers: Arc<peer::Peers>,
    pub(super) metrics: Arc<Metrics>,
    audit: Audit,
    tracer: Tracer,
    overload: Arc<Overload>,
    root: axum::Router,
    mcp: axum::Router,
    unified: axum::Router,
    /// Whether the root domain has a unified endpoint.
    has_unified: bool,
    /// The largest message to an MCP server of ours, in bytes.
    unified_body: usize,
    pub(super) stopping: Arc<Stopping>,
    trusted_proxies: Vec<ipnet::IpNet>,
    bodies: Bodies,
    streams: Streams,
    patience: ConnectionLimits,
}

/// Whether somebody asks how we are: who gets no answer may end this process.
fn is_about_our_health(session: &ServerSession, route: &Route) -> bool {
    matches!(route, Route::Local(_) | Route::Rename) && session.req_header().uri.path() == HEALTH
}

/// What became of a request.
pub(super) enum Outcome {
    /// It was answered with this status, by us or by the upstream.
    Answered(Kind, StatusCode),
    /// The connection is of no more use.
    Aborted(Box<Error>),
}

impl Way {
    /// Puts the data plane together; what is dropped with its last connection comes back.
    pub(super) fn new(parts: Parts, settings: Settings) -> (Self, oneshot::Sender<()>) {
        let (server, streams) = (&settings.config.server, settings.config.streams);
        let patience = settings.config.limits.connections;
        let bodies = Bodies::new(server, patience, parts.metrics.kept_bodies.clone());
        let way = Way {
            router: Arc::new(Router::new(parts.site.clone(), parts.registry, parts.health)),
            origins: OriginPolicy::new(&server.allowed_origins, parts.site.root_origin()),
            site: parts.site,
            tokens: parts.tokens,
            limits: settings.limits,
            connections: parts.connections,
            peers: Arc::new(peer::Peers::new(parts.resolver.clone(), &settings.config.upstreams)),
            resolver: parts.resolver,
            metrics: parts.metrics,
            audit: parts.audit,
            tracer: parts.tracer,
            overload: parts.overload,
            root: settings.root,
            mcp: settings.mcp,
            unified: settings.unified,
            has_unified: settings.config.unified.enabled,
            unified_body: usize::try_from(settings.config.unified.max_body).unwrap_or(usize::MAX),
            stopping: Arc::new(Stopping::new(parts.phase)),
            trusted_proxies: server.trusted_proxies.clone(),
            bodies,
            streams,
            patience,
        };
        (way, parts.alive)
    }

    /// The same data plane under other settings.
    pub(super) fn with(&self, settings: Settings, authorities: Authorities) -> Self {
        let (server, streams) = (&settings.config.server, settings.config.streams);
        let patience = settings.config.limits.connections;
        let bodies = Bodies::new(server, patience, self.metrics.kept_bodies.clone());
        Self {
            site: self.site.clone(),
            router: self.router.clone(),
            origins: OriginPolicy::new(&server.allowed_origins, self.site.root_origin()),
            tokens: self.tokens.clone(),
            limits: settings.limits,
            connections: self.connections.clone(),
            peers: match authorities {
                Authorities::Same => self.peers.clone(),
                Authorities::Other => Arc::new(peer::Peers::new(self.resolver.clone(), &settings.config.upstreams)),
            },
            resolver: self.resolver.clone(),
            metrics: self.metrics.clone(),
            audit: self.audit.wanting(settings.config.audit.requests),
            tracer: self.tracer.clone(),
            overload: self.overload.clone(),
            root: settings.root,
            mcp: settings.mcp,
            unified: settings.unified,
            has_unified: settings.config.unified.enabled,
            unified_body: usize::try_from(settings.config.unified.max_body).unwrap_or(usize::MAX),
            stopping: self.stopping.clone(),
            trusted_proxies: server.trusted_proxies.clone(),
            bodies,
            streams,
            patience,
        }
    }

    /// The span of a request whose head has been read, if anybody wants traces.
    pub(super) fn traced(&self, session: &ServerSession) -> Option<Traced> {
        Traced::begin(&self.tracer, session)
    }

    /// The way of a request.
    pub(super) async fn serve(&self, session: &mut ServerSession, trace: Option<&SharedSpan>) -> Outcome {
        let client = self.client_address(session);
        // On the heap is what ends at once: every stream has the size of the longest way.
        match self.router.route(session) {
            Ok(route) if !self.overload.has_room() && !is_about_our_health(session, &route) => {
                Box::pin(self.shed(session, &route)).await
            }
            Ok(Route::Local(realm)) => Box::pin(self.local(session, Arrival { realm, client })).await,
            Ok(Route::Unified) if self.has_unified && !unified::is_visit(session.req_header()) => {
                Box::pin(self.unified(session, None, (client, trace))).await
            }
            Ok(Route::Unified) => Box::pin(self.local(session, Arrival { realm: Realm::Root, client })).await,
            Ok(Route::Rename) => Box::pin(self.rename(session)).await,
            Ok(Route::Upstream(target)) if target.is_program() => {
                Box::pin(self.unified(session, Some(&target), (client, trace))).await
            }
            Ok(Route::Upstream(target)) => self.upstream(session, &target, (client, trace)).await,
            Err(refusal) => Box::pin(self.refuse(session, &refusal, None, None)).await,
        }
    }

    /// Refuses a request because there is no memory for it, and takes none of the next over the same connection.
    async fn shed(&self, session: &mut ServerSession, route: &Route) -> Outcome {
        self.metrics.requests_shed.inc();
        session.close_after();
        let asked = match route {
            Route::Local(_) | Route::Rename => Asked::locally(session.req_header().uri.path()),
            Route::Upstream(_) | Route::Unified => Asked { reader: Reader::Mcp, ..Asked::locally("") },
        };
        let refused = reply::refuse(session, &Refusal::Busy, &asked).await;
        refused.map(|()| Refusal::Busy.status()).into()
    }

    async fn local(&self, session: &mut ServerSession, arrival: Arrival) -> Outcome {
        if let Err(limited) = self.limits.check_ip(arrival.client) {
            let refusal = Refusal::Limited(limited);
            let asked = Asked::locally(session.req_header().uri.path());
            let refused = reply::refuse(session, &refusal, &asked).await;
            return refused.map(|()| refusal.status()).into();
        }
        let router = if arrival.realm == Realm::Root { &self.root } else { &self.mcp };
        let facts = (arrival, self.trusted_proxy(session));
        local::serve(session, router, facts, (&self.patience, self.stopping.stream())).await.into()
    }

    async fn upstream(
        &self,
        session: &mut ServerSession,
        target: &Target,
        (client, trace): (IpAddr, Option<&SharedSpan>),
    ) -> Outcome {
        let allowed_origin = match self.judge(session).await {
            Ok(allowed_origin) => allowed_origin,
            Err(outcome) => return outcome,
        };
        let admitted = match self.limits.check_ip(client) {
            Ok(()) => admit::admit(&self.tokens, &self.limits, target, session.req_header()).await,
            Err(limited) => Err(Refusal::Limited(limited)),
        };
        let permit = match admitted {
            Ok(permit) => permit,
            Err(refusal) => return Box::pin(self.refuse(session, &refusal, Some(target), allowed_origin)).await,
        };
        let forwarder = forward::Forwarder {
            peers: &self.peers,
            connections: &self.connections,
            streams: &self.streams,
            bodies: &self.bodies,
            stopping: &self.stopping,
            metrics: &self.metrics,
            trace,
        };
        let mut record = record::Record::begin(&self.audit, target, &permit, (client, trace));
        let isolation = headers::Isolation {
            upstream: &target.upstream.authority,
            allowed_origin: allowed_origin.as_ref(),
            challenge: None,
        };
        let outcome = forwarder.forward(session, (target, &permit), &isolation, &mut record).await;
        record.end(session, &outcome);
        match outcome {
            Ok(status) => Outcome::Answered(Kind::Upstream, status),
            Err(forward::Failure::Refused(refusal)) => {
                let refusal = self.in_the_end(refusal, target, &permit);
                Box::pin(self.refuse(session, &refusal, Some(target), allowed_origin)).await
            }
            Err(forward::Failure::Aborted(error)) => Outcome::Aborted(error),
        }
    }

    /// Which page asks, if one does that may call. All others are answered here, and so are preflights.
    async fn judge(&self, session: &mut ServerSession) -> Result<Option<HeaderValue>, Outcome> {
        let head = session.req_header();
        if origin::is_service_worker_script(&head.headers) {
            return Err(Box::pin(self.refuse(session, &Refusal::ServiceWorker, None, None)).await);
        }
        let allowed_origin = match self.origins.judge(&head.headers) {
            Origin::Absent => return Ok(None),
            Origin::Allowed(origin) => origin.clone(),
            Origin::Forbidden => {
                return Err(Box::pin(self.refuse(session, &Refusal::ForeignOrigin, None, None)).await);
            }
        };
        if origin::is_preflight(session) {
            return Err(Box::pin(origin::preflight(session, &allowed_origin)).await.into());
        }
        Ok(Some(allowed_origin))
    }

    /// A request that waited while its person lost the permission must not be sent through the flow for it.
    fn in_the_end(&self, refusal: Refusal, target: &Target, permit: &admit::Permit) -> Refusal {
        match refusal {
            Refusal::Unauthorized(TokenError::NotConnected)
                if !self.router.still_admits(permit.token().user, target) =>
            {
                Refusal::NotPermitted
            }
            refusal => refusal,
        }
    }

    async fn refuse(
        &self,
        session: &mut ServerSession,
        refusal: &Refusal,
        target: Option<&Target>,
        allowed_origin: Option<HeaderValue>,
    ) -> Outcome {
        let scope = match (refusal, target) {
            (Refusal::Unauthorized(TokenError::Missing | TokenError::NotConnected), Some(target)) => {
                let scopes = self.connections.usual_scopes(&target.upstream.authority).await;
                Some(scopes.to_string()).filter(|scopes| !scopes.is_empty())
            }
            _ => None,
        };
        if refusal.blames_upstream() {
            self.metrics.upstream_failures.inc();
        }
        let origin = target.map_or("", |target| target.origin.as_str());
        let asked = Asked { origin, scope, allowed_origin, reader: Reader::Mcp };
        reply::refuse(session, refusal, &asked).await.map(|()| refusal.status()).into()
    }

    /// `http://127.0.0.1:8080/…` becomes `http://localhost:8080/…`: cookies and hostnames live there.
    async fn rename(&self, session: &mut ServerSession) -> Outcome {
        let request = session.req_header();
        let path = request.uri.path_and_query().map_or("/", |target| target.as_str());
        if request.uri.path() == HEALTH {
            let client = self.client_address(session);
            return self.local(session, Arrival { realm: Realm::Root, client }).await;
        }
        let location = format!("{}{path}", self.site.root_origin());
        let answer = async {
            let mut head = ResponseHeader::build_no_case(StatusCode::TEMPORARY_REDIRECT, Some(3))?;
            head.insert_header(header::LOCATION, location)?;
            head.insert_header(header::CONTENT_LENGTH, 0)?;
            reply::write_whole(session, head, Bytes::new()).await
        };
        answer.await.map(|()| StatusCode::TEMPORARY_REDIRECT).into()
    }

    fn trusted_proxy(&self, session: &ServerSession) -> Option<TrustedProxy> {
        address::is_trusted(&session.peer(), &self.trusted_proxies).then_some(TrustedProxy)
    }

    fn client_address(&self, session: &ServerSession) -> IpAddr {
        address::of_caller(session.peer(), &session.req_header().headers, &self.trusted_proxies)
    }

    /// Reads the head of the next request on a connection; false when there is none, or none that deserves an answer. `again`: there
    /// was one before. `ending` comes when idle connections have to close.
    pub(super) async fn read_head(
        &self,
        session: &mut ServerSession,
        again: bool,
        ending: impl Future<Output = ()>,
    ) -> bool {
        let ServerSession::Http1(http1) = session else { return self.accept_http2(session).await };
        let whole = self.patience.head_timeout;
        let patience = if again { self.patience.idle_timeout } else { whole };
        let next = tokio::select! { biased;
            next = http1.read_head((patience, whole), |bytes| self.overload.has_room_for(bytes)) => next,
            () = ending => return false,
        };
        match next {
            NextHead::Ready => {}
            NextHead::Nothing => return false,
            NextHead::Malformed(malformed) => {
                Box::pin(self.refuse_head(session, &refusal_of(malformed))).await;
                return false;
            }
            NextHead::NoRoom => {
                self.metrics.requests_shed.inc();
                Box::pin(self.refuse_head(session, &Refusal::Busy)).await;
                return false;
            }
        }
        if !self.stopping.keeps_connections() {
            session.close_after();
        }
        true
    }

    /// The same for a stream of HTTP/2, whose head is there already.
    async fn accept_http2(&self, session: &mut ServerSession) -> bool {
        if let Some(progress) = session.progress() {
            progress.has_request();
        }
        let ServerSession::Http2(session) = session else { return false };
        // It only checks what came.
        if !matches!(session.read_request().await, Ok(true)) {
            return false;
        }
        session.set_write_timeout(Some(self.streams.write_timeout));
        session.set_total_drain_timeout(Some(DRAIN_DEADLINE));
        // Bodies are waited for by `Patience`, everything else has deadlines of its own.
        session.set_read_timeout(None);
        true
    }

    /// A head that cannot be read is the end of its connection: nobody knows where the next one begins.
    async fn refuse_head(&self, session: &mut ServerSession, refusal: &Refusal) {
        if let Err(error) = reply::refuse_unread(session, refusal).await {
            tracing::debug!(%error, "a refusal did not arrive");
        }
        session.shutdown().await;
    }
}

fn refusal_of(malformed: Malformed) -> Refusal {
    match malformed {
        Malformed::TooLarge => Refusal::HeadTooLarge,
        Malformed::Target => Refusal::BadRequest(BAD_TARGET),
        Malformed::Head => Refusal::BadRequest("the request's head is malformed"),
    }
}

impl From<pingora::Result<StatusCode>> for Outcome {
    fn from(result: pingora::Result<StatusCode>) -> Self {
        result.map_or_else(Outcome::Aborted, |status| Outcome::Answered(Kind::Local, status))
    }
}
