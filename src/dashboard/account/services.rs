//! Services of the token broker that a person has connected, and the personal access tokens that the person keeps here.
//! Connecting is a page of the broker.

use super::ACCOUNT;
use crate::dashboard::failure::{Failure, see_other};
use crate::dashboard::sent::Sent;
use crate::dashboard::{Dashboard, rows};
use crate::error::Culprit;
use crate::page::{Moment, ServiceRow};
use crate::secret::Secret;
use crate::services::Service;
use crate::session::SignedIn;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use std::mem::take;
use std::sync::Arc;

/// The forms behind the buttons of a row.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::dashboard) struct ServiceForm {
    service: String,
    pat: String,
}

/// `POST /account/services/disconnect`: the access is given back to the service where that is possible.
pub(in crate::dashboard) async fn disconnect(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<ServiceForm>,
) -> Result<Response, Failure> {
    let service = dashboard.service(&sent.form.service)?;
    if !dashboard.services.disconnect(&service, sent.person.user.id).await? {
        return Err(Failure::NotFound);
    }
    let name = service.name.as_str();
    dashboard.record(&sent, "service.disconnected", name);
    Ok(see_other(ACCOUNT))
}

/// `POST /account/services/pat`: in place of an earlier one. Nobody can read it again.
pub(in crate::dashboard) async fn put_pat(
    State(dashboard): State<Arc<Dashboard>>,
    mut sent: Sent<ServiceForm>,
) -> Result<Response, Failure> {
    let pat = Secret::new(take(&mut sent.form.pat));
    let service = dashboard.service(&sent.form.service)?;
    match dashboard.services.put_pat(&service, sent.person.user.id, &pat).await {
        Ok(()) => {
            let name = service.name.as_str();
            dashboard.record(&sent, "service.pat_set", name);
            Ok(see_other(ACCOUNT))
        }
        Err(fault) if fault.culprit == Culprit::Caller => {
            let notice = format!("The token was not kept: {}.", fault.public);
            dashboard.account_page(&sent.person, StatusCode::BAD_REQUEST, Some(&notice)).await
        }
        Err(fault) => Err(fault.into()),
    }
}

/// `POST /account/services/pat/remove`
pub(in crate::dashboard) async fn remove_pat(
    State(dashboard): State<Arc<Dashboard>>,
    sent: Sent<ServiceForm>,
) -> Result<Response, Failure> {
    let service = dashboard.service(&sent.form.service)?;
    if !dashboard.services.delete_pat(&service, sent.person.user.id).await? {
        return Err(Failure::NotFound);
    }
    let name = service.name.as_str();
    dashboard.record(&sent, "service.pat_removed", name);
    Ok(see_other(ACCOUNT))
}

impl Dashboard {
    fn service(&self, name: &str) -> Result<Arc<Service>, Failure> {
        self.services.find(name).ok_or(Failure::NotFound)
    }

    /// What the account page says about them.
    pub(super) async fn service_rows(&self, person: &SignedIn) -> Result<Vec<ServiceRow>, Failure> {
        let (user, now, mut all) = (person.user.id, self.clock.now(), Vec::new());
        let pats = self.services.pats(user).await?;
        for service in self.services.list() {
            let connection = self.services.connection(&service, user).await?;
            let pat = pats.iter().find(|pat| pat.service == service.name);
            all.push(ServiceRow {
                name: service.name.to_string(),
                label: service.label.clone(),
                can_connect: service.client.is_some(),
                connection: connection.map(|row| rows::connection(row, service.label.clone(), true, now)),
                pat: pat.map(|pat| Moment::new(pat.created_at, now)),
                has_shared_pat: service.pat.is_some(),
            });
        }
        Ok(all)
    }
}
