//! The upstreams' side: one server that rotates refresh tokens and forgives no repetition.

use axum::Router;
use axum::extract::{Form, State};
use axum::http::{StatusCode, header};
use axum::response::Json;
use axum::routing::post;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long its access tokens live.
pub(super) const LIFE: Duration = Duration::from_secs(7000);

#[derive(Default)]
pub(super) struct Server {
    /// The newest token of each authorization, by its name.
    newest: Mutex<HashMap<String, usize>>,
    /// Of tokens that were exchanged before.
    replays: Mutex<usize>,
}

impl Server {
    /// Starts it on this machine; its address comes with it.
    pub(super) async fn start() -> (Arc<Self>, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (server, address) = (Arc::new(Self::default()), listener.local_addr().unwrap());
        // Nobody gets in without a token, or there would be nothing to connect.
        let unauthorized = || async { (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]) };
        let router = Router::new().route("/token", post(token)).fallback(unauthorized).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (server, address.to_string())
    }

    /// The person consents: the first tokens of an authorization of that name.
    pub(super) fn consent(&self, name: &str) -> (String, String) {
        self.newest.lock().insert(name.to_owned(), 0);
        (format!("at.{name}.0"), format!("rt.{name}.0"))
    }

    pub(super) fn replays(&self) -> usize {
        *self.replays.lock()
    }
}

async fn token(
    State(server): State<Arc<Server>>,
    Form(form): Form<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let (name, number) = form["refresh_token"].strip_prefix("rt.").unwrap().rsplit_once('.').unwrap();
    let mut newest = server.newest.lock();
    let known = newest.get_mut(name).unwrap();
    if number.parse::<usize>().ok() != Some(*known) {
        *server.replays.lock() += 1;
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" })));
    }
    *known += 1;
    let tokens = json!({
        "access_token": format!("at.{name}.{known}"),
        "refresh_token": format!("rt.{name}.{known}"),
        "token_type": "Bearer",
        "expires_in": LIFE.as_secs(),
    });
    (StatusCode::OK, Json(tokens))
}
