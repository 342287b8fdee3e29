//! Services of the token broker, and who has connected them.

use super::paging::{Page, PageRequest, cursor, foreign_cursor};
use super::records::{Moment, Service, ServiceConnection, ServicePat};
use super::{Actor, Administration, Refused};
use crate::config;
use crate::error::Fault;
use crate::ids::UserId;
use crate::secret::Secret;
use crate::store::{self, Owned};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::IntoParams;

/// Which connections of a service.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct ServiceConnectionFilter {
    /// Only that of the person with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
}

impl Administration {
    /// All services, by name.
    pub fn services(&self) -> Page<Service> {
        Page::whole(self.services.list().iter().map(|service| Service::from(&**service)).collect())
    }

    /// People's connections at a service, in a stable order.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn service_connections(
        &self,
        service: &str,
        filter: &ServiceConnectionFilter,
        page: &PageRequest,
    ) -> Result<Page<ServiceConnection>, Refused> {
        let (limit, after) = (page.limit()?, after(page)?);
        let service = self.service(service)?;
        let authority = service.name.as_stored();
        let rows = match filter.user_id.as_deref().map(str::parse::<UserId>) {
            None => self.store.connections_at(authority, after, limit + 1).await?,
            Some(Err(_)) => Vec::new(), // nobody has such an id, and so no connection
            Some(Ok(user)) => match self.store.connection(user, authority, "").await? {
                Some(row) if after.is_none() => {
                    vec![Owned { row, user_name: self.store.user(user).await?.map(|user| user.name) }]
                }
                _ => Vec::new(),
            },
        };
        let page = Page::of(rows, limit, |one| cursor(&[&one.row.user.to_string()]));
        Ok(page.map(|row| connection(&service, row)))
    }

    /// Ends a person's connection at a service; it is given back to the provider where that is possible.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn disconnect_service(&self, actor: &Actor, service: &str, user: &str) -> Result<(), Refused> {
        let (service, user) = (self.service(service)?, self.somebody(user).await?);
        let row = self.store.connection(user.id, service.name.as_stored(), "").await?;
        let done = match row {
            Some(row) => self.revocations.connection(row.id).await?,
            None => false,
        };
        if !done {
            return Err(Refused::NotFound(format!("{} has not connected {}", user.name, service.name)));
        }
        self.record(actor, "service.disconnected", &format!("{} for {}", service.name, user.name));
        Ok(())
    }

    /// Who keeps a personal access token for a service here; never the tokens themselves.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn service_pats(&self, service: &str, page: &PageRequest) -> Result<Page<ServicePat>, Refused> {
        let (limit, after) = (page.limit()?, after(page)?);
        let service = self.service(service)?;
        let rows = self.store.service_pats_at(service.name.as_str(), after, limit + 1).await?;
        Ok(Page::of(rows, limit, |one| cursor(&[&one.row.user.to_string()])).map(ServicePat::from))
    }

    /// Keeps a person's personal access token, in place of an earlier one.
    ///
    /// # Errors
    /// [`Refused::NotFound`]; [`Refused::Invalid`] for what cannot be one.
    pub async fn put_service_pat(&self, actor: &Actor, service: &str, user: &str, pat: &Secret) -> Result<(), Refused> {
        let (service, user) = (self.service(service)?, self.somebody(user).await?);
        let pats = self.pats.as_ref().ok_or_else(|| Fault::gateway("nobody asked for the key of the vault"))?;
        pats.put(&service.name, user.id, pat).await?;
        self.record(actor, "service.pat_set", &format!("{} for {}", service.name, user.name));
        Ok(())
    }

    /// Forgets a person's personal access token.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn delete_service_pat(&self, actor: &Actor, service: &str, user: &str) -> Result<(), Refused> {
        let (service, user) = (self.service(service)?, self.somebody(user).await?);
        if !self.store.delete_service_pat(user.id, service.name.as_str()).await? {
            let why = format!("{} keeps no personal access token for {} here", user.name, service.name);
            return Err(Refused::NotFound(why));
        }
        self.record(actor, "service.pat_removed", &format!("{} for {}", service.name, user.name));
        Ok(())
    }

    /// A service of the configuration.
    pub(super) fn service(&self, name: &str) -> Result<Arc<config::Service>, Refused> {
        let parsed = config::ServiceName::parse(name).ok();
        parsed.and_then(|name| self.services.find(&name)).ok_or_else(|| Refused::no("service", name))
    }
}

fn after(page: &PageRequest) -> Result<Option<UserId>, Refused> {
    page.after::<1>()?.map(|[id]| id.parse().map_err(|_| foreign_cursor())).transpose()
}

fn connection(service: &config::Service, Owned { row, user_name }: Owned<store::Connection>) -> ServiceConnection {
    ServiceConnection {
        id: row.id.to_string(),
        service: service.name.to_string(),
        user_id: row.user.to_string(),
        user: user_name,
        state: row.state.into(),
        scope: row.scope,
        expires_at: row.expires_at.map(Moment),
        last_error: row.last_error,
        created_at: Moment(row.created_at),
    }
}

impl From<&config::Service> for Service {
    fn from(service: &config::Service) -> Self {
        let client = service.client.as_ref();
        Self {
            name: service.name.to_string(),
            label: service.label.clone(),
            client_id: client.map(|client| client.client_id.clone()),
            scopes: client.map(|client| client.scopes.iter().map(str::to_owned).collect()).unwrap_or_default(),
            has_pat: service.pat.is_some(),
        }
    }
}

impl From<Owned<store::ServicePat>> for ServicePat {
    fn from(Owned { row, user_name }: Owned<store::ServicePat>) -> Self {
        Self {
            service: row.service,
            user_id: row.user.to_string(),
            user: user_name,
            created_at: Moment(row.created_at),
        }
    }
}
