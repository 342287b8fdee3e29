//! `/programs/services`: services of the token broker, and who has connected them.

use super::{address, page_after, told};
use crate::administration::records::{ConnectionState, Service, ServiceConnection, ServicePat};
use crate::administration::{Refused, ServiceConnectionFilter};
use crate::clock::Timestamp;
use crate::dashboard::failure::Failure;
use crate::dashboard::sent::Deciding;
use crate::dashboard::{Dashboard, rows};
use crate::page::{self, BrokerServiceRow, Moment, ServiceHolderRow, ServicePage, ServicesPage};
use crate::secret::Secret;
use crate::session::SignedIn;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use std::mem::take;
use std::sync::Arc;

const SERVICES: &str = "/programs/services";

/// `GET /programs/services`
pub(super) async fn show(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, SERVICES).await?;
    let services = dashboard.administration.services().items.into_iter();
    Ok(page::services(&ServicesPage { account: rows::account(&person), rows: services.map(row).collect() }))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ServiceQuery {
    after: String,
    pats_after: String,
}

/// `GET /programs/services/{service}`
pub(super) async fn one(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(query): Query<ServiceQuery>,
) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, SERVICES).await?;
    dashboard.service_page(&person, &name, &query, None).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ServiceForm {
    /// The id behind a button, the name in the form.
    user: String,
    pat: String,
}

/// `POST /programs/services/{service}/disconnect`
pub(super) async fn disconnect(
    State(dashboard): State<Arc<Dashboard>>,
    Path(service): Path<String>,
    Deciding(sent): Deciding<ServiceForm>,
) -> Result<Response, Failure> {
    dashboard.administration.disconnect_service(&sent.actor(), &service, &sent.form.user).await?;
    let notice =
        "Disconnected. Programs get no more tokens of it; it is given back to the service where that is possible.";
    Ok(dashboard.done(&sent.person, &format!("{SERVICES}/{service}"), notice))
}

/// `POST /programs/services/{service}/pat`: in place of an earlier one. Nobody can read it again.
pub(super) async fn put_pat(
    State(dashboard): State<Arc<Dashboard>>,
    Path(service): Path<String>,
    Deciding(mut sent): Deciding<ServiceForm>,
) -> Result<Response, Failure> {
    let pat = Secret::new(take(&mut sent.form.pat));
    let actor = sent.actor();
    let name = sent.form.user.trim();
    let kept = match dashboard.store.user_by_name(name).await? {
        Some(user) => dashboard.administration.put_service_pat(&actor, &service, &user.id.to_string(), &pat).await,
        None => Err(Refused::Invalid(format!("there is no user {name}"))),
    };
    match kept {
        Ok(()) => Ok(dashboard.done(&sent.person, &format!("{SERVICES}/{service}"), "Kept. Nobody can read it again.")),
        Err(refused) => {
            let why = told(refused)?;
            dashboard.service_page(&sent.person, &service, &ServiceQuery::default(), Some(&why)).await
        }
    }
}

/// `POST /programs/services/{service}/pat/remove`
pub(super) async fn remove_pat(
    State(dashboard): State<Arc<Dashboard>>,
    Path(service): Path<String>,
    Deciding(sent): Deciding<ServiceForm>,
) -> Result<Response, Failure> {
    dashboard.administration.delete_service_pat(&sent.actor(), &service, &sent.form.user).await?;
    Ok(dashboard.done(&sent.person, &format!("{SERVICES}/{service}"), "The token is forgotten."))
}

impl Dashboard {
    async fn service_page(
        &self,
        person: &SignedIn,
        name: &str,
        query: &ServiceQuery,
        error: Option<&str>,
    ) -> Result<Response, Failure> {
        let all = self.administration.services().items;
        let service = all.into_iter().find(|service| service.name == name).ok_or(Failure::NotFound)?;
        let filter = ServiceConnectionFilter::default();
        let connections = self.administration.service_connections(name, &filter, &page_after(&query.after)).await?;
        let pats = self.administration.service_pats(name, &page_after(&query.pats_after)).await?;
        let (now, here) = (self.clock.now(), format!("{SERVICES}/{name}"));
        Ok(page::service(&ServicePage {
            account: rows::account(person),
            error,
            service: row(service),
            connections: connections.items.into_iter().map(|one| connection(one, now)).collect(),
            next: connections.next.map(|after| address(&here, &[("after", &after)])),
            pats: pats.items.into_iter().map(|one| pat(one, now)).collect(),
            next_pats: pats.next.map(|after| address(&here, &[("pats_after", &after)])),
        }))
    }
}

fn row(service: Service) -> BrokerServiceRow {
    let Service { name, label, client_id, scopes, has_pat } = service;
    BrokerServiceRow { name, label, client_id, scopes, has_pat }
}

fn connection(one: ServiceConnection, now: Timestamp) -> ServiceHolderRow {
    ServiceHolderRow {
        user: one.user.unwrap_or_else(|| one.user_id.clone()),
        user_id: one.user_id,
        state: Some(match one.state {
            ConnectionState::Active => ("good", "Connected"),
            ConnectionState::Open => ("quiet", "Needs no sign-in"),
            ConnectionState::NeedsConsent => ("bad", "Needs their consent again"),
        }),
        scopes: one.scope.split_ascii_whitespace().map(str::to_owned).collect(),
        last_error: one.last_error,
        since: Moment::new(one.created_at.0, now),
    }
}

fn pat(one: ServicePat, now: Timestamp) -> ServiceHolderRow {
    ServiceHolderRow {
        user: one.user.unwrap_or_else(|| one.user_id.clone()),
        user_id: one.user_id,
        state: None,
        scopes: Vec::new(),
        last_error: None,
        since: Moment::new(one.created_at.0, now),
    }
}
