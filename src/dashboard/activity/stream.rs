//! The log as it grows, as server-sent events. Every line is read from the database, so whatever node wrote it is seen at every node,
//! and a browser that comes back, to whichever node, goes on where it left off.

use super::asked::Asked;
use super::seats::{Seat, Seats};
use super::{by_ourselves, crowded, unclear};
use crate::audit::Walk;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::{self, Failure};
use crate::page::{Choice, LOG, LogLine};
use crate::request::Stay;
use crate::session::SignedIn;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, StatusCode, header};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the database is asked.
const PAUSE: Duration = if cfg!(test) { Duration::from_millis(5) } else { Duration::from_secs(1) };
/// How often something is said at least: proxies end what is silent, and a browser's position moves on.
const HEARTBEAT: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(15) };
/// How often the session is looked at while there is nothing to tell. No line is told without.
const LOOK: Duration = if cfg!(test) { Duration::from_millis(10) } else { Duration::from_secs(5) };
/// How long one stream lasts; a browser comes back by itself.
const LIFE: Duration = Duration::from_secs(3600);
/// How far back somebody is told what was missed, in lines.
const MISSED: u32 = 1000;
/// How many names of clients are remembered.
const NAMES: usize = 1000;

/// `GET /activity/stream`
pub(super) async fn follow(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(seats): Extension<Arc<Seats>>,
    stay: Option<Extension<Stay>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let person = dashboard.person(&headers, LOG).await?;
    by_ourselves(&headers)?;
    // Whoever opens the address by hand would wait for a page that never ends.
    if !headers.get(header::ACCEPT).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
        let (title, text) = ("This is for the page with the log", "What comes here are events, which the page shows.");
        return Ok(failure::message(StatusCode::NOT_ACCEPTABLE, title, text, None));
    }
    let question = match asked.question(&person.user) {
        Ok(question) => question,
        Err(why) => return Ok(unclear(why)),
    };
    let Some(seat) = seats.take(person.user.id) else { return Ok(crowded()) };
    let walk = question.wanted.from_now_on(dashboard.store.clone(), last_seen(&headers).or(asked.after)).await?;
    let now = Instant::now();
    let tail = Tail {
        dashboard,
        person,
        choice: question.choice,
        walk,
        stay: stay.map(|Extension(stay)| stay),
        names: HashMap::new(),
        _seat: seat,
        ends: now + LIFE,
        told: None,
        looked: now,
    };
    let body = Body::from_stream(stream::unfold(tail, Tail::next));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        // nginx, which waits for more otherwise.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

/// Where a browser that comes back left off: it says so by itself.
fn last_seen(headers: &HeaderMap) -> Option<i64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// Somebody who follows the log.
struct Tail {
    dashboard: Arc<Dashboard>,
    person: SignedIn,
    choice: Choice,
    walk: Walk,
    stay: Option<Stay>,
    names: HashMap<String, String>,
    _seat: Seat,
    ends: Instant,
    /// When something was said last.
    told: Option<Instant>,
    /// When the session was looked at last.
    looked: Instant,
}

impl Tail {
    /// What is said next, when there is something to say; nothing when it is over.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            if self.ends <= Instant::now() || self.stay.as_ref().is_some_and(|stay| stay.0.has_ended()) {
                return None;
            }
            let text = match self.gather().await {
                Ok(text) => text,
                Err(failure) => {
                    // The page of the failure is nobody's: the log has it, and the browser comes back.
                    drop(failure.into_response());
                    return None;
                }
            };
            let now = Instant::now();
            if (!text.is_empty() || now - self.looked >= LOOK) && !self.may_go_on().await {
                return None;
            }
            let is_first = self.told.is_none();
            if !text.is_empty() || self.told.is_none_or(|told| now - told >= HEARTBEAT) {
                self.told = Some(now);
                let retry = if is_first { "retry: 3000\n" } else { "" };
                let text = format!("{text}{retry}id: {}\n\n", self.walk.position());
                return Some((Ok(text.into()), self));
            }
            self.pause().await;
        }
    }

    /// Lines as events; an empty text when there are none.
    async fn gather(&mut self) -> Result<String, Failure> {
        let mut text = String::new();
        if self.walk.catch_up(MISSED).await? {
            text.push_str("event: skipped\ndata: lines\n\n");
        }
        while let Some(lines) = self.walk.step().await? {
            let strange = lines.iter().filter_map(|line| line.numbered.event.client.as_deref());
            let strange: Vec<&str> = strange.filter(|id| !self.names.contains_key(*id)).collect();
            let known = self.dashboard.client_names(strange.iter().copied()).await?;
            if self.names.len() > NAMES {
                self.names.clear();
            }
            self.names.extend(strange.iter().map(|id| ((*id).to_owned(), (*id).to_owned())));
            self.names.extend(known);
            for line in &lines {
                let (number, event) = (line.numbered.number, &line.numbered.event);
                let told = LogLine::new(number, event, &self.choice, &self.names).told();
                // Writing to a text never fails; JSON has no line breaks.
                let _ = write!(text, "id: {number}\ndata: {told}\n\n");
            }
            if text.len() > MISSED as usize * 1024 {
                break;
            }
        }
        Ok(text)
    }

    /// Whether the session goes on, and its person still has the same role.
    async fn may_go_on(&mut self) -> bool {
        self.looked = Instant::now();
        let person = self.dashboard.sessions.person_of(&self.person).await;
        matches!(person, Ok(Some(user)) if user.role == self.person.user.role)
    }

    async fn pause(&self) {
        let ended = async {
            match &self.stay {
                Some(stay) => stay.0.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = ended => {}
        }
    }
}
