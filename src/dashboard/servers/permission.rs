//! Who may use an upstream.

use super::{address_of, ended};
use crate::administration::records::Permission;
use crate::administration::{Actor, Change};
use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::request::Arrival;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Form};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WhomForm {
    user: String,
    group: String,
    csrf_token: String,
}

impl WhomForm {
    /// One person, one group, or both; `None` for neither.
    fn whom(&self) -> Option<Permission> {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty()).into_iter().collect();
        let whom = Permission { users: some(&self.user), groups: some(&self.group) };
        (!whom.users.is_empty() || !whom.groups.is_empty()).then_some(whom)
    }
}

/// `POST /servers/{authority}/permit`
pub(super) async fn permit(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Path(authority): Path<String>,
    Form(sent): Form<WhomForm>,
) -> Result<Response, Failure> {
    let Some(whom) = sent.whom() else {
        let person = dashboard.deciding(&headers, &sent.csrf_token).await?;
        let error = Some("Name a person or a group.");
        let shown = super::one::Shown { status: StatusCode::BAD_REQUEST, error, found: None };
        return dashboard.server_page(&person, &authority, shown).await;
    };
    change(&dashboard, &arrival, &headers, (&authority, &sent.csrf_token), Change::Allow(whom)).await
}

/// `POST /servers/{authority}/forbid`
pub(super) async fn forbid(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Path(authority): Path<String>,
    Form(sent): Form<WhomForm>,
) -> Result<Response, Failure> {
    let whom = sent.whom().unwrap_or(Permission { users: Vec::new(), groups: Vec::new() });
    change(&dashboard, &arrival, &headers, (&authority, &sent.csrf_token), Change::Deny(whom)).await
}

/// `POST /servers/{authority}/everybody`
pub(super) async fn everybody(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Path(authority): Path<String>,
    Form(sent): Form<WhomForm>,
) -> Result<Response, Failure> {
    change(&dashboard, &arrival, &headers, (&authority, &sent.csrf_token), Change::Everybody).await
}

async fn change(
    dashboard: &Arc<Dashboard>,
    arrival: &Arrival,
    headers: &HeaderMap,
    (authority, csrf_token): (&str, &str),
    change: Change,
) -> Result<Response, Failure> {
    let person = dashboard.deciding(headers, csrf_token).await?;
    // Also what is not in the list may be restricted by the API; here only what has a page.
    dashboard.administration.upstream(authority).await?;
    let actor = Actor::person(&person.user, arrival.client);
    let before = dashboard.streams_of_upstream(authority).await?;
    match dashboard.administration.permit(&actor, authority, change).await {
        Ok(upstream) => {
            let whom = match upstream.permission {
                None => "Everybody may use it now".to_owned(),
                Some(whom) if whom.users.is_empty() && whom.groups.is_empty() => "Nobody may use it now".to_owned(),
                Some(whom) => {
                    let groups = whom.groups.into_iter().map(|group| format!("the group {group}"));
                    let all: Vec<_> = whom.users.into_iter().chain(groups).take(5).collect();
                    format!("These may use it now: {}", all.join(", "))
                }
            };
            let after = dashboard.streams_of_upstream(authority).await?;
            let notice = format!("{whom}{}.", ended(before.saturating_sub(after)));
            Ok(dashboard.done(&person, &address_of(authority), &notice))
        }
        Err(refused) => dashboard.server_refused(&person, authority, refused).await,
    }
}
