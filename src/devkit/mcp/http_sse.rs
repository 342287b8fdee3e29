//! HTTP+SSE of 2024-11-05: a stream that first names the address for messages, and carries all answers.

use super::events;
use super::{Caller, Shared};
use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Opens a session; it ends with the stream.
pub(super) async fn stream(State(shared): State<Arc<Shared>>) -> Response {
    let id = shared.open_session();
    let receiver = shared.session(&id);
    let first = events::event("endpoint", &format!("/messages?session={id}"));
    let open = Open { shared: shared.clone(), id };
    let messages = stream::iter(receiver).flat_map(|receiver| events::pushed(receiver).boxed()).map(move |message| {
        let _bound_to_the_stream = &open;
        events::message(&message)
    });
    events::response(&shared, stream::iter([first]).chain(messages))
}

/// Takes a message; its answer goes down the stream of its session.
pub(super) async fn message(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<HashMap<String, String>>,
    body: String,
) -> Response {
    let id = query.get("session").map(String::as_str).unwrap_or_default();
    let Some(sender) = shared.sessions.lock().get(id).cloned() else {
        return (StatusCode::NOT_FOUND, "Session not found").into_response();
    };
    let Ok(message) = serde_json::from_str::<Value>(&body) else {
        return (StatusCode::BAD_REQUEST, "the body is not JSON").into_response();
    };
    shared.recorder.message(message.clone());
    let sender = sender.downgrade();
    tokio::spawn(shared.stop.clone().bound(events::replies(message, caller)).for_each(move |reply| {
        // Nobody listens any more: then nobody waits for the answer either.
        let _ = sender.upgrade().map(|sender| sender.send(reply));
        std::future::ready(())
    }));
    (StatusCode::ACCEPTED, "Accepted").into_response()
}

struct Open {
    shared: Arc<Shared>,
    id: String,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.sessions.lock().remove(&self.id);
    }
}
