//! From a permit and a credential to a complete answer: forward, refresh once when the upstream says 401, reply.

use super::admit::Permit;
use super::body::{Bodies, BodyFailure};
use super::endpoint::EndpointEvent;
use super::exchange::{Exchange, ExchangeFailure};
use super::lifeline::Lifeline;
use super::peer::{Connected, Peers};
use super::reply::{Refusal, TokenError};
use super::route::Target;
use super::source::Source;
use super::stopping::Stopping;
use super::{headers, stepup, stream, upgrade};
use crate::config::Streams;
use crate::connect::{Connections, Credential, NoCredential};
use crate::error::Culprit;
use crate::telemetry::Metrics;
use http::{HeaderValue, Method, StatusCode, Version, header};
use pingora::Error;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use std::sync::Arc;

/// How much of a 401's body is read, in bytes, so that its connection can be used for the repetition.
const MAX_DRAINED: usize = 64 * 1024;

/// What forwarding needs.
pub(super) struct Forwarder<'a> {
    pub(super) peers: &'a Peers,
    pub(super) connections: &'a Arc<Connections>,
    pub(super) streams: &'a Streams,
    pub(super) bodies: &'a Bodies,
    pub(super) stopping: &'a Stopping,
    pub(super) metrics: &'a Metrics,
}

/// How forwarding failed.
pub(super) enum Failure {
    /// Nothing was written to the caller yet: it is told why.
    Refused(Refusal),
    /// The connection to the caller is of no more use.
    Aborted(Box<Error>),
}

impl Forwarder<'_> {
    /// Forwards one admitted request and passes the answer on. The status that the caller saw.
    pub(super) async fn forward(
        &self,
        session: &mut ServerSession,
        target: &Target,
        permit: &Permit,
        allowed_origin: Option<&HeaderValue>,
    ) -> Result<StatusCode, Failure> {
        // What comes before the answer is on the heap: a stream has no room for it while it lives.
        let mut credential = Box::pin(self.connections.credential(permit.key())).await?;
        let mut body = Box::pin(self.bodies.take(session)).await?;
        let exchange = Exchange {
            peers: self.peers,
            upstream: &target.upstream,
            health: &target.health,
            key: permit.key(),
            response_timeout: self.streams.response_timeout,
        };
        let mut life = Lifeline::new(permit, &credential);
        let mut connected = Box::new(Box::pin(exchange.send(session, &mut body, &credential, &life)).await?);
        if status_of(&connected) == Some(StatusCode::UNAUTHORIZED) {
            credential = Box::pin(self.renew(permit, &credential, *connected)).await?;
            if !body.is_repeatable() {
                return Err(Refusal::Unauthorized(TokenError::Invalid).into());
            }
            life = Lifeline::new(permit, &credential);
            connected = Box::new(Box::pin(exchange.send(session, &mut body, &credential, &life)).await?);
            if status_of(&connected) == Some(StatusCode::UNAUTHORIZED) {
                // Rejected twice in a row: `renew` takes that for the end of the connection.
                Box::pin(self.renew(permit, &credential, *connected)).await?;
                return Err(Refusal::Unauthorized(TokenError::NotConnected).into());
            }
        }
        // An answer may last for hours; nothing is repeated any more.
        drop(body);
        let challenge = match connected.session.response_header() {
            Some(response) if response.status == StatusCode::FORBIDDEN => {
                let asked = (target, permit, session.req_header().uri.path());
                // Boxed: it is rare, and streams need not have room for it.
                Box::pin(stepup::challenge(self.connections, asked, &credential, response)).await
            }
            _ => None,
        };
        self.answer(session, connected, target, &life, (allowed_origin, challenge)).await.map_err(Failure::Aborted)
    }

    /// The upstream refused our credential: its connection is put back, and a better credential is asked for.
    async fn renew(
        &self,
        permit: &Permit,
        rejected: &Credential,
        mut refused: Connected,
    ) -> Result<Arc<Credential>, Failure> {
        let challenge = refused
            .session
            .response_header()
            .and_then(|head| head.headers.get(header::WWW_AUTHENTICATE))
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let mut drained = 0;
        while let Ok(Some(chunk)) = refused.session.read_response_body().await {
            drained += chunk.len();
            if drained > MAX_DRAINED {
                break;
            }
        }
        self.peers.release(refused).await;
        Ok(self.connections.renew(permit.key(), rejected, challenge.as_deref()).await?)
    }

    async fn answer(
        &self,
        session: &mut ServerSession,
        mut connected: Box<Connected>,
        target: &Target,
        life: &Lifeline,
        (allowed_origin, challenge): (Option<&HeaderValue>, Option<HeaderValue>),
    ) -> Result<StatusCode, Box<Error>> {
        let Some(response) = connected.session.response_header() else {
            return Error::e_explain(pingora::ErrorType::InternalError, "an exchange without a response head");
        };
        let status = response.status;
        let events = is_event_stream(response);
        if events || status == StatusCode::SWITCHING_PROTOCOLS {
            connected.turn.streams();
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let _open = OpenStream::count(self.metrics);
            session.write_response_header(Box::new(switching(response)?)).await?;
            let bounds = upgrade::Bounds {
                life,
                stopping: self.stopping.stream(),
                heartbeat: self.streams.websocket_heartbeat,
                max_duration: self.streams.max_duration,
                write_timeout: self.streams.write_timeout,
            };
            Box::pin(upgrade::pass(session, &mut connected, bounds)).await?;
            return Ok(status);
        }
        // What is compressed has no boundaries where a comment would fit.
        let plain = events && !response.headers.contains_key(header::CONTENT_ENCODING);
        let mut head = self.head(session, response, plain, allowed_origin)?;
        if events {
            head = headers::detached(&head)?;
        }
        headers::keep_location(&mut head, &target.upstream.authority)?;
        if let Some(challenge) = challenge {
            head.insert_header(header::WWW_AUTHENTICATE, challenge)?;
        }
        session.write_response_header(head).await?;
        let _open = events.then(|| OpenStream::count(self.metrics));
        if events {
            connected.session.set_read_timeout(None);
        }
        let get = session.req_header().method == Method::GET;
        let bounds = stream::Bounds {
            life,
            stopping: self.stopping.stream(),
            heartbeat: self.streams.heartbeat,
            max_duration: self.streams.max_duration,
            events: plain,
            endpoint: (plain && get).then(|| EndpointEvent::of(&target.upstream.authority)),
            filter: None,
        };
        let mut source = Source::new(connected, events);
        if stream::pass(session, &mut source, bounds).await? == stream::End::Complete
            && let Some(connected) = source.into_connected().await
        {
            Box::pin(self.peers.release(*connected)).await;
        }
        Ok(status)
    }

    fn head(
        &self,
        session: &ServerSession,
        response: &ResponseHeader,
        plain_events: bool,
        allowed_origin: Option<&HeaderValue>,
    ) -> pingora::Result<Box<ResponseHeader>> {
        let mut head = headers::for_caller(response, allowed_origin)?;
        let head_only = session.req_header().method == Method::HEAD;
        if is_event_stream(response) {
            // Tells nginx and its like in front of us not to collect the stream.
            head.insert_header("x-accel-buffering", "no")?;
        }
        if plain_events && !head_only {
            // Comments of ours come on top of it.
            head.remove_header(&header::CONTENT_LENGTH);
        }
        let bodiless = matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let http11 = session.req_header().version == Version::HTTP_11;
        if http11 && !bodiless && !head.headers.contains_key(header::CONTENT_LENGTH) {
            head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        Ok(head)
    }
}

/// Counts a stream for as long as it lives, however it ends.
struct OpenStream<'a>(&'a Metrics);

impl<'a> OpenStream<'a> {
    fn count(metrics: &'a Metrics) -> Self {
        metrics.open_streams.inc();
        Self(metrics)
    }
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        self.0.open_streams.dec();
    }
}

/// The head of a 101: here `Connection` and `Upgrade` are the point.
fn switching(response: &ResponseHeader) -> pingora::Result<ResponseHeader> {
    let mut head = *headers::for_caller(response, None)?;
    head.insert_header(header::CONNECTION, "Upgrade")?;
    head.insert_header(header::UPGRADE, "websocket")?;
    Ok(head)
}

fn status_of(connected: &Connected) -> Option<StatusCode> {
    connected.session.response_header().map(|head| head.status)
}

fn is_event_stream(response: &ResponseHeader) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let content_type = response.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type
        .and_then(|value| value.get(..EVENT_STREAM.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

impl From<BodyFailure> for Failure {
    fn from(failure: BodyFailure) -> Self {
        match failure {
            BodyFailure::Refused(refusal) => Failure::Refused(refusal),
            BodyFailure::Aborted(error) => Failure::Aborted(error),
        }
    }
}

impl From<ExchangeFailure> for Failure {
    fn from(failure: ExchangeFailure) -> Self {
        match failure {
            ExchangeFailure::Refused(refusal) => Failure::Refused(refusal),
            ExchangeFailure::Aborted(error) => Failure::Aborted(error),
        }
    }
}

impl From<NoCredential> for Failure {
    fn from(reason: NoCredential) -> Self {
        Failure::Refused(match reason {
            NoCredential::NeedsConsent => Refusal::Unauthorized(TokenError::NotConnected),
            NoCredential::Trouble { retry_after, fault } => {
                tracing::warn!(%fault, "an upstream's authorization server is in trouble");
                let timeout = fault.culprit == Culprit::UpstreamTimeout;
                Refusal::AuthorizationTrouble { timeout, retry_after }
            }
            NoCredential::Failed(fault) if fault.culprit == Culprit::Upstream => {
                tracing::warn!(%fault, "the upstream takes no credential of ours");
                Refusal::BadGateway(fault.public.into_owned())
            }
            NoCredential::Failed(fault) => {
                tracing::error!(%fault, "no credential");
                Refusal::Internal
            }
        })
    }
}
