//! Signing browsers out: one of them, or all.

use super::ACCOUNT;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::{Failure, see_other};
use crate::dashboard::sent::Sent;
use crate::ids::SessionId;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, header};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct SessionForm {
    id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct EverywhereForm {
    applications: String,
}

/// `POST /account/sessions/end`
pub(in crate::dashboard) async fn end(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<SessionForm>,
) -> Result<Response, Failure> {
    let id: SessionId = sent.form.id.parse().map_err(|_| Failure::NotFound)?;
    if !dashboard.store.delete_session_of(sent.person.user.id, id).await? {
        return Err(Failure::NotFound);
    }
    dashboard.record(&sent, "session.ended", &id.to_string());
    Ok(see_other(ACCOUNT))
}

/// `POST /account/sign-out-everywhere`
pub(in crate::dashboard) async fn end_all(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    sent: Sent<EverywhereForm>,
) -> Result<Response, Failure> {
    let applications = sent.form.applications == "end";
    dashboard.revocations.sign_out_everywhere(sent.person.user.id, applications).await?;
    let subject = if applications { "browsers and applications" } else { "browsers" };
    dashboard.record(&sent, "sessions.ended", subject);
    let mut response = see_other("/");
    response.headers_mut().append(header::SET_COOKIE, dashboard.sessions.end(&headers).await?);
    Ok(response)
}
