//! A token endpoint that rotates, on a real socket, and remembers who asked for what. Refresh tokens are `rt-0`, `rt-1`…

use axum::Router;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::Json;
use axum::routing::post;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// What happens to a refresh token that was exchanged already.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Replay {
    /// Until its successor is used, it gets the same successor again.
    Forgiven,
    /// It is refused.
    Refused,
    /// It is refused, and the whole family ends (OAuth 2.1 §4.3.1).
    Fatal,
}

pub(super) struct Rotator {
    pub(super) authority: String,
    family: Mutex<Family>,
}

struct Family {
    replay: Replay,
    newest: usize,
    alive: bool,
    /// The presented tokens, and what was answered.
    calls: Vec<(usize, bool)>,
}

impl Rotator {
    pub(super) async fn start(replay: Replay) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let family = Mutex::new(Family { replay, newest: 0, alive: true, calls: Vec::new() });
        let rotator = Arc::new(Self { authority, family });
        let router = Router::new().route("/token", post(token)).with_state(rotator.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        rotator
    }

    pub(super) fn calls(&self) -> usize {
        self.family.lock().calls.len()
    }

    pub(super) fn refusals(&self) -> usize {
        self.family.lock().calls.iter().filter(|(_, granted)| !granted).count()
    }

    /// The number of the newest refresh token, and of the access token that came with it.
    pub(super) fn newest(&self) -> usize {
        self.family.lock().newest
    }

    /// The person signs in again: the first token of a new family.
    pub(super) fn consent(&self) -> usize {
        let mut family = self.family.lock();
        family.newest += 1;
        family.alive = true;
        family.newest
    }
}

async fn token(
    State(rotator): State<Arc<Rotator>>,
    Form(form): Form<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let mut family = rotator.family.lock();
    let presented: usize = form["refresh_token"].strip_prefix("rt-").unwrap().parse().unwrap();
    let is_newest = presented == family.newest;
    let again = presented + 1 == family.newest && family.replay == Replay::Forgiven;
    let granted = family.alive && (is_newest || again);
    family.calls.push((presented, granted));
    if !granted {
        family.alive &= family.replay == Replay::Refused;
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" })));
    }
    family.newest = presented + 1;
    let number = family.newest;
    let tokens = json!({
        "access_token": format!("at-{number}"),
        "refresh_token": format!("rt-{number}"),
        "token_type": "Bearer",
        "expires_in": 7200,
    });
    (StatusCode::OK, Json(tokens))
}
