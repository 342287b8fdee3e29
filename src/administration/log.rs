//! The audit log.

use super::paging::{Page, PageRequest, cursor, foreign_cursor};
use super::records::{AuditEvent, Moment};
use super::{Administration, Refused};
use crate::store::AuditSelection;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

/// Which events.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct AuditFilter {
    /// Only those of this actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Only those of this action, such as `grant.created`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only requests to this upstream: its authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Only requests of this client: its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Only calls of this tool, also those that were refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Only what happened at this moment or later.
    #[param(inline)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Only what happened before this moment.
    #[param(inline)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
}

impl Administration {
    /// Events of the audit log, newest first.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn audit_log(&self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditEvent>, Refused> {
        let (limit, after) = (page.limit()?, page.after::<1>()?);
        let before = after.map(|[number]| number.parse().map_err(|_| foreign_cursor())).transpose()?;
        let selection = AuditSelection {
            actor: filter.actor.as_deref(),
            action: filter.action.as_deref(),
            upstream: filter.upstream.as_deref(),
            client: filter.client.as_deref(),
            tool: filter.tool.as_deref(),
            since: filter.since.map(|moment| moment.0),
            until: filter.until.map(|moment| moment.0),
            ..AuditSelection::default()
        };
        let events = self.store.audit_page(selection, before, limit + 1).await?;
        Ok(Page::of(events, limit, |one| cursor(&[&one.number.to_string()])).map(|one| one.event.into()))
    }
}
