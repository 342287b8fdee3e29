//! In front of every MCP endpoint: recording, misbehaving, and the check of the bearer token with its challenge
//! (RFC 6750 §3, RFC 9728 §5.1); beside them the protected resource's metadata.

use super::{Caller, Lie, Misbehaviour, Protection, Request, Shared};
use crate::devkit::authorization_server::SCOPES;
use crate::oauth::metadata::ProtectedResource;
use crate::paths::{PROTECTED_RESOURCE, inserted};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{StreamExt, stream};
use std::io;
use std::sync::Arc;

/// The largest answer that can be cut in half, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

pub(super) async fn admit(
    State(shared): State<Arc<Shared>>,
    mut request: axum::extract::Request,
    next: Next,
) -> Response {
    let uri = request.uri();
    let path = uri.path().to_owned();
    shared.recorder.request(Request {
        method: request.method().clone(),
        target: uri.path_and_query().map_or_else(|| path.clone(), ToString::to_string),
        headers: request.headers().clone(),
    });
    let misbehaviour = shared.misbehaviours.lock().pop_front();
    match &misbehaviour {
        Some(Misbehaviour::Unauthorized) => return unauthorized(&shared, &path, true),
        Some(Misbehaviour::InsufficientScope) => return insufficient_scope(&shared, &path, &SCOPES.join(" ")),
        Some(Misbehaviour::Status(status)) => return (*status, "the demo server was told to say this").into_response(),
        Some(Misbehaviour::Redirect(to)) => {
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to.clone())]).into_response();
        }
        Some(Misbehaviour::NeverAnswer) => {
            shared.stop.clone().requested().await;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        Some(Misbehaviour::DropMidBody | Misbehaviour::Headers(_)) | None => {}
    }
    let caller = match identify(&shared, &request) {
        Ok(caller) => caller,
        Err(presented) => return unauthorized(&shared, &path, presented),
    };
    request.extensions_mut().insert(caller);
    let answer = next.run(request).await;
    match misbehaviour {
        Some(Misbehaviour::DropMidBody) => cut(answer).await,
        Some(Misbehaviour::Headers(headers)) => decorated(answer, &headers),
        _ => answer,
    }
}

pub(super) fn metadata_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route(PROTECTED_RESOURCE, get(|state: State<Arc<Shared>>| metadata(state, Path(String::new()))))
        .route(&format!("{PROTECTED_RESOURCE}/{{*path}}"), get(metadata))
}

/// The caller, or whether a token was presented at all.
fn identify(shared: &Shared, request: &axum::extract::Request) -> Result<Caller, bool> {
    let server = &shared.origin;
    let anybody = |user: &str| Caller { user: user.to_owned(), scopes: String::new(), server: server.clone() };
    match &shared.protection {
        Protection::Open => Ok(anybody("anonymous")),
        Protection::Header(name, value) => match request.headers().get(name) {
            Some(given) if given == value => Ok(anybody("key holder")),
            given => Err(given.is_some()),
        },
        Protection::Bearer(tokens) => {
            let value = request.headers().get(header::AUTHORIZATION).ok_or(false)?;
            let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).ok_or(false)?;
            tokens.check(token, &shared.origin).ok_or(true)
        }
    }
}

fn unauthorized(shared: &Shared, path: &str, presented: bool) -> Response {
    let error = if presented { Some("invalid_token") } else { None };
    let text = "{\"error\":\"invalid_token\",\"error_description\":\"a token of Demo Notes is required\"}";
    let headers = [(header::CONTENT_TYPE, "application/json".to_owned())];
    let mut answer = (StatusCode::UNAUTHORIZED, headers, text).into_response();
    challenge(shared, path, error, SCOPES[0], &mut answer);
    answer
}

/// 403, asking for `scope`.
pub(super) fn insufficient_scope(shared: &Shared, path: &str, scope: &str) -> Response {
    let mut answer = (StatusCode::FORBIDDEN, "more scope is required").into_response();
    challenge(shared, path, Some("insufficient_scope"), scope, &mut answer);
    answer
}

fn challenge(shared: &Shared, path: &str, error: Option<&str>, scope: &str, answer: &mut Response) {
    if matches!(shared.protection, Protection::Header(..)) {
        return;
    }
    let mut parts = Vec::new();
    if !shared.lies(Lie::BareChallenge) {
        parts.extend(error.map(|error| format!("error=\"{error}\"")));
        if !shared.lies(Lie::NoResourceMetadata) {
            parts.push(format!(
                "resource_metadata=\"{}{}\"",
                shared.origin,
                inserted(PROTECTED_RESOURCE, resource_path(path))
            ));
        }
        parts.push(format!("scope=\"{scope}\""));
    }
    let value = format!("Bearer {}", parts.join(", "));
    if let Ok(value) = HeaderValue::from_str(value.trim_end()) {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
}

/// Messages of the HTTP+SSE transport belong to the resource that their stream is.
fn resource_path(path: &str) -> &str {
    if path == "/messages" { "/sse" } else { path }
}

async fn metadata(State(shared): State<Arc<Shared>>, Path(path): Path<String>) -> Response {
    let Protection::Bearer(tokens) = &shared.protection else { return StatusCode::NOT_FOUND.into_response() };
    if shared.lies(Lie::NoResourceMetadata) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let slash = if path.is_empty() { "" } else { "/" };
    let resource = if shared.lies(Lie::WrongResource) {
        "https://resource.invalid/mcp".to_owned()
    } else {
        format!("{}{slash}{path}", shared.origin)
    };
    axum::Json(ProtectedResource {
        resource,
        authorization_servers: vec![tokens.issuer()],
        scopes_supported: SCOPES.iter().map(|scope| (*scope).to_owned()).collect(),
        bearer_methods_supported: vec!["header".to_owned()],
        resource_name: Some("Demo Notes".to_owned()),
        ..Default::default()
    })
    .into_response()
}

fn decorated(mut answer: Response, headers: &[(&'static str, &'static str)]) -> Response {
    for (name, value) in headers {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            answer.headers_mut().append(name, HeaderValue::from_static(value));
        }
    }
    answer
}

/// The first half of a finite answer, then an error that makes the server close the connection without an end.
async fn cut(answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    let bytes = axum::body::to_bytes(body, MAX_ANSWER).await.unwrap_or_default();
    let half = bytes.slice(..bytes.len() / 2);
    parts.headers.remove(header::CONTENT_LENGTH);
    let torn = stream::once(async { Ok::<Bytes, io::Error>(half) }).chain(stream::once(async {
        // Once pending, so that what came before leaves before the connection goes.
        tokio::task::yield_now().await;
        Err(io::Error::other("the demo server was told to stop here"))
    }));
    Response::from_parts(parts, Body::from_stream(torn))
}
