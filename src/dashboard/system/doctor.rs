//! `/doctor`: what is wrong with a set-up, for administrators; and the stream by which buffering shows.

use crate::dashboard::failure::Failure;
use crate::dashboard::{Dashboard, rows};
use crate::doctor::{self, Report, Rules, Target};
use crate::hostname::Authority;
use crate::page::{self, DoctorPage};
use crate::request::Arrival;
use crate::session::SignedIn;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct DoctorQuery {
    target: String,
}

/// `GET /doctor`
pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Query(query): Query<DoctorQuery>,
) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, "/doctor").await?;
    // A link elsewhere must not make the gateway ask others: it fills the form in, and the person sends it.
    let relations = headers.get_all("sec-fetch-site");
    let by_hand = relations.iter().all(|relation| relation == "same-origin" || relation == "none");
    if query.target.trim().is_empty() || !by_hand {
        return Ok(show_page(&person, StatusCode::OK, &query.target, Err(None)));
    }
    let target: Target = match query.target.parse() {
        Ok(target) => target,
        Err(why) => {
            let why = format!("{why}");
            return Ok(show_page(&person, StatusCode::BAD_REQUEST, &query.target, Err(Some(&why))));
        }
    };
    dashboard.limits.check_registration(arrival.client)?;
    let Some(report) = dashboard.examine(&target).await? else {
        let why = Some("Other examinations are under way. Try again in a minute.");
        return Ok(show_page(&person, StatusCode::TOO_MANY_REQUESTS, &query.target, Err(why)));
    };
    dashboard.audit.record(&person.user.name, "doctor.examined", &report.target, Some(arrival.client));
    Ok(show_page(&person, StatusCode::OK, &query.target, Ok(&report)))
}

/// `GET /doctor/stream`: two events with a pause between them. Whoever gets both at once has something in front that buffers.
pub(super) async fn stream() -> Response {
    let first = stream::once(async { event("first") });
    let second = stream::once(async {
        tokio::time::sleep(doctor::STREAM_PAUSE).await;
        event("second")
    });
    let body = Body::from_stream(first.chain(second).map(Ok::<_, Infallible>));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

fn event(data: &str) -> Bytes {
    format!("data: {data}\n\n").into()
}

fn show_page(person: &SignedIn, status: StatusCode, typed: &str, outcome: Result<&Report, Option<&str>>) -> Response {
    page::doctor(&DoctorPage {
        status,
        account: rows::account(person),
        typed,
        error: outcome.err().flatten(),
        report: outcome.ok(),
    })
}

impl Dashboard {
    /// Nothing when too many are under way already.
    async fn examine(&self, target: &Target) -> Result<Option<Report>, Failure> {
        let Some(_seat) = self.doctor.seat() else { return Ok(None) };
        // Our own names may lead to private addresses here, where others see public ones; nobody else's are followed there.
        let own = Authority::parse(target.host()).is_ok_and(|authority| self.site.is_own(&authority));
        let tools = self.doctor.tools()?.with_private_addresses(own);
        let clients: Vec<&'static Rules> = Rules::all().iter().collect();
        Ok(Some(doctor::examine(target, &clients, &tools).await))
    }
}
