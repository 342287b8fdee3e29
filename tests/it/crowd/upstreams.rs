//! Two upstreams that say what they were shown, and notice when it is not the caller's: what a person sends is marked with
//! whose it is, and so are tokens and keys.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

/// The one whose authorizations have tokens, and the one to which people gave keys.
pub const WITH_TOKENS: usize = 0;
pub const WITH_KEYS: usize = 1;
/// Where keys are injected.
pub const KEY_FIELD: &str = "x-api-key";
/// How long access tokens live.
pub const LIFE: Duration = Duration::from_secs(3600);

pub struct Upstreams {
    pub addresses: [String; 2],
    crossed: AtomicUsize,
    refreshes: AtomicUsize,
    /// By person: how often the tokens were refreshed.
    newest: Mutex<HashMap<usize, usize>>,
}

impl Upstreams {
    pub async fn start() -> Arc<Self> {
        let listeners =
            [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
        let this = Arc::new(Self {
            addresses: listeners.each_ref().map(|listener| listener.local_addr().unwrap().to_string()),
            crossed: AtomicUsize::new(0),
            refreshes: AtomicUsize::new(0),
            newest: Mutex::default(),
        });
        for (which, listener) in listeners.into_iter().enumerate() {
            let here = this.clone();
            let answer = move |headers: HeaderMap, body: Bytes| async move { here.answer(which, &headers, &body) };
            let router =
                Router::new().route("/token", post(token)).with_state(this.clone()).route("/mcp", post(answer));
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        this
    }

    /// How often something came with a credential that was not its sender's.
    pub fn crossed(&self) -> usize {
        self.crossed.load(Ordering::SeqCst)
    }

    pub fn refreshes(&self) -> usize {
        self.refreshes.load(Ordering::SeqCst)
    }

    fn answer(&self, which: usize, headers: &HeaderMap, body: &[u8]) -> Response {
        let asked: Value = serde_json::from_slice(body).unwrap();
        let (name, other) = match which {
            WITH_TOKENS => ("authorization", KEY_FIELD),
            _ => (KEY_FIELD, "authorization"),
        };
        let shown = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let person = whose(which, shown);
        let canary = asked["params"]["canary"].as_str().unwrap_or_default();
        let sender = canary.split('-').nth(1).and_then(|number| number.parse().ok());
        if person.is_none()
            || person != sender
            || headers.contains_key(other)
            || headers.get_all(name).iter().count() != 1
        {
            self.crossed.fetch_add(1, Ordering::SeqCst);
        }
        let answer =
            json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"shown": shown, "canary": canary}}).to_string();
        // Every other person reads a stream, in pieces that are parts of lines.
        if sender.is_some_and(|sender| sender % 2 == 0) {
            return ([(header::CONTENT_TYPE, "application/json")], answer).into_response();
        }
        let event = format!("data: {answer}\n\n").into_bytes();
        let pieces: Vec<_> =
            event.chunks(48).map(|piece| Ok::<_, std::convert::Infallible>(Bytes::copy_from_slice(piece))).collect();
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
    }
}

/// The person that a credential was given to.
pub fn whose(which: usize, shown: &str) -> Option<usize> {
    let prefix = if which == WITH_TOKENS { "Bearer access-" } else { "key-" };
    shown.strip_prefix(prefix)?.split('-').next()?.parse().ok()
}

/// The tokens of a person, as often refreshed as that.
pub fn tokens_of(person: usize, number: usize) -> (String, String) {
    (format!("access-{person}-{number}"), format!("refresh-{person}-{number}"))
}

/// Rotates, and gives nothing for what was exchanged before.
async fn token(
    State(upstreams): State<Arc<Upstreams>>,
    Form(form): Form<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let presented = form["refresh_token"].strip_prefix("refresh-").unwrap().split_once('-').unwrap();
    let (person, number): (usize, usize) = (presented.0.parse().unwrap(), presented.1.parse().unwrap());
    let mut newest = upstreams.newest.lock();
    let newest = newest.entry(person).or_default();
    if *newest != number {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" })));
    }
    *newest += 1;
    upstreams.refreshes.fetch_add(1, Ordering::SeqCst);
    let (access, refresh) = tokens_of(person, *newest);
    let tokens =
        json!({"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": LIFE.as_secs()});
    (StatusCode::OK, Json(tokens))
}
