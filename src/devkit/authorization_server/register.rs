//! Dynamic client registration (RFC 7591).

use super::state::{Client, Shared};
use super::{Misbehaviour, token};
use crate::oauth::error::Code;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn register(State(shared): State<Arc<Shared>>, body: String) -> Response {
    shared.remember("register", vec![("body".to_owned(), body.clone())]);
    if shared.misbehaves(Misbehaviour::RegistrationRefused) {
        return token::error(Code::InvalidClientMetadata, "registration is closed");
    }
    let Ok(Value::Object(mut document)) = serde_json::from_str::<Value>(&body) else {
        return token::error(Code::InvalidClientMetadata, "a JSON object is expected");
    };
    let redirect_uris: Vec<String> =
        document.get("redirect_uris").and_then(|uris| serde_json::from_value(uris.clone()).ok()).unwrap_or_default();
    if redirect_uris.is_empty() || !redirect_uris.iter().all(|uri| is_acceptable(uri)) {
        return token::error(Code::InvalidRedirectUri, "https, or http on loopback, is expected");
    }
    let method = document.get("token_endpoint_auth_method").and_then(Value::as_str).unwrap_or("client_secret_basic");
    let secret = match method {
        "none" => None,
        "client_secret_basic" | "client_secret_post" => Some(format!("demo_cs_{}", *shared.random.token())),
        _ => return token::error(Code::InvalidClientMetadata, "that token_endpoint_auth_method is not supported"),
    };
    document.insert("token_endpoint_auth_method".to_owned(), json!(method));
    let name = document.get("client_name").and_then(Value::as_str).unwrap_or("a program without a name").to_owned();
    let id = add(&shared, Client { name, redirect_uris, secret: secret.clone() });
    document.insert("client_id".to_owned(), json!(id));
    document.insert("client_id_issued_at".to_owned(), json!(shared.clock.now().seconds()));
    if let Some(secret) = secret {
        document.insert("client_secret".to_owned(), json!(secret));
        document.insert("client_secret_expires_at".to_owned(), json!(0));
    }
    (StatusCode::CREATED, token::NO_STORE, axum::Json(document)).into_response()
}

pub(super) fn by_hand(shared: &Shared, redirect_uri: &str) -> (String, String) {
    let secret = format!("demo_cs_{}", *shared.random.token());
    let client = Client {
        name: "a client registered by hand".to_owned(),
        redirect_uris: vec![redirect_uri.to_owned()],
        secret: Some(secret.clone()),
    };
    (add(shared, client), secret)
}

fn add(shared: &Shared, client: Client) -> String {
    let id = format!("client-{}", &shared.random.token()[..12]);
    let mut state = shared.state.lock();
    state.counters.registrations += 1;
    state.clients.insert(id.clone(), client);
    id
}

fn is_acceptable(uri: &str) -> bool {
    let Ok(uri) = url::Url::parse(uri) else { return false };
    let loopback = uri
        .host_str()
        .is_some_and(|host| matches!(host, "127.0.0.1" | "[::1]" | "localhost") || host.ends_with(".localhost"));
    uri.fragment().is_none() && (uri.scheme() == "https" || (uri.scheme() == "http" && loopback))
}
