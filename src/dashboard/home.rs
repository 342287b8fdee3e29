//! `/`: the landing page for strangers, the dashboard for people, and the buttons on it.

use super::account::ACCOUNT;
use super::failure::{Failure, see_other};
use super::{Dashboard, rows};
use crate::certificates::CertificateStatus;
use crate::hostname::Authority;
use crate::ids::{ConnectionId, GrantId};
use crate::page::{self, HomePage, LandingPage};
use crate::request::Arrival;
use crate::services::ServiceName;
use crate::session::SignedIn;
use crate::store::Role;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Form};
use http::HeaderMap;
use serde::Deserialize;
use std::sync::Arc;

/// How many alerts a page has at most: the first ones say enough.
const ALERTS: usize = 5;

/// The form behind a button of a row.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RowForm {
    id: String,
    csrf_token: String,
}

/// `GET /`
pub(super) async fn show(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    match dashboard.sessions.find(&headers).await? {
        Some(person) => dashboard.home(&person).await,
        None => {
            let unclaimed = dashboard.passwords && !dashboard.store.has_administrator().await?;
            Ok(page::landing(&LandingPage { domain: dashboard.site.domain(), unclaimed }))
        }
    }
}

/// `POST /connections/disconnect`
pub(super) async fn disconnect(
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
    Ok(see_other("/"))
}

/// `POST /grants/revoke`
pub(super) async fn revoke(
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
    Ok(see_other(ACCOUNT))
}

impl Dashboard {
    async fn home(&self, person: &SignedIn) -> Result<Response, Failure> {
        let now = self.clock.now();
        let upstream = |authority: &str| self.registry.by_authority(&Authority::parse(authority).ok()?);
        let connections = self.store.connections_of(person.user.id).await?;
        let (upstreams, alerts) = match person.user.role {
            Role::Administrator => (Some(self.upstream_rows().await?), self.alerts()),
            Role::Member => (None, Vec::new()),
        };
        Ok(page::home(&HomePage {
            account: page::Account { name: &person.user.name, csrf_token: &person.csrf_token },
            connections: connections
                .into_iter()
                // Services are on the account page.
                .filter(|connection| ServiceName::from_stored(&connection.authority).is_none())
                .map(|connection| {
                    let upstream = upstream(&connection.authority);
                    let permitted = upstream.as_ref().is_none_or(|known| known.access.admits(person.user.id));
                    let name = upstream
                        .map_or_else(|| connection.authority.clone(), |known| self.connections.display_name(&known));
                    rows::connection(connection, name, permitted, now)
                })
                .collect(),
            upstreams,
            alerts,
        }))
    }

    /// What administrators should do something about.
    fn alerts(&self) -> Vec<String> {
        let certificates = self.certificates.status();
        certificates.iter().filter(|one| one.needs_attention()).map(CertificateStatus::alert).take(ALERTS).collect()
    }
}
