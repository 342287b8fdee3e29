//! `/programs/grants`: what people let clients do.

use super::{address, page_after};
use crate::administration::records::Grant;
use crate::administration::{GrantFilter, Page};
use crate::dashboard::failure::Failure;
use crate::dashboard::sent::Deciding;
use crate::dashboard::{Dashboard, rows};
use crate::page::{self, GrantsPage, Moment, PersonsGrantRow};
use axum::extract::{Query, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use std::sync::Arc;

const GRANTS: &str = "/programs/grants";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct GrantsQuery {
    user: String,
    client: String,
    after: String,
}

/// `GET /programs/grants`
pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Query(query): Query<GrantsQuery>,
) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, GRANTS).await?;
    let (user, client) = (query.user.trim(), query.client.trim());
    let whose = match user {
        "" => None,
        name => dashboard.store.user_by_name(name).await?.map(|user| user.id.to_string()),
    };
    let unknown = !user.is_empty() && whose.is_none();
    let filter = GrantFilter { user_id: whose, client_id: Some(client.to_owned()).filter(|id| !id.is_empty()) };
    let found = match unknown {
        true => Page::whole(Vec::new()),
        false => dashboard.administration.grants(&filter, &page_after(&query.after)).await?,
    };
    let now = dashboard.clock.now();
    let row = |grant: Grant| PersonsGrantRow {
        scopes: grant.scope.split_ascii_whitespace().map(str::to_owned).collect(),
        user: grant.user.unwrap_or(grant.user_id),
        id: grant.id,
        client: grant.client_name,
        resource: grant.resource,
        since: Moment::new(grant.created_at.0, now),
    };
    Ok(page::grants(&GrantsPage {
        account: rows::account(&person),
        user,
        client,
        error: unknown.then_some("There is nobody of that name."),
        rows: found.items.into_iter().map(row).collect(),
        next: found.next.map(|after| address(GRANTS, &[("user", user), ("client", client), ("after", &after)])),
    }))
}

/// The button of a row, and what the list was filtered by.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct GrantForm {
    id: String,
    user: String,
    client: String,
}

/// `POST /programs/grants/revoke`
pub(super) async fn revoke(
    State(dashboard): State<Arc<Dashboard>>,
    Deciding(sent): Deciding<GrantForm>,
) -> Result<Response, Failure> {
    dashboard.administration.revoke_grant(&sent.actor(), &sent.form.id).await?;
    let back = address(GRANTS, &[("user", &sent.form.user), ("client", &sent.form.client)]);
    Ok(dashboard.done(
        &sent.person,
        &back,
        "Taken back. Its tokens are worth nothing any more, and its open streams have ended.",
    ))
}
