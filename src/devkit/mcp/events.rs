//! Server-sent events: answers and notifications as streams.

use super::answer::Slow;
use super::{Caller, Shared, answer};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use serde_json::Value;
use std::convert::Infallible;
use tokio::sync::broadcast;

/// What the client takes, by its `Accept`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepts {
    Json,
    Events,
    Both,
    Neither,
}

impl Accepts {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let types: Vec<&str> = values
            .flat_map(|value| value.split(','))
            .filter_map(|item| item.split(';').next())
            .map(str::trim)
            .collect();
        let takes = |kind: &str, group: &str| types.iter().any(|t| *t == kind || *t == group || *t == "*/*");
        match (takes("application/json", "application/*"), takes("text/event-stream", "text/*")) {
            (true, true) => Self::Both,
            (true, false) => Self::Json,
            (false, true) => Self::Events,
            // No Accept at all means anything (RFC 9110 §12.5.1).
            (false, false) if types.is_empty() => Self::Json,
            (false, false) => Self::Neither,
        }
    }

    pub(super) fn events(self) -> bool {
        matches!(self, Self::Events | Self::Both)
    }
}

/// One event.
pub(super) fn event(kind: &str, data: &str) -> String {
    format!("event: {kind}\ndata: {data}\n\n")
}

pub(super) fn message(message: &Value) -> String {
    event("message", &message.to_string())
}

/// A response of events that ends with its server.
pub(super) fn response(shared: &Shared, events: impl Stream<Item = String> + Send + 'static) -> Response {
    streaming(shared.stop.clone().bound(events))
}

/// A response of events that knows itself when to end.
pub(super) fn streaming(events: impl Stream<Item = String> + Send + 'static) -> Response {
    let bytes = events.map(|event| Ok::<_, Infallible>(Bytes::from(event)));
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
    ];
    (headers, Body::from_stream(bytes)).into_response()
}

/// What a request is answered with: the progress of `slow` at its pace, then the answer itself.
pub(super) fn replies(request: Value, who: Caller) -> impl Stream<Item = Value> + Send {
    let slow = Slow::of(&request);
    // One round more than there are steps: the pause comes behind each step, so the answer never overtakes the last.
    let rounds = slow.as_ref().map_or(0, |slow| slow.steps + 1);
    let progress = stream::iter(1..=rounds).filter_map(move |step| {
        let (delay, progress) = match &slow {
            Some(slow) => (slow.delay, if step < rounds { slow.progress(step) } else { None }),
            None => Default::default(),
        };
        async move {
            if step > 1 {
                tokio::time::sleep(delay).await;
            }
            progress
        }
    });
    progress.chain(stream::iter(answer(&request, &who)))
}

/// What arrives on a channel, until its sender is gone. A reader that is too slow misses messages.
pub(super) fn pushed(receiver: broadcast::Receiver<Value>) -> impl Stream<Item = Value> + Send {
    stream::unfold(receiver, |mut receiver| async {
        loop {
            match receiver.recv().await {
                Ok(message) => return Some((message, receiver)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}
