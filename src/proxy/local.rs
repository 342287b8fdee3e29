//! The control plane behind the same listener: a session of the data plane on one side, an axum router on the other, no socket in
//! between (decision 7).

use super::body::content_length;
use super::patience::{Patience, is_late};
use super::reply::{self, Asked, Refusal};
use super::session::ServerSession;
use super::stopping::StreamEnd;
use super::stream;
use crate::config::ConnectionLimits;
use crate::life::Life;
use crate::request::{Arrival, Stay, TrustedProxy};
use axum::Router;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use std::sync::Arc;
use tower::ServiceExt;

/// The largest body of a request to the control plane, in bytes: client metadata and forms are small.
const MAX_BODY: usize = 64 * 1024;

/// Answers a request from the router.
///
/// # Errors
/// When the client is gone; the connection must not be used again then.
pub(super) async fn serve(
    session: &mut ServerSession,
    router: &Router,
    facts: (Arrival, Option<TrustedProxy>),
    (patience, stopping): (&ConnectionLimits, StreamEnd),
) -> Result<StatusCode> {
    let refusal = match read_body(session, patience).await {
        Ok(Some(body)) => return answer(session, router, facts, (body, stopping)).await,
        Ok(None) => Refusal::BodyTooLarge(MAX_BODY as u64),
        Err(error) if is_late(&error) => Refusal::BodyTimeout,
        Err(error) => return Err(error),
    };
    let asked = Asked::locally(session.req_header().uri.path());
    reply::refuse(session, &refusal, &asked).await?;
    Ok(refusal.status())
}

async fn answer(
    session: &mut ServerSession,
    router: &Router,
    (arrival, proxy): (Arrival, Option<TrustedProxy>),
    (body, stopping): (Bytes, StreamEnd),
) -> Result<StatusCode> {
    let mut request = to_http(session, body)?;
    let stay = Arc::new(Life::default());
    request.extensions_mut().insert(Stay(stay.clone()));
    request.extensions_mut().insert(arrival);
    if let Some(proxy) = proxy {
        request.extensions_mut().insert(proxy);
    }
    let answer = router.clone().oneshot(request);
    tokio::pin!(answer);
    // The answer comes first: the idle probe reads from the socket when it is polled.
    let response = tokio::select! { biased;
        response = &mut answer => match response { Ok(response) => response, Err(never) => match never {} },
        gone = session.read_body_or_leave(false) => {
            gone?;
            return Error::e_explain(ErrorType::ConnectionClosed, "the client left before the answer");
        }
    };
    let status = response.status();
    write(session, response, (stopping, &stay)).await?;
    Ok(status)
}

/// The whole body, or nothing when it is larger than [`MAX_BODY`].
async fn read_body(session: &mut ServerSession, patience: &ConnectionLimits) -> Result<Option<Bytes>> {
    if session.is_body_done() {
        return Ok(Some(Bytes::new()));
    }
    if content_length(session).is_some_and(|length| length > MAX_BODY as u64) {
        return Ok(None);
    }
    if session.req_header().headers.contains_key(header::EXPECT) {
        session.write_continue_response().await?;
    }
    let (mut body, mut patience) = (BytesMut::new(), Patience::new(patience));
    while let Some(chunk) = patience.piece(session).await? {
        if body.len() + chunk.len() > MAX_BODY {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.freeze()))
}

pub(super) fn to_http(session: &ServerSession, body: Bytes) -> Result<Request<Body>> {
    let head = session.req_header();
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = head.method.clone();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target
        .parse()
        .map_err(|cause| Error::because(ErrorType::InvalidHTTPHeader, "the request target is not a path", cause))?;
    *request.headers_mut() = head.headers.clone();
    Ok(request)
}

async fn write(
    session: &mut ServerSession,
    response: Response<Body>,
    (stopping, stay): (StreamEnd, &Life),
) -> Result<()> {
    let (head, body) = framed(session, response);
    let events = head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    session.write_response_header(Box::new(head)).await?;
    let Some(mut body) = body else { return session.write_response_body(Bytes::new(), true).await };
    if events {
        return follow(session, body, stopping, stay).await;
    }
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(broken_off)?.into_data() {
            session.write_response_body(data, false).await?;
            session.flush().await?;
        }
    }
    session.write_response_body(Bytes::new(), true).await
}

/// Writes a stream of events until it ends. It is told when the gateway stops, and ends at once when the caller leaves.
async fn follow(session: &mut ServerSession, mut body: Body, mut stopping: StreamEnd, stay: &Life) -> Result<()> {
    loop {
        tokio::select! { biased;
            frame = body.frame() => {
                let Some(frame) = frame else { break };
                if let Ok(data) = frame.map_err(broken_off)?.into_data() {
                    session.write_response_body(data, false).await?;
                }
            }
            gone = stream::caller_gone(session) => return Err(gone),
            () = stopping.due(), if !stay.has_ended() => stay.finish(),
        }
    }
    session.write_response_body(Bytes::new(), true).await
}

/// What becomes of an answer whose body breaks off.
pub(super) fn broken_off(cause: axum::Error) -> Box<Error> {
    Error::because(ErrorType::InternalError, "a local answer broke off", cause)
}

/// An answer as sessions write it; without a body when the request, or its status, allows none.
pub(super) fn framed(session: &ServerSession, response: Response<Body>) -> (ResponseHeader, Option<Body>) {
    let request = session.req_header();
    let (head_only, http11) = (request.method == Method::HEAD, request.version == Version::HTTP_11);
    let (mut parts, body) = response.into_parts();
    let bodiless = head_only || parts.status == StatusCode::NO_CONTENT || parts.status == StatusCode::NOT_MODIFIED;
    if !bodiless && !parts.headers.contains_key(header::CONTENT_LENGTH) {
        match body.size_hint().exact() {
            Some(length) => drop(parts.headers.insert(header::CONTENT_LENGTH, length.into())),
            // Without it, the body would end with the connection.
            None if http11 => {
                drop(parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked")));
            }
            None => {}
        }
    }
    parts.version = Version::HTTP_11;
    (ResponseHeader::from(parts), (!bodiless).then_some(body))
}
