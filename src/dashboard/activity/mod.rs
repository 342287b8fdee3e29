//! `/activity`: what happened, as plots and as a log. Members see what is their own, administrators everything.

mod asked;
mod export;
mod seats;
mod stream;

use super::failure::Failure;
use super::{Dashboard, rows};
use crate::activity::{Report, Subject};
use crate::audit::Found;
use crate::page::{self, Choice, FIGURES, FiguresPage, LOG, LogLine, LogPage};
use crate::store::NumberedEvent;
use asked::Asked;
use axum::extract::{Query, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::{HeaderMap, StatusCode};
use seats::Seats;
use std::collections::HashMap;
use std::sync::Arc;

/// How many lines a page of the log has.
const LINES: u32 = 20;

/// `/activity` and below.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/activity", get(figures))
        .route("/activity/log", get(log))
        .route("/activity/stream", get(stream::follow))
        .route("/activity/export", get(export::take_along))
        .layer(Extension(Arc::new(Seats::default())))
}

/// `GET /activity`
async fn figures(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let person = dashboard.person(&headers, &address(FIGURES, query.as_deref())).await?;
    let (choice, range) = asked.figures(&person.user);
    let report = match choice.has_figures() {
        true => Some(dashboard.activity.report(range, &subject(&choice)).await?),
        false => None,
    };
    let ids = report.iter().flat_map(|report: &Report| &report.clients).map(|share| share.name.as_str());
    let client_names = dashboard.client_names(ids.chain([choice.client.as_str()])).await?;
    Ok(page::figures(&FiguresPage {
        account: rows::account(&person),
        choice: &choice,
        range,
        report: report.as_ref(),
        client_names: &client_names,
    }))
}

/// `GET /activity/log`
async fn log(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let person = dashboard.person(&headers, &address(LOG, query.as_deref())).await?;
    let (question, error) = match asked.question(&person.user) {
        Ok(question) => (question, None),
        Err(error) => (asked.shown(&person.user), Some(error)),
    };
    let found = match error {
        Some(_) => Found { lines: Vec::new(), older: None },
        None => question.wanted.newest(&dashboard.store, asked.before, LINES).await?,
    };
    // Lines of the past do not grow.
    let can_grow = error.is_none() && asked.before.is_none() && question.wanted.until.is_none();
    let follow_after = match found.lines.first() {
        _ if !can_grow => None,
        Some(newest) => Some(newest.number),
        None => Some(question.wanted.clone().from_now_on(dashboard.store.clone(), None).await?.position()),
    };
    let choice = &question.choice;
    let ids = found.lines.iter().filter_map(|line| line.event.client.as_deref());
    let client_names = dashboard.client_names(ids.chain([choice.client.as_str()])).await?;
    let line = |line: &NumberedEvent| LogLine::new(line.number, &line.event, choice, &client_names);
    Ok(page::log(&LogPage {
        status: if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK },
        account: rows::account(&person),
        choice,
        error,
        lines: found.lines.iter().map(line).collect(),
        older: found.older,
        follow_after,
        client_names: &client_names,
    }))
}

impl Dashboard {
    /// Names of clients by id, as people saw them.
    async fn client_names<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Result<HashMap<String, String>, Failure> {
        let mut ids: Vec<&str> = ids.filter(|id| !id.is_empty()).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(self.store.client_names(&ids).await?.into_iter().collect())
    }
}

/// The address of a request, to come back to.
fn address(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

fn subject(choice: &Choice) -> Subject {
    let some = |value: &String| (!value.is_empty()).then(|| value.clone());
    Subject {
        person: some(&choice.person),
        upstream: some(&choice.upstream),
        client: some(&choice.client),
        tool: some(&choice.tool),
    }
}

/// Whether a page of ours asks, or somebody who typed the address: a page elsewhere, a sibling's above all, gets nothing to
/// start with links and pictures.
fn by_ourselves(headers: &HeaderMap) -> Result<(), Failure> {
    let relations = headers.get_all("sec-fetch-site");
    let is_ours = relations.iter().all(|relation| relation == "same-origin" || relation == "none");
    if is_ours { Ok(()) } else { Err(Failure::Forged) }
}

/// Why a question cannot be answered, as a page.
fn unclear(why: &str) -> Response {
    super::failure::message(StatusCode::BAD_REQUEST, "That cannot be looked for", why, None)
}

/// Why there is no answer for now, as a page.
fn crowded() -> Response {
    let (title, text) = ("Too many at once", "You read the log in several places already, or too many others do.");
    let mut response = super::failure::message(
        StatusCode::TOO_MANY_REQUESTS,
        title,
        text,
        Some("Close another tab with the log, then try again."),
    );
    response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("10"));
    response
}
