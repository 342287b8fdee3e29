//! `/`: the landing page for strangers, the start of the dashboard for people.

use crate::certificates::CertificateStatus;
use crate::dashboard::failure::Failure;
use crate::dashboard::{Dashboard, rows};
use crate::page::{self, HomePage, LandingPage};
use crate::session::SignedIn;
use crate::store::Role;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use std::sync::Arc;

/// How many alerts a page has at most: the first ones say enough.
const ALERTS: usize = 5;

/// `GET /`
pub(super) async fn show(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    match dashboard.sessions.find(&headers).await? {
        Some(person) => Ok(dashboard.home(&person)),
        None => {
            let unclaimed = dashboard.passwords && !dashboard.store.has_administrator().await?;
            Ok(page::landing(&LandingPage { domain: dashboard.site.domain(), unclaimed }))
        }
    }
}

impl Dashboard {
    fn home(&self, person: &SignedIn) -> Response {
        let alerts = match person.user.role {
            Role::Administrator => self.alerts(),
            Role::Member => Vec::new(),
        };
        page::home(&HomePage { account: rows::account(person), alerts })
    }

    /// What administrators should do something about.
    fn alerts(&self) -> Vec<String> {
        let certificates = self.certificates.status();
        certificates.iter().filter(|one| one.needs_attention()).map(CertificateStatus::alert).take(ALERTS).collect()
    }
}
