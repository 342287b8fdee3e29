//! One HTTP request to an upstream: with the person's credential, refreshed once when it is refused, within the upstream's
//! circuit breaker and the life of the credential.

use super::{CallError, Limits};
use crate::connect::{ConnectionKey, Connections, Credential, NoCredential, StepUp};
use crate::error::{Culprit, Fault};
use crate::http::{FetchError, HttpClient, Reuse, Streamed};
use crate::ids::Random;
use crate::life::Life;
use crate::oauth::challenge::BearerChallenge;
use crate::upstream::{Failure, HealthTable, Stage, Turn, Unavailable, Upstream};
use bytes::Bytes;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// The longest pause that an upstream's `Retry-After` is believed.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What all requests go out through.
pub(super) struct Wire {
    pub(super) http: HttpClient,
    pub(super) connections: Arc<Connections>,
    pub(super) health: HealthTable,
    pub(super) random: Random,
    pub(super) limits: Limits,
}

/// Where a request goes, and for whom.
#[derive(Clone, Copy)]
pub(super) struct To<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) key: &'a ConnectionKey,
    /// Path and query.
    pub(super) path: &'a str,
}

/// A request.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) reuse: Reuse,
}

/// The head of an answer, its body to come.
pub(super) struct Answer {
    pub(super) streamed: Streamed,
    /// The place in the upstream's queue; given back with the answer.
    pub(super) turn: Turn,
    /// That of the credential that was used.
    pub(super) life: Arc<Life>,
}

impl Wire {
    /// Sends a request and waits for the head of its answer, `patience` at most. A 401 leads to one refresh and one
    /// repetition.
    pub(super) async fn send(&self, to: To<'_>, out: &Outgoing, patience: Duration) -> Result<Answer, CallError> {
        let credential = self.connections.credential(to.key).await?;
        self.connections.use_now(&credential);
        let answer = self.attempt(to, out, &credential, patience).await?;
        if answer.streamed.status != StatusCode::UNAUTHORIZED {
            return self.permitted(to, &credential, answer).await;
        }
        let credential = self.renew(to, &credential, answer).await?;
        let answer = self.attempt(to, out, &credential, patience).await?;
        if answer.streamed.status != StatusCode::UNAUTHORIZED {
            return self.permitted(to, &credential, answer).await;
        }
        // Rejected twice in a row: `renew` takes that for the end of the connection.
        self.renew(to, &credential, answer).await?;
        Err(CallError::NeedsConsent)
    }

    /// The life of what the person uses the upstream with.
    pub(super) async fn life(&self, key: &ConnectionKey) -> Result<Arc<Life>, CallError> {
        Ok(self.connections.credential(key).await?.life().clone())
    }

    /// A place for a request among those that wait for the upstream.
    pub(super) fn turn(&self, upstream: &Upstream) -> Result<Turn, CallError> {
        self.health.of(&upstream.authority).begin().map_err(|unavailable| match unavailable {
            Unavailable::Busy => CallError::Unavailable {
                fault: Fault::upstream("too many requests wait for the upstream", &upstream.authority),
                retry_after: Some(Duration::from_secs(1)),
            },
            Unavailable::OutOfOrder { retry_after, timeout } => {
                let culprit = if timeout { Culprit::UpstreamTimeout } else { Culprit::Upstream };
                let private = format!("{} is out of order", upstream.authority);
                let fault = Fault { culprit, public: "the upstream is out of order".into(), private };
                CallError::Unavailable { fault, retry_after: Some(retry_after) }
            }
        })
    }

    /// Tells the upstream's health that there was no answer.
    pub(super) fn failed(&self, upstream: &Upstream, error: &FetchError) {
        let (stage, timeout) = match error {
            FetchError::Timeout(_) => (Stage::Answering, true),
            _ => (Stage::Connecting, false),
        };
        self.health.of(&upstream.authority).failed(&Failure { stage, timeout, why: error.to_string() });
    }

    async fn attempt(
        &self,
        to: To<'_>,
        out: &Outgoing,
        credential: &Credential,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        let mut turn = self.turn(to.upstream)?;
        let opens_stream = out.method == Method::GET;
        if opens_stream {
            // Some servers send the head of a stream with its first event.
            turn.yields();
        }
        let request = out.request(to, credential)?;
        let head = self.http.stream(request, to.upstream.allow_private, out.reuse);
        let life = credential.life().clone();
        let outcome = tokio::select! { biased;
            () = life.ended() => return Err(CallError::NeedsConsent),
            outcome = tokio::time::timeout(patience, head) => outcome,
        };
        let host = || to.upstream.authority.host().to_owned();
        match outcome.unwrap_or_else(|_| Err(FetchError::Timeout(host()))) {
            Ok(streamed) => {
                turn.answered();
                Ok(Answer { streamed, turn, life })
            }
            Err(error) => {
                if !opens_stream || !matches!(error, FetchError::Timeout(_)) {
                    self.failed(to.upstream, &error);
                }
                Err(error.into())
            }
        }
    }

    async fn renew(&self, to: To<'_>, rejected: &Credential, refused: Answer) -> Result<Arc<Credential>, CallError> {
        let challenge = refused.streamed.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        Ok(self.connections.renew(to.key, rejected, challenge).await?)
    }

    /// Looks at a 403: where the upstream asks for more scope, that is remembered for the next consent.
    async fn permitted(&self, to: To<'_>, used: &Credential, answer: Answer) -> Result<Answer, CallError> {
        if answer.streamed.status != StatusCode::FORBIDDEN {
            return Ok(answer);
        }
        let challenges = answer.streamed.headers.get_all(WWW_AUTHENTICATE).iter();
        let mut challenges = challenges.filter_map(|value| BearerChallenge::parse(value.to_str().ok()?));
        let demand = challenges.find(|challenge| challenge.error.as_deref() == Some("insufficient_scope"));
        let Some(demand) = demand else { return Ok(answer) };
        match self.connections.step_up(to.key, used, &demand).await.map_err(CallError::from)? {
            StepUp::Ask(_) => Err(CallError::NeedsConsent),
            StepUp::Final => Err(CallError::from(Fault::upstream(
                "the upstream refuses, and asking for more scope did not help",
                format!("{} asks for scope that nobody gets", to.upstream.authority),
            ))),
        }
    }
}

impl Outgoing {
    fn request(&self, to: To<'_>, credential: &Credential) -> Result<Request<Bytes>, CallError> {
        let url = format!("{}{}", to.upstream.authority.origin(), to.path);
        let request = Request::builder().method(self.method.clone()).uri(url).body(self.body.clone());
        let mut request = request.map_err(|error| CallError::from(Fault::gateway(error)))?;
        *request.headers_mut() = self.headers.clone();
        if let Some((name, value)) = credential.header() {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        Ok(request)
    }
}

impl Answer {
    /// Whether a stream of events follows.
    pub(super) fn is_events(&self) -> bool {
        self.has_type("text/event-stream")
    }

    /// Whether JSON follows.
    pub(super) fn is_json(&self) -> bool {
        self.has_type("application/json")
    }

    /// When to come again, as far as the upstream says.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.streamed.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
    }

    fn has_type(&self, expected: &str) -> bool {
        let value = self.streamed.headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        value
            .and_then(|value| value.get(..expected.len()))
            .is_some_and(|start| start.eq_ignore_ascii_case(expected.as_bytes()))
    }
}

impl From<NoCredential> for CallError {
    fn from(reason: NoCredential) -> Self {
        match reason {
            NoCredential::NeedsConsent => CallError::NeedsConsent,
            NoCredential::Trouble { retry_after, fault } => {
                CallError::Unavailable { fault, retry_after: Some(retry_after) }
            }
            NoCredential::Failed(fault) => fault.into(),
        }
    }
}

impl From<FetchError> for CallError {
    fn from(error: FetchError) -> Self {
        let culprit =
            if matches!(error, FetchError::Timeout(_)) { Culprit::UpstreamTimeout } else { Culprit::Upstream };
        let public = match error {
            FetchError::Timeout(_) => "the upstream did not answer in time",
            FetchError::TooLarge(_) => "the upstream sent more than an answer may have",
            _ => "the upstream cannot be reached",
        };
        Fault { culprit, public: public.into(), private: error.to_string() }.into()
    }
}

impl From<Fault> for CallError {
    fn from(fault: Fault) -> Self {
        CallError::Unavailable { fault, retry_after: None }
    }
}
