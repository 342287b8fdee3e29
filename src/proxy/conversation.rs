//! A request to an MCP server of our own: admitted like one to an upstream, answered in process. Its answer may be a stream of
//! events, which ends when the caller leaves, with the grant, or with the gateway.

use super::admit::Entry;
use super::body::Bodies;
use super::forward::{Failure, OpenStream};
use super::reply::{Refusal, TokenError};
use super::session::ServerSession;
use super::stopping::StreamEnd;
use super::{headers, lifeline, local, stream};
use crate::audit::Audit;
use crate::life::Life;
use crate::request::{Arrival, Stay};
use crate::telemetry::{Metrics, SharedSpan};
use crate::upstream::Upstream;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use pingora::{Error, ErrorType};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tower::ServiceExt;

/// How long an answer that had to end may go on: calls of tools finish, where streams of changes end at once.
const FINISHING: Duration = Duration::from_secs(10);
/// A stream without an end of its own is given this one: longer than any process lives.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What a conversation goes by.
pub(super) struct Conversation<'a> {
    /// The server.
    pub(super) router: &'a Router,
    /// Who may come in.
    pub(super) entry: &'a Entry,
    /// Whose it is, if it is one upstream's.
    pub(super) upstream: Option<&'a Arc<Upstream>>,
    /// Where from.
    pub(super) client: IpAddr,
    /// The page that asks, if it may read the answer.
    pub(super) allowed_origin: Option<&'a HeaderValue>,
    /// The memory for messages.
    pub(super) bodies: &'a Bodies,
    /// The largest message, in bytes.
    pub(super) max_body: usize,
    /// Ends it when the gateway stops.
    pub(super) stopping: StreamEnd,
    /// A stream is ended after this long.
    pub(super) max_duration: Option<Duration>,
    /// Counts streams.
    pub(super) metrics: &'a Metrics,
    /// Says whose they are.
    pub(super) audit: &'a Audit,
    /// Its span, if anybody wants traces.
    pub(super) trace: Option<&'a SharedSpan>,
}

/// When an answer has to end.
struct End<'a> {
    life: &'a Life,
    stay: Arc<Life>,
    stopping: StreamEnd,
    expires: Instant,
    /// When it is cut off, once it had to end.
    cut: Option<Instant>,
}

impl Conversation<'_> {
    /// Answers one request. Whoever is answered and leaves takes the work along: its future is dropped.
    ///
    /// # Errors
    /// The refusal to answer with, or that the caller is gone.
    pub(super) async fn serve(self, session: &mut ServerSession) -> Result<StatusCode, Failure> {
        let Some(mut message) = self.bodies.take_whole(session, self.max_body).await? else {
            return Err(Refusal::BodyTooLarge(self.max_body as u64).into());
        };
        let mut request = local::to_http(session, message.taken())?;
        let (token, stay) = (self.entry.token(), Arc::new(Life::default()));
        request.extensions_mut().insert(Arrival { realm: self.entry.realm().clone(), client: self.client });
        request.extensions_mut().insert(token.clone());
        request.extensions_mut().insert(Stay(stay.clone()));
        if let Some(trace) = self.trace {
            request.extensions_mut().insert(trace.clone());
        }
        let expires = Instant::now() + self.max_duration.unwrap_or(NEVER);
        let mut end = End { life: &token.life, stay, stopping: self.stopping.clone(), expires, cut: None };
        let answer = self.router.clone().oneshot(request);
        tokio::pin!(answer);
        let response = loop {
            // The answer comes first: the idle probe reads from the socket when it is polled.
            tokio::select! { biased;
                response = &mut answer => match response { Ok(response) => break response, Err(never) => match never {} },
                gone = stream::caller_gone(session) => return Err(Failure::Aborted(gone)),
                over = end.comes() => match over {
                    Over::Revoked => return Err(Refusal::Unauthorized(TokenError::Invalid).into()),
                    Over::Cut => return Err(Refusal::Busy.into()),
                    Over::Finish => {}
                },
            }
        };
        // The message has been read, and what is left of it is the server's to bound.
        drop(message);
        self.answer(session, response, end).await
    }

    async fn answer(
        &self,
        session: &mut ServerSession,
        response: Response<Body>,
        mut end: End<'_>,
    ) -> Result<StatusCode, Failure> {
        let (mut head, body) = local::framed(session, response);
        let status = head.status;
        let events = head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        headers::isolate(&mut head)?;
        if let Some(origin) = self.allowed_origin {
            headers::allow_origin(&mut head, origin)?;
        }
        session.write_response_header(Box::new(head)).await?;
        let Some(mut body) = body else {
            session.write_response_body(Bytes::new(), true).await?;
            return Ok(status);
        };
        let _open =
            events.then(|| (OpenStream::count(self.metrics), self.audit.opened(self.entry.token(), self.upstream)));
        loop {
            // Every frame of a stream is made of whole events: it can end after each.
            tokio::select! { biased;
                frame = body.frame() => {
                    let Some(frame) = frame else { break };
                    if let Ok(data) = frame.map_err(local::broken_off)?.into_data() {
                        end.bounds(session.write_response_body(data, false)).await?;
                    }
                }
                gone = stream::caller_gone(session) => return Err(Failure::Aborted(gone.into_down())),
                over = end.comes() => match over {
                    Over::Finish => {}
                    Over::Revoked | Over::Cut if events => break,
                    Over::Revoked | Over::Cut => {
                        let why = "what let the request in was revoked, or the gateway stops";
                        return Err(Error::explain(ErrorType::ConnectionClosed, why).into());
                    }
                },
            }
        }
        session.write_response_body(Bytes::new(), true).await?;
        Ok(status)
    }
}

/// What is over.
enum Over {
    /// What let the request in.
    Revoked,
    /// The time: the server has been told to finish.
    Finish,
    /// That time, too.
    Cut,
}

impl End<'_> {
    /// Waits for whatever comes next. Can be dropped and called again.
    async fn comes(&mut self) -> Over {
        let deadline = self.cut.unwrap_or(self.expires);
        tokio::select! { biased;
            () = self.life.ended() => Over::Revoked,
            () = self.stopping.due(), if self.cut.is_none() => self.finish(),
            () = tokio::time::sleep_until(deadline) => match self.cut {
                Some(_) => Over::Cut,
                None => self.finish(),
            },
        }
    }

    fn finish(&mut self) -> Over {
        self.stay.finish();
        self.cut = Some(Instant::now() + FINISHING);
        Over::Finish
    }

    /// A write to a caller that may not be reading.
    async fn bounds(&self, write: impl Future<Output = pingora::Result<()>>) -> Result<(), Failure> {
        let too_late = async {
            self.life.ended().await;
            tokio::time::sleep(lifeline::PATIENCE).await;
        };
        tokio::select! { biased;
            written = write => Ok(written?),
            () = too_late => {
                let why = "a caller that does not read, and was to be left";
                Err(Error::explain(ErrorType::ConnectionClosed, why).into())
            }
        }
    }
}
