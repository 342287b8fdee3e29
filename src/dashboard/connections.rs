//! `/connections`: what a person has connected, and the way to end it.

use super::account::ACCOUNT;
use super::failure::Failure;
use super::{Dashboard, rows};
use crate::hostname::Authority;
use crate::ids::{ConnectionId, GrantId};
use crate::page::{self, ConnectionsPage, Place};
use crate::request::Arrival;
use crate::services::ServiceName;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use http::HeaderMap;
use serde::Deserialize;
use std::sync::Arc;

/// `/connections` and below, and `/grants/revoke`.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/connections", get(show))
        .route("/connections/disconnect", post(disconnect))
        .route("/grants/revoke", post(revoke))
}

/// The form behind a button of a row.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RowForm {
    id: String,
    csrf_token: String,
}

/// `GET /connections`
async fn show(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    let person = dashboard.person(&headers, Place::Connections.address()).await?;
    let now = dashboard.clock.now();
    let upstream = |authority: &str| dashboard.registry.by_authority(&Authority::parse(authority).ok()?);
    let connections = dashboard.store.connections_of(person.user.id).await?;
    // Services are on the account page.
    let connections = connections.into_iter().filter(|one| ServiceName::from_stored(&one.authority).is_none());
    let row = |connection: crate::store::Connection| {
        let upstream = upstream(&connection.authority);
        let permitted = upstream.as_ref().is_none_or(|known| known.access.admits(person.user.id));
        let name =
            upstream.map_or_else(|| connection.authority.clone(), |known| dashboard.connections.display_name(&known));
        rows::connection(connection, name, permitted, now)
    };
    Ok(page::connections(&ConnectionsPage { account: rows::account(&person), rows: connections.map(row).collect() }))
}

/// `POST /connections/disconnect`
async fn disconnect(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<RowForm>,
) -> Result<Response, Failure> {
    let person = dashboard.sender(&headers, &sent.csrf_token).await?;
    let id: ConnectionId = sent.id.parse().map_err(|_| Failure::NotFound)?;
    let connection = dashboard.store.connection_by_id(id).await?;
    let connection = connection.filter(|connection| connection.user == person.user.id).ok_or(Failure::NotFound)?;
    dashboard.revocations.connection(id).await?;
    let subject = &connection.authority;
    dashboard.audit.record(&person.user.name, "connection.removed", subject, Some(arrival.client));
    Ok(dashboard.done(&person, Place::Connections.address(), "Disconnected."))
}

/// `POST /grants/revoke`
async fn revoke(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<RowForm>,
) -> Result<Response, Failure> {
    let person = dashboard.sender(&headers, &sent.csrf_token).await?;
    let id: GrantId = sent.id.parse().map_err(|_| Failure::NotFound)?;
    let grant = dashboard.store.grant(id).await?;
    let grant = grant.filter(|grant| grant.user == person.user.id).ok_or(Failure::NotFound)?;
    dashboard.revocations.withdraw(&grant).await?;
    let subject = format!("{} at {}", grant.client_name, grant.resource);
    dashboard.audit.record(&person.user.name, "grant.revoked", &subject, Some(arrival.client));
    Ok(dashboard.done(&person, ACCOUNT, "Taken back."))
}
