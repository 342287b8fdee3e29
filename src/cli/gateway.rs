//! The gateway that a command is about: the one whose database is here, or a running one that is asked through its API
//! (`--server`). Commands cannot tell which.

use super::api::Api;
use super::arguments::Remote;
use super::{Failure, load};
use crate::administration::records::*;
use crate::administration::{
    Actor, Administration, AuditFilter, CredentialChoice, GrantFilter, Page, PageRequest, ServiceConnectionFilter,
    Signing,
};
use crate::apikey::ApiKeys;
use crate::app;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{self, AuditedRequests, Source};
use crate::connect::{PersonalCredentials, ServiceTable};
use crate::error::Fault;
use crate::hostname::UpstreamAddress;
use crate::identity::Identity;
use crate::ids::Random;
use crate::revocation::Revocations;
use crate::secret::Secret;
use crate::services::Pats;
use crate::session::Sessions;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::upstream::Registry;
use serde_json::json;
use std::sync::Arc;

/// Where commands about people, clients, upstreams and so on go.
pub(super) enum Gateway {
    /// To the database; a running server learns of it there.
    Here(Box<Administration>),
    /// To a running server.
    There(Api),
}

impl Gateway {
    /// The one that the arguments name, else that of the configuration; with the key of the vault where the command
    /// `seals` something.
    ///
    /// # Errors
    /// When the configuration is wrong, the database cannot be used, or there are no credentials.
    pub(super) async fn open(remote: &Remote, source: &Source, seals: bool) -> Result<Self, Failure> {
        if let Some(server) = &remote.server {
            return Ok(Self::There(Api::at(server, remote.api_key_file.as_deref(), &source.environment).await?));
        }
        if remote.api_key_file.is_some() {
            return Err(Fault::caller("--api-key-file is for the gateway of --server: name that too").into());
        }
        let mut config = load(source)?;
        let (clock, random) = (Clock::system(), Random::default());
        let store = Store::open_with(config.store.url.expose(), config.store.connections).await?;
        let (signing, pats, personal) = match seals {
            true => {
                let vault = config::keyring(&config.vault, &random)?;
                vault.check(&store).await?;
                let pats = Pats::new(store.clone(), vault.clone(), clock.clone());
                let personal = PersonalCredentials::new(store.clone(), vault.clone(), clock.clone(), random.clone());
                (Some(Signing { vault, config: config.tokens }), Some(pats), Some(personal))
            }
            false => (None, None, None),
        };
        let services = ServiceTable::default();
        services.reconfigure(std::mem::take(&mut config.service));
        let (site, upstreams) = (app::site_of(&config, &[]), std::mem::take(&mut config.upstream));
        let sessions = Sessions::new(store.clone(), clock.clone(), random.clone(), &site, config.login.sessions);
        let registry = Registry::new(&config.upstreams, upstreams, site, store.clone()).await?;
        Ok(Self::Here(Box::new(Administration {
            identity: Arc::new(Identity::new(store.clone(), clock.clone(), random.clone(), None).await?),
            revocations: Arc::new(Revocations::beside_a_server(store.clone(), clock.clone())),
            registry: Arc::new(registry),
            sessions: Arc::new(sessions),
            api_keys: Arc::new(ApiKeys::new(store.clone(), clock.clone(), random.clone())),
            audit: Audit::new(store.clone(), clock.clone(), Arc::new(Metrics::default()), AuditedRequests::None),
            services: Arc::new(services),
            pats,
            personal,
            signing,
            clock,
            random,
            store,
        })))
    }

    /// The database, for what is about its rows.
    ///
    /// # Errors
    /// When the gateway is elsewhere.
    pub(super) fn store_here(&self) -> Result<&Store, Fault> {
        match self {
            Self::Here(here) => Ok(&here.store),
            Self::There(_) => Err(Fault::caller(
                "this reads the database itself: run it without --server, with the configuration of the gateway",
            )),
        }
    }

    /// Waits until what was done is in the audit log.
    pub(super) async fn settle(&self) {
        if let Self::Here(here) = self {
            here.audit.flush().await;
        }
    }

    pub(super) async fn users(&self) -> Result<Vec<User>, Fault> {
        match self {
            Self::Here(here) => all(async |page| Ok(here.users(None, &page).await?)).await,
            Self::There(api) => all(async |page| api.get("/users", &page).await).await,
        }
    }

    /// The person of a name.
    pub(super) async fn user(&self, name: &str) -> Result<User, Fault> {
        let found = match self {
            Self::Here(here) => here.users(Some(name), &PageRequest::default()).await?,
            Self::There(api) => api.get("/users", &[("name", name)]).await?,
        };
        let missing = || Fault::caller(format!("there is no user {name}: `portcullis user list` shows all"));
        found.items.into_iter().next().ok_or_else(missing)
    }

    pub(super) async fn create_user(&self, name: String, password: Secret, role: Role) -> Result<User, Fault> {
        match self {
            Self::Here(here) => {
                let new = NewUser { name, password: Some(password), role, email: None };
                Ok(here.create_user(&Actor::system(), new).await?)
            }
            Self::There(api) => {
                api.post("/users", &json!({ "name": name, "password": password.expose(), "role": role })).await
            }
        }
    }

    pub(super) async fn set_password(&self, user: &User, password: &Secret) -> Result<(), Fault> {
        match self {
            Self::Here(here) => Ok(here.set_password(&Actor::system(), &user.id, password).await?),
            Self::There(api) => {
                let body = json!({ "password": password.expose() });
                api.put(&["users", &user.id, "password"], &body).await
            }
        }
    }

    pub(super) async fn reset_factors(&self, user: &User) -> Result<FactorsReset, Fault> {
        match self {
            Self::Here(here) => Ok(here.reset_factors(&Actor::system(), &user.id).await?),
            Self::There(api) => api.delete(&["users", &user.id, "factors"]).await,
        }
    }

    pub(super) async fn change_user(&self, user: &User, change: &UserChange) -> Result<User, Fault> {
        match self {
            Self::Here(here) => Ok(here.change_user(&Actor::system(), &user.id, change).await?),
            Self::There(api) => api.patch(&["users", &user.id], change).await,
        }
    }

    pub(super) async fn delete_user(&self, user: &User) -> Result<Ended, Fault> {
        match self {
            Self::Here(here) => Ok(here.delete_user(&Actor::system(), &user.id).await?),
            Self::There(api) => api.delete(&["users", &user.id]).await,
        }
    }

    pub(super) async fn upstreams(&self) -> Result<Vec<Upstream>, Fault> {
        match self {
            Self::Here(here) => Ok(here.upstreams().await?.items),
            Self::There(api) => Ok(api.get::<Page<Upstream>>("/upstreams", &()).await?.items),
        }
    }

    pub(super) async fn decide(&self, domain: &str, decision: &UpstreamDecision) -> Result<Upstream, Fault> {
        match self {
            Self::Here(here) => Ok(here.decide(&Actor::system(), domain, decision).await?),
            Self::There(api) => api.put(&["upstreams", domain], decision).await,
        }
    }

    pub(super) async fn undecide(&self, domain: &str) -> Result<(), Fault> {
        match self {
            Self::Here(here) => Ok(here.undecide(&Actor::system(), domain).await?),
            Self::There(api) => api.delete(&["upstreams", domain]).await,
        }
    }

    pub(super) async fn connections(&self) -> Result<Vec<Connection>, Fault> {
        match self {
            Self::Here(here) => all(async |page| Ok(here.connections(None, &page).await?)).await,
            Self::There(api) => all(async |page| api.get("/connections", &page).await).await,
        }
    }

    pub(super) async fn delete_connection(&self, id: &str) -> Result<(), Fault> {
        match self {
            Self::Here(here) => Ok(here.delete_connection(&Actor::system(), id).await?),
            Self::There(api) => api.delete(&["connections", id]).await,
        }
    }

    pub(super) async fn clients(&self) -> Result<Vec<Client>, Fault> {
        match self {
            Self::Here(here) => all(async |page| Ok(here.clients(&page).await?)).await,
            Self::There(api) => all(async |page| api.get("/clients", &page).await).await,
        }
    }

    pub(super) async fn create_client(&self, new: &NewClient) -> Result<CreatedClient, Fault> {
        match self {
            Self::Here(here) => Ok(here.create_client(&Actor::system(), new).await?),
            Self::There(api) => api.post("/clients", new).await,
        }
    }

    /// Deletes a client at one realm, or everywhere; how many grants ended.
    pub(super) async fn delete_client(&self, realm: Option<&str>, id: &str) -> Result<usize, Fault> {
        let api = match self {
            Self::Here(here) => return Ok(here.delete_client(&Actor::system(), realm, id).await?),
            Self::There(api) => api,
        };
        if let Some(realm) = realm {
            return Ok(api.delete::<Ended>(&["clients", realm, id]).await?.grants);
        }
        let mut ended = None;
        for client in self.clients().await?.into_iter().filter(|client| client.id == id) {
            *ended.get_or_insert(0) += api.delete::<Ended>(&["clients", &client.realm, id]).await?.grants;
        }
        ended.ok_or_else(|| Fault::caller(format!("there is no client {id}: `portcullis client list` shows all")))
    }

    pub(super) async fn grants(&self, filter: &GrantFilter) -> Result<Vec<Grant>, Fault> {
        match self {
            Self::Here(here) => all(async |page| Ok(here.grants(filter, &page).await?)).await,
            Self::There(api) => all(async |page| api.get_some("/grants", filter, &page).await).await,
        }
    }

    pub(super) async fn revoke_grant(&self, id: &str) -> Result<(), Fault> {
        match self {
            Self::Here(here) => Ok(here.revoke_grant(&Actor::system(), id).await?),
            Self::There(api) => api.delete(&["grants", id]).await,
        }
    }

    pub(super) async fn api_keys(&self) -> Result<Vec<ApiKey>, Fault> {
        match self {
            Self::Here(here) => Ok(here.api_keys().await?.items),
            Self::There(api) => Ok(api.get::<Page<ApiKey>>("/api-keys", &()).await?.items),
        }
    }

    pub(super) async fn create_api_key(&self, new: &NewApiKey) -> Result<CreatedApiKey, Fault> {
        match self {
            Self::Here(here) => Ok(here.create_api_key(&Actor::system(), new).await?),
            Self::There(api) => api.post("/api-keys", new).await,
        }
    }

    pub(super) async fn revoke_api_key(&self, id: &str) -> Result<(), Fault> {
        match self {
            Self::Here(here) => Ok(here.revoke_api_key(&Actor::system(), id).await?),
            Self::There(api) => api.delete(&["api-keys", id]).await,
        }
    }

    pub(super) async fn services(&self) -> Result<Vec<Service>, Fault> {
        match self {
            Self::Here(here) => Ok(here.services().items),
            Self::There(api) => Ok(api.get::<Page<Service>>("/services", &()).await?.items),
        }
    }

    /// Connections at one service.
    pub(super) async fn service_connections(
        &self,
        service: &str,
        filter: &ServiceConnectionFilter,
    ) -> Result<Vec<ServiceConnection>, Fault> {
        let path = format!("/services/{service}/connections");
        match self {
            Self::Here(here) => all(async |page| Ok(here.service_connections(service, filter, &page).await?)).await,
            Self::There(api) => all(async |page| api.get_some(&path, filter, &page).await).await,
        }
    }

    pub(super) async fn disconnect_service(&self, service: &str, user: &User) -> Result<(), Fault> {
        match self {
            Self::Here(here) => Ok(here.disconnect_service(&Actor::system(), service, &user.id).await?),
            Self::There(api) => api.delete(&["services", service, "connections", &user.id]).await,
        }
    }

    /// Personal access tokens for one service.
    pub(super) async fn service_pats(&self, service: &str) -> Result<Vec<ServicePat>, Fault> {
        let path = format!("/services/{service}/pats");
        match self {
            Self::Here(here) => all(async |page| Ok(here.service_pats(service, &page).await?)).await,
            Self::There(api) => all(async |page| api.get(&path, &page).await).await,
        }
    }

    pub(super) async fn put_service_pat(&self, service: &str, user: &User, pat: &Secret) -> Result<(), Fault> {
        match self {
            Self::Here(here) => Ok(here.put_service_pat(&Actor::system(), service, &user.id, pat).await?),
            Self::There(api) => {
                api.put(&["services", service, "pats", &user.id], &json!({ "pat": pat.expose() })).await
            }
        }
    }

    pub(super) async fn delete_service_pat(&self, service: &str, user: &User) -> Result<(), Fault> {
        match self {
            Self::Here(here) => Ok(here.delete_service_pat(&Actor::system(), service, &user.id).await?),
            Self::There(api) => api.delete(&["services", service, "pats", &user.id]).await,
        }
    }

    /// The domain of an upstream that is named by its domain, URL or alias.
    pub(super) async fn domain_of(&self, upstream: &str) -> Result<String, Fault> {
        let known = self.upstreams().await?;
        let aliased = known.into_iter().find(|one| one.alias.as_deref() == Some(upstream));
        if let Some(found) = aliased {
            return Ok(found.domain);
        }
        let address: Result<UpstreamAddress, _> = upstream.parse();
        address.map(|found| found.authority.to_string()).map_err(|why| Fault::caller(format!("{upstream:?}: {why}")))
    }

    /// Keeps a value that a person gives an upstream by hand; of the only name that is wanted where none is given.
    pub(super) async fn put_credential(
        &self,
        upstream: &str,
        user: &User,
        account: &Option<String>,
        name: Option<&str>,
        value: &Secret,
    ) -> Result<(), Fault> {
        let domain = self.domain_of(upstream).await?;
        let account = account.clone().unwrap_or_default();
        let name = name.unwrap_or_default().to_owned();
        match self {
            Self::Here(here) => {
                let new = NewCredentials { account, values: [(name, value.clone())].into() };
                Ok(here.put_credentials(&Actor::system(), &domain, &user.id, &new).await?)
            }
            Self::There(api) => {
                let body = json!({ "account": account, "values": { name: value.expose() } });
                api.put(&["upstreams", &domain, "credentials", &user.id], &body).await
            }
        }
    }

    pub(super) async fn delete_credentials(
        &self,
        upstream: &str,
        user: &User,
        which: &CredentialChoice,
    ) -> Result<(), Fault> {
        let domain = self.domain_of(upstream).await?;
        match self {
            Self::Here(here) => Ok(here.delete_credentials(&Actor::system(), &domain, &user.id, which).await?),
            Self::There(api) => api.delete_some(&["upstreams", &domain, "credentials", &user.id], which).await,
        }
    }

    pub(super) async fn signing_keys(&self) -> Result<Vec<SigningKey>, Fault> {
        match self {
            Self::Here(here) => Ok(here.signing_keys().await?.items),
            Self::There(api) => Ok(api.get::<Page<SigningKey>>("/signing-keys", &()).await?.items),
        }
    }

    pub(super) async fn rotate(&self, new: &NewSigningKey) -> Result<SigningKey, Fault> {
        match self {
            Self::Here(here) => Ok(here.rotate_signing_keys(&Actor::system(), new).await?),
            Self::There(api) => api.post("/signing-keys", new).await,
        }
    }

    /// The newest events, at most as many as one page has.
    pub(super) async fn audit_log(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditEvent>, Fault> {
        let page = PageRequest { limit: Some(limit), after: None };
        match self {
            Self::Here(here) => Ok(here.audit_log(filter, &page).await?.items),
            Self::There(api) => Ok(api.get_some::<Page<AuditEvent>>("/audit", filter, &page).await?.items),
        }
    }
}

/// All pages of a list.
async fn all<T>(read: impl AsyncFn(PageRequest) -> Result<Page<T>, Fault>) -> Result<Vec<T>, Fault> {
    let (mut items, mut request) = (Vec::new(), PageRequest { limit: Some(500), after: None });
    loop {
        let page = read(request.clone()).await?;
        items.extend(page.items);
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(items),
        }
    }
}
