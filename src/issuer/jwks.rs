//! The public signing keys (RFC 7517 §5).

use super::Issuer;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use std::sync::Arc;

/// `GET /jwks`
pub(super) async fn get(State(issuer): State<Arc<Issuer>>) -> Response {
    ([(CACHE_CONTROL, "public, max-age=300")], Json(issuer.tokens.jwks())).into_response()
}
