//! What each door works with.

use super::App;
use crate::administration::{Administration, Signing};
use crate::api::{self, Api};
use crate::broker::{self, Broker};
use crate::config::{Config, Login};
use crate::dashboard::{self, Dashboard};
use crate::doctor::Kit;
use crate::forward_auth::{self, ForwardAuth};
use crate::identity::providers::{Providers, Tools};
use crate::issuer::{self, Issuer};
use crate::proxy::Settings;
use crate::services::Pats;
use crate::unified;
use std::sync::Arc;

impl App {
    /// What the data plane goes by at this moment.
    pub(super) fn settings(&self) -> Settings {
        let config = self.config();
        let providers = Arc::new(self.providers(&config.login));
        let issuer = Arc::new(self.issuer(&config, providers.clone()));
        let root = issuer::root_routes(issuer.clone())
            .merge(unified::visits(&self.site, config.unified.enabled))
            .merge(forward_auth::routes(Arc::new(self.forward_auth())))
            .merge(api::routes(Arc::new(self.api(&config))))
            .merge(broker::routes(Arc::new(self.broker(&config))))
            .merge(dashboard::routes(Arc::new(self.dashboard(&config, providers))));
        let unified = unified::routes(self.unified.clone());
        Settings { config, limits: self.limits(), root, mcp: issuer::mcp_routes(issuer), unified }
    }

    fn issuer(&self, config: &Config, providers: Arc<Providers>) -> Issuer {
        Issuer {
            site: self.site.clone(),
            clock: self.clock.clone(),
            random: self.random.clone(),
            store: self.store.clone(),
            vault: self.vault.clone(),
            tokens: self.tokens.clone(),
            lifetimes: config.tokens,
            sessions: self.sessions.clone(),
            providers,
            api_keys: self.api_keys.clone(),
            registry: self.registry.clone(),
            connections: self.connections.clone(),
            revocations: self.revocations.clone(),
            http: self.http.clone(),
            audit: self.audit.clone(),
            remote_keys: self.remote_keys.clone(),
            registration: config.registration.clone(),
            allow_private_documents: config.upstreams.allow_private,
            limits: self.limits(),
        }
    }

    /// What administrators do, however they ask.
    fn administration(&self, config: &Config) -> Administration {
        let signing = Signing { vault: self.vault.clone(), config: config.tokens };
        Administration {
            store: self.store.clone(),
            identity: self.identity.clone(),
            revocations: self.revocations.clone(),
            registry: self.registry.clone(),
            services: self.connections.services().clone(),
            pats: Some(Pats::new(self.store.clone(), self.vault.clone(), self.clock.clone())),
            personal: Some(self.connections.personal_credentials().clone()),
            api_keys: self.api_keys.clone(),
            sessions: self.sessions.clone(),
            signing: Some(signing),
            audit: self.audit.clone(),
            clock: self.clock.clone(),
            random: self.random.clone(),
        }
    }

    fn api(&self, config: &Config) -> Api {
        Api::new(api::Parts {
            site: self.site.clone(),
            administration: Arc::new(self.administration(config)),
            activity: self.activity.clone(),
            tokens: self.tokens.clone(),
            sessions: self.sessions.clone(),
            limits: self.limits(),
        })
    }

    fn broker(&self, config: &Config) -> Broker {
        Broker {
            site: self.site.clone(),
            services: self.services.clone(),
            api_keys: self.api_keys.clone(),
            sessions: self.sessions.clone(),
            store: self.store.clone(),
            audit: self.audit.clone(),
            clock: self.clock.clone(),
            random: self.random.clone(),
            limits: self.limits(),
            allowed_origins: config.server.allowed_origins.clone(),
        }
    }

    fn forward_auth(&self) -> ForwardAuth {
        ForwardAuth {
            site: self.site.clone(),
            tokens: self.tokens.clone(),
            sessions: self.sessions.clone(),
            store: self.store.clone(),
            registry: self.registry.clone(),
        }
    }

    fn providers(&self, login: &Login) -> Providers {
        let tools = Tools {
            http: self.http.clone(),
            keys: self.remote_keys.clone(),
            store: self.store.clone(),
            vault: self.vault.clone(),
            site: self.site.clone(),
            clock: self.clock.clone(),
            random: self.random.clone(),
        };
        Providers::new(tools, login)
    }

    fn dashboard(&self, config: &Config, providers: Arc<Providers>) -> Dashboard {
        Dashboard {
            site: self.site.clone(),
            administration: Arc::new(self.administration(config)),
            identity: self.identity.clone(),
            providers,
            passwords: config.login.password,
            sessions: self.sessions.clone(),
            store: self.store.clone(),
            registry: self.registry.clone(),
            health: self.health.clone(),
            services: self.services.clone(),
            connections: self.connections.clone(),
            mcp: self.clients.clone(),
            audit: self.audit.clone(),
            activity: self.activity.clone(),
            certificates: self.certificates.clone(),
            clock: self.clock.clone(),
            revocations: self.revocations.clone(),
            limits: self.limits(),
            factors: self.factors.clone(),
            second_factor: config.login.second_factor,
            unified: config.unified.enabled,
            doctor: self.doctor_kit(config),
            in_force: self.in_force.load_full(),
            node: self.node.id,
        }
    }

    fn doctor_kit(&self, config: &Config) -> Kit {
        let (clock, random) = (self.clock.clone(), self.random.clone());
        let ca_file = config.upstreams.ca_file.clone();
        let kit = Kit::new(self.site.root_origin(), self.resolver.clone(), ca_file, clock, random);
        kit.with_providers(Arc::new(crate::providers::Providers::with(&config.provider)))
    }
}
