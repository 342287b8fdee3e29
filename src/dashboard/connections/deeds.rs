//! What the buttons of a connection and of a consent do.

use crate::dashboard::Dashboard;
use crate::dashboard::account::ACCOUNT;
use crate::dashboard::failure::Failure;
use crate::dashboard::sent::Sent;
use crate::ids::{ConnectionId, GrantId};
use crate::page::{Place, plain_name};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;

/// How long the name of a connection may be, in characters.
const MAX_TITLE: usize = 60;

/// The form behind a button of a row.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RowForm {
    id: String,
    title: String,
}

/// `POST /connections/disconnect`
pub(super) async fn disconnect(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<RowForm>,
) -> Result<Response, Failure> {
    let id: ConnectionId = sent.form.id.parse().map_err(|_| Failure::NotFound)?;
    let connection = dashboard.store.connection_by_id(id).await?;
    let connection = connection.filter(|connection| connection.user == sent.person.user.id).ok_or(Failure::NotFound)?;
    let open = dashboard.revocations.open_with(id);
    dashboard.revocations.connection(id).await?;
    let subject = &connection.authority;
    dashboard.record(&sent, "connection.removed", subject);
    let notice = format!("Disconnected from {subject}.{}", ended(open));
    Ok(dashboard.done(&sent.person, Place::Connections.address(), &notice))
}

/// `POST /connections/rename`: an empty name takes the earlier one away.
pub(super) async fn rename(State(dashboard): State<Arc<Dashboard>>, sent: Sent<RowForm>) -> Result<Response, Failure> {
    let id: ConnectionId = sent.form.id.parse().map_err(|_| Failure::NotFound)?;
    let title = sent.form.title.trim();
    if title.chars().count() > MAX_TITLE || plain_name(title) != title {
        let error = "The name was not changed: it may have 60 characters, and no invisible ones.";
        return dashboard.connections_page(&sent.person, StatusCode::BAD_REQUEST, Some(error)).await;
    }
    let title = Some(title).filter(|title| !title.is_empty());
    if !dashboard.store.rename_connection(sent.person.user.id, id, title).await? {
        return Err(Failure::NotFound);
    }
    Ok(dashboard.done(&sent.person, Place::Connections.address(), "Renamed."))
}

/// `POST /grants/revoke`
pub(super) async fn revoke(State(dashboard): State<Arc<Dashboard>>, sent: Sent<RowForm>) -> Result<Response, Failure> {
    let id: GrantId = sent.form.id.parse().map_err(|_| Failure::NotFound)?;
    let grant = dashboard.store.grant(id).await?;
    let grant = grant.filter(|grant| grant.user == sent.person.user.id).ok_or(Failure::NotFound)?;
    let open = dashboard.revocations.open_under(id);
    dashboard.revocations.withdraw(&grant).await?;
    let subject = format!("{} at {}", grant.client_name, grant.resource);
    dashboard.record(&sent, "grant.revoked", &subject);
    Ok(dashboard.done(&sent.person, ACCOUNT, &format!("Taken back.{}", ended(open))))
}

/// What an end broke off, as far as this process knows.
pub(in crate::dashboard) fn ended(open: usize) -> String {
    match open {
        0 => String::new(),
        1 => " One stream that was open here has ended.".to_owned(),
        many => format!(" {many} streams that were open here have ended."),
    }
}
