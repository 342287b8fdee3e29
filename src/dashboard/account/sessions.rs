//! Signing browsers out: one of them, or all.

use super::ACCOUNT;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::{Failure, see_other};
use crate::ids::SessionId;
use crate::request::Arrival;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Form};
use http::{HeaderMap, header};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct SessionForm {
    id: String,
    csrf_token: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct EverywhereForm {
    applications: String,
    csrf_token: String,
}

/// `POST /account/sessions/end`
pub(in crate::dashboard) async fn end(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<SessionForm>,
) -> Result<Response, Failure> {
    let person = dashboard.sender(&headers, &sent.csrf_token).await?;
    let id: SessionId = sent.id.parse().map_err(|_| Failure::NotFound)?;
    if !dashboard.store.delete_session_of(person.user.id, id).await? {
        return Err(Failure::NotFound);
    }
    dashboard.audit.record(&person.user.name, "session.ended", &id.to_string(), Some(arrival.client));
    Ok(see_other(ACCOUNT))
}

/// `POST /account/sign-out-everywhere`
pub(in crate::dashboard) async fn end_all(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<EverywhereForm>,
) -> Result<Response, Failure> {
    let person = dashboard.sender(&headers, &sent.csrf_token).await?;
    let applications = sent.applications == "end";
    dashboard.revocations.sign_out_everywhere(person.user.id, applications).await?;
    let subject = if applications { "browsers and applications" } else { "browsers" };
    dashboard.audit.record(&person.user.name, "sessions.ended", subject, Some(arrival.client));
    let mut response = see_other("/");
    response.headers_mut().append(header::SET_COOKIE, dashboard.sessions.end(&headers).await?);
    Ok(response)
}
