//! `/`: the landing page for strangers, the start of the dashboard for people.

use crate::certificates::CertificateStatus;
use crate::dashboard::failure::Failure;
use crate::dashboard::{Dashboard, rows};
use crate::page::{self, HomePage, LandingPage};
use crate::services::ServiceName;
use crate::session::SignedIn;
use crate::store::{ConnectionState, Role};
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use std::sync::Arc;

/// How many alerts a page has at most: the first ones say enough.
const ALERTS: usize = 5;

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

impl Dashboard {
    async fn home(self: &Arc<Self>, person: &SignedIn) -> Result<Response, Failure> {
        let (alerts, checklist) = match person.user.role {
            Role::Administrator => (self.alerts(), self.checklist().await?),
            Role::Member => (Vec::new(), None),
        };
        let mut connections = self.store.connections_of(person.user.id).await?;
        connections.retain(|one| ServiceName::from_stored(&one.authority).is_none());
        let troubled = connections.iter().filter(|one| one.state == ConnectionState::NeedsConsent).count();
        let (account, connections) = (rows::account(person), connections.len());
        Ok(page::home(&HomePage { account, alerts, checklist, connections, troubled }))
    }

    /// What administrators should do something about.
    fn alerts(&self) -> Vec<String> {
        let certificates = self.certificates.status();
        certificates.iter().filter(|one| one.needs_attention()).map(CertificateStatus::alert).take(ALERTS).collect()
    }
}
