//! Who may use an upstream.

use super::{address_of, ended};
use crate::administration::Change;
use crate::administration::records::Permission;
use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::dashboard::sent::{Deciding, Sent};
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WhomForm {
    user: String,
    group: String,
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
    Path(authority): Path<String>,
    Deciding(sent): Deciding<WhomForm>,
) -> Result<Response, Failure> {
    let Some(whom) = sent.form.whom() else {
        let error = Some("Name a person or a group.");
        let shown = super::one::Shown { status: StatusCode::BAD_REQUEST, error, found: None };
        return dashboard.server_page(&sent.person, &authority, shown).await;
    };
    dashboard.change(&sent, &authority, Change::Allow(whom)).await
}

/// `POST /servers/{authority}/forbid`
pub(super) async fn forbid(
    State(dashboard): State<Arc<Dashboard>>,
    Path(authority): Path<String>,
    Deciding(sent): Deciding<WhomForm>,
) -> Result<Response, Failure> {
    let whom = sent.form.whom().unwrap_or(Permission { users: Vec::new(), groups: Vec::new() });
    dashboard.change(&sent, &authority, Change::Deny(whom)).await
}

/// `POST /servers/{authority}/everybody`
pub(super) async fn everybody(
    State(dashboard): State<Arc<Dashboard>>,
    Path(authority): Path<String>,
    Deciding(sent): Deciding<WhomForm>,
) -> Result<Response, Failure> {
    dashboard.change(&sent, &authority, Change::Everybody).await
}

impl Dashboard {
    async fn change<F>(&self, sent: &Sent<F>, authority: &str, change: Change) -> Result<Response, Failure> {
        // Also what is not in the list may be restricted by the API; here only what has a page.
        self.administration.upstream(authority).await?;
        let before = self.streams_of_upstream(authority).await?;
        match self.administration.permit(&sent.actor(), authority, change).await {
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
                let after = self.streams_of_upstream(authority).await?;
                let notice = format!("{whom}{}.", ended(before.saturating_sub(after)));
                Ok(self.done(&sent.person, &address_of(authority), &notice))
            }
            Err(refused) => self.server_refused(&sent.person, authority, refused).await,
        }
    }
}
