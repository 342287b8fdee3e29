//! The public signing keys (RFC 7517 §5).

use super::Issuer;
use crate::tokens::JWKS_MAX_AGE;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use std::sync::Arc;

/// `GET /jwks`
pub(super) async fn get(State(issuer): State<Arc<Issuer>>) -> Response {
    let cache_control = format!("public, max-age={}", JWKS_MAX_AGE.as_secs());
    ([(CACHE_CONTROL, cache_control)], Json(issuer.tokens.jwks())).into_response()
}
