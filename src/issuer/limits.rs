//! Limits of the endpoints that cost most, by address: a token request hashes and signs, a registration and a device's
//! request write a row, and whoever authenticates as a client may have us fetch that client's documents.

use super::Issuer;
use super::reply::Refused;
use crate::oauth::error::Code;
use crate::ratelimit::{Limited, RateLimits};
use crate::request::Arrival;
use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use std::net::IpAddr;
use std::sync::Arc;

/// Before `POST /token` and `POST /revoke`.
pub(super) async fn token(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
    next: Next,
) -> Response {
    pass(&issuer, RateLimits::check_token_endpoint, arrival.client, request, next).await
}

/// Before `POST /register` and `POST /device_authorization`.
pub(super) async fn registration(
    State(issuer): State<Arc<Issuer>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
    next: Next,
) -> Response {
    pass(&issuer, RateLimits::check_registration, arrival.client, request, next).await
}

async fn pass(
    issuer: &Issuer,
    check: fn(&RateLimits, IpAddr) -> Result<(), Limited>,
    address: IpAddr,
    request: Request,
    next: Next,
) -> Response {
    match check(&issuer.limits, address) {
        Ok(()) => next.run(request).await,
        Err(limited) => refusal(&limited),
    }
}

/// Says when to try again.
pub(super) fn refusal(limited: &Limited) -> Response {
    let refused = Refused::because(Code::TemporarilyUnavailable, "too many requests: see Retry-After");
    let mut response = Refused { status: StatusCode::TOO_MANY_REQUESTS, ..refused }.into_response();
    limited.write(response.headers_mut());
    response
}
