//! From a permit and a credential to a complete answer: forward, refresh once when the upstream says 401, reply.

use super::admit::Permit;
use super::body::{Bodies, BodyFailure};
use super::endpoint::EndpointEvent;
use super::exchange::{Exchange, ExchangeFailure};
use super::filter::{self, EventFilter};
use super::headers::{CallerHead, Delivery, Isolation};
use super::lifeline::Lifeline;
use super::peek::Asked;
use super::peer::{Connected, Peers};
use super::policy::{self, Enforced};
use super::record::Record;
use super::reply::{self, Refusal, TokenError};
use super::route::Target;
use super::session::ServerSession;
use super::stopping::Stopping;
use super::{stepup, stream, upgrade};
use crate::config::Streams;
use crate::connect::{Connections, Credential, NoCredential};
use crate::error::{Culprit, Fault};
use crate::telemetry::{Metrics, SharedSpan};
use http::{HeaderValue, Method, StatusCode, Version, header};
use pingora::Error;
use pingora::http::ResponseHeader;
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
    /// The request's span, if anybody wants traces.
    pub(super) trace: Option<&'a SharedSpan>,
}

/// The head of an answer, and by what its body goes.
struct Answer<'t> {
    connected: Box<Connected>,
    life: Lifeline,
    /// In the place of the upstream's own.
    challenge: Option<HeaderValue>,
    enforced: Option<Enforced<'t>>,
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
        (target, permit): (&Target, &Permit),
        isolation: &Isolation<'_>,
        record: &mut Record<'_>,
    ) -> Result<StatusCode, Failure> {
        // On the heap, as all that is over when the answer begins: a stream has no room for it while it lives.
        let mut answer = Box::pin(self.request(session, target, permit, record)).await?;
        let challenge = answer.challenge.take();
        let isolation = Isolation { challenge: challenge.as_ref(), ..*isolation };
        self.answer(session, answer, &isolation, record).await
    }

    /// Sends the request, a second time when the upstream says 401, until there is an answer to pass on.
    async fn request<'t>(
        &self,
        session: &mut ServerSession,
        target: &'t Target,
        permit: &Permit,
        record: &mut Record<'_>,
    ) -> Result<Answer<'t>, Failure> {
        let tools = target.upstream.tools.as_ref();
        let mut body = match tools {
            None => self.bodies.take(session).await?,
            Some(_) => policy::take(self.bodies, session).await?,
        };
        let headers = &session.req_header().headers;
        let asked = match tools {
            None => Asked::by(headers, body.kept()),
            Some(_) => Asked::by_body(body.kept()),
        };
        let calls_a_tool = asked.calls_a_tool;
        record.asks(asked);
        let enforced = tools.map(|tools| policy::enforce(tools, headers, body.kept())).transpose()?;
        let mut credential = self.connections.credential(permit.key()).await?;
        self.connections.use_now(&credential);
        let exchange = Exchange {
            peers: self.peers,
            upstream: &target.upstream,
            health: &target.health,
            key: permit.key(),
            response_timeout: self.streams.response_timeout,
            calls_a_tool,
            trace: self.trace,
        };
        let mut life = Lifeline::new(permit, &credential);
        let mut connected = exchange.send(session, &mut body, &credential, &life).await?;
        if record.is_unclear() {
            // What came without a length has been read by now, if it is small.
            record.asks(Asked::by(&session.req_header().headers, body.kept()));
        }
        if status_of(&connected) == Some(StatusCode::UNAUTHORIZED) {
            credential = self.renew(permit, &credential, connected).await?;
            if !body.is_repeatable() {
                return Err(Refusal::Unauthorized(TokenError::Invalid).into());
            }
            life = Lifeline::new(permit, &credential);
            connected = exchange.send(session, &mut body, &credential, &life).await?;
            if status_of(&connected) == Some(StatusCode::UNAUTHORIZED) {
                // Rejected twice in a row: `renew` takes that for the end of the connection.
                self.renew(permit, &credential, connected).await?;
                return Err(Refusal::Unauthorized(TokenError::NotConnected).into());
            }
        }
        let challenge = match connected.session.response_header() {
            Some(response) if response.status == StatusCode::FORBIDDEN => {
                let asked = (target, permit, session.req_header().uri.path());
                stepup::challenge(self.connections, asked, &credential, response).await
            }
            _ => None,
        };
        Ok(Answer { connected: Box::new(connected), life, challenge, enforced })
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
        self.peers.release(refused);
        Ok(self.connections.renew(permit.key(), rejected, challenge.as_deref()).await?)
    }

    async fn answer(
        &self,
        session: &mut ServerSession,
        Answer { mut connected, ref life, enforced, .. }: Answer<'_>,
        isolation: &Isolation<'_>,
        record: &mut Record<'_>,
    ) -> Result<StatusCode, Failure> {
        let Some(response) = connected.session.response_header() else { return Err(Refusal::Internal.into()) };
        let status = response.status;
        let events = is_event_stream(response);
        if events || status == StatusCode::SWITCHING_PROTOCOLS {
            connected.turn.yields();
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let _counted = record.streams();
            return Box::pin(self.switch(session, &mut connected, life, isolation)).await;
        }
        if let Some(enforced) = enforced.filter(|enforced| events || enforced.asks_for_tools) {
            filter::check_coding(response)?;
            if !events && !is_bodiless(response) {
                return Box::pin(self.answer_list(session, *connected, life, isolation, enforced)).await;
            }
        }
        // What is compressed has no boundaries where a comment would fit.
        let plain = events && filter::check_coding(response).is_ok();
        let request = session.req_header();
        let delivery = Delivery {
            events,
            // Comments of ours come on top of it, and denied tools go.
            changes: plain && request.method != Method::HEAD,
            chunked: request.version == Version::HTTP_11 && !is_bodiless(response),
        };
        session.write_answer(&CallerHead { response, isolation, delivery }).await?;
        let _open = events.then(|| (OpenStream::count(self.metrics), record.streams()));
        if events {
            session.streams();
            connected.session.streams();
        }
        let end = if plain {
            let get = session.req_header().method == Method::GET;
            let bounds = stream::Bounds {
                life,
                stopping: self.stopping.stream(),
                heartbeat: self.streams.heartbeat,
                max_duration: self.streams.max_duration,
                rewriting: stream::Rewriting {
                    endpoint: get.then(|| EndpointEvent::of(isolation.upstream)),
                    filter: enforced.map(|enforced| EventFilter::new(enforced.policy)),
                },
            };
            stream::pass_events(session, &mut connected.session, bounds).await?
        } else {
            stream::pass(session, &mut connected.session, life).await?
        };
        if end == stream::End::Complete {
            self.peers.release(*connected);
        }
        Ok(status)
    }

    /// A WebSocket, until it ends.
    async fn switch(
        &self,
        session: &mut ServerSession,
        connected: &mut Connected,
        life: &Lifeline,
        isolation: &Isolation<'_>,
    ) -> Result<StatusCode, Failure> {
        let Some(response) = connected.session.response_header() else { return Err(Refusal::Internal.into()) };
        if !session.is_upgrade_req() {
            let why = "the upstream switched protocols without being asked";
            return Err(Refusal::BadGateway(why.to_owned()).into());
        }
        let _open = OpenStream::count(self.metrics);
        session.write_response_header(Box::new(switching(response, isolation)?)).await?;
        let bounds = upgrade::Bounds {
            life,
            stopping: self.stopping.stream(),
            heartbeat: self.streams.websocket_heartbeat,
            max_duration: self.streams.max_duration,
            write_timeout: self.streams.write_timeout,
        };
        upgrade::pass(session, &mut connected.session, bounds).await?;
        Ok(StatusCode::SWITCHING_PROTOCOLS)
    }

    /// Passes on what may be a list of tools, as a whole and without those that are denied.
    async fn answer_list(
        &self,
        session: &mut ServerSession,
        mut connected: Connected,
        life: &Lifeline,
        isolation: &Isolation<'_>,
        enforced: Enforced<'_>,
    ) -> Result<StatusCode, Failure> {
        let (body, changed) = tokio::select! { biased;
            read = filter::whole_list(&mut connected, enforced.policy) => read?,
            gone = stream::caller_gone(session) => return Err(Failure::Aborted(gone)),
        };
        let Some(response) = connected.session.response_header() else { return Err(Refusal::Internal.into()) };
        let mut head = *CallerHead { response, isolation, delivery: Delivery::default() }.to_header()?;
        self.peers.release(connected);
        life.check().map_err(Refusal::Unauthorized)?;
        if changed {
            filter::OF_THE_BYTES.iter().for_each(|name| drop(head.remove_header(*name)));
        }
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
        let status = head.status;
        reply::write_whole(session, head, body).await?;
        Ok(status)
    }
}

/// Counts a stream for as long as it lives, however it ends.
pub(super) struct OpenStream<'a>(&'a Metrics);

impl<'a> OpenStream<'a> {
    pub(super) fn count(metrics: &'a Metrics) -> Self {
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
fn switching(response: &ResponseHeader, isolation: &Isolation<'_>) -> pingora::Result<ResponseHeader> {
    let mut head = *CallerHead { response, isolation, delivery: Delivery::default() }.to_header()?;
    head.insert_header(header::CONNECTION, "Upgrade")?;
    head.insert_header(header::UPGRADE, "websocket")?;
    Ok(head)
}

fn status_of(connected: &Connected) -> Option<StatusCode> {
    connected.session.response_header().map(|head| head.status)
}

fn is_bodiless(response: &ResponseHeader) -> bool {
    matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn is_event_stream(response: &ResponseHeader) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let content_type = response.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type
        .and_then(|value| value.get(..EVENT_STREAM.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

impl From<Box<Error>> for Failure {
    fn from(error: Box<Error>) -> Self {
        Failure::Aborted(error)
    }
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
            NoCredential::Failed(fault) => without_credential(fault),
        })
    }
}

/// What the caller is told when the credential could not be had; the log is told why.
fn without_credential(fault: Fault) -> Refusal {
    match fault.culprit {
        Culprit::Upstream => {
            tracing::warn!(%fault, "the upstream takes no credential of ours");
            Refusal::BadGateway(fault.public.into_owned())
        }
        Culprit::Busy => {
            tracing::warn!(%fault, "no credential for the moment");
            Refusal::Busy
        }
        _ => {
            tracing::error!(%fault, "no credential");
            Refusal::Internal
        }
    }
}
