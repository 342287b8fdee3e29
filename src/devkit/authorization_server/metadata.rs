//! Discovery: RFC 8414 §3 and OpenID Connect Discovery §4, with the issuer's path in every place it can have.

use super::state::Shared;
use super::{Misbehaviour, SCOPES};
use crate::oauth::metadata::AuthorizationServer as Metadata;
use crate::paths::{AUTHORIZATION_SERVER, OPENID_CONFIGURATION, inserted};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// Twice what a careful client reads.
const HUGE: usize = 2 * 1024 * 1024;

pub(super) fn routes(issuer_path: &str) -> Router<Arc<Shared>> {
    let router = Router::new()
        .route(&inserted(AUTHORIZATION_SERVER, issuer_path), get(oauth))
        .route(&inserted(OPENID_CONFIGURATION, issuer_path), get(openid));
    if issuer_path.is_empty() {
        return router;
    }
    router.route(&format!("{issuer_path}{OPENID_CONFIGURATION}"), get(openid))
}

async fn oauth(State(shared): State<Arc<Shared>>) -> Response {
    if shared.misbehaves(Misbehaviour::OnlyOpenId) {
        return StatusCode::NOT_FOUND.into_response();
    }
    openid(State(shared)).await
}

async fn openid(State(shared): State<Arc<Shared>>) -> Response {
    shared.state.lock().counters.metadata += 1;
    if shared.misbehaves(Misbehaviour::NoMetadata) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let document = serde_json::to_string(&document(&shared)).unwrap_or_default();
    let body = if shared.misbehaves(Misbehaviour::SlowMetadata) {
        drip(document, &shared)
    } else if shared.misbehaves(Misbehaviour::HugeMetadata) {
        Body::from(format!("{document}{}", " ".repeat(HUGE)))
    } else {
        Body::from(document)
    };
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn document(shared: &Shared) -> Metadata {
    let issuer = shared.issuer();
    let endpoint = |name: &str| Some(format!("{issuer}/{name}"));
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    Metadata {
        authorization_endpoint: endpoint("authorize"),
        token_endpoint: endpoint("token"),
        registration_endpoint: endpoint("register").filter(|_| !shared.misbehaves(Misbehaviour::NoRegistration)),
        revocation_endpoint: endpoint("revoke"),
        scopes_supported: list(&SCOPES),
        response_types_supported: list(&["code"]),
        response_modes_supported: list(&["query"]),
        grant_types_supported: list(&["authorization_code", "refresh_token"]),
        token_endpoint_auth_methods_supported: list(&["none", "client_secret_basic", "client_secret_post"]),
        code_challenge_methods_supported: list(if shared.misbehaves(Misbehaviour::WithoutS256) {
            &[]
        } else {
            &["S256"]
        }),
        authorization_response_iss_parameter_supported: true,
        issuer: if shared.misbehaves(Misbehaviour::WrongIssuer) { "https://issuer.invalid".to_owned() } else { issuer },
        ..Metadata::default()
    }
}

/// The document, a byte a second.
fn drip(document: String, shared: &Shared) -> Body {
    let bytes = stream::unfold(document.into_bytes().into_iter(), |mut rest| async {
        let byte = rest.next()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, Infallible>(Bytes::from(vec![byte])), rest))
    });
    Body::from_stream(shared.stop.clone().bound(bytes))
}
