//! The other side of a connection as the administrator and the tables of providers know it, be it an upstream or a service.

use super::known::{provider_at, quirks_at};
use super::sealed::AtServer;
use super::{Connections, Target};
use crate::config::{Service, UpstreamAuth};
use crate::oauth::quirks::Quirks;
use crate::providers::{Providers, Redirects};
use crate::secret::Secret;
use crate::upstream::Upstream;
use std::sync::Arc;

/// Who is on the other side.
pub(super) struct Party {
    /// For people.
    pub(super) name: String,
    /// Whether it may be at private addresses.
    pub(super) allow_private: bool,
    of: Of,
}

enum Of {
    Upstream(Arc<Upstream>, Arc<Providers>),
    Service(Arc<Service>),
}

impl Connections {
    /// `None`: it is not configured any longer, or may not be used.
    pub(super) fn party(&self, target: &Target) -> Option<Party> {
        Some(match target {
            Target::Upstream(authority) => {
                let upstream = self.registry.by_authority(authority)?;
                let name = self.display_name(&upstream);
                let allow_private = upstream.allow_private;
                Party { name, allow_private, of: Of::Upstream(upstream, self.providers.current()) }
            }
            Target::Service(name) => {
                let service = self.services.find(name)?;
                Party { name: service.label.clone(), allow_private: service.allow_private, of: Of::Service(service) }
            }
        })
    }
}

impl Party {
    /// What is special about its authorization server.
    pub(super) fn quirks_at<'a>(&'a self, server: &AtServer) -> &'a Quirks {
        match &self.of {
            Of::Upstream(_, providers) => quirks_at(providers, server),
            Of::Service(service) => match &service.client {
                Some(client) => &client.quirks,
                None => Quirks::plain(),
            },
        }
    }

    /// What a person can do where a provider is known to take certain clients only.
    pub(super) fn advice(&self, server: &AtServer) -> Option<String> {
        let Of::Upstream(_, providers) = &self.of else { return None };
        let provider = provider_at(providers, server).filter(|one| one.redirects != Redirects::Any)?;
        provider.advice_for(&server.redirect_uri)
    }

    /// Whether our client there is the one that the administrator registered.
    pub(super) fn configured(&self, server: &AtServer) -> bool {
        self.client().is_some_and(|(id, _)| id == server.client.id)
    }

    /// Where the administrator configures it.
    pub(super) fn place(&self) -> String {
        match &self.of {
            Of::Upstream(upstream, _) => format!("the [[upstream]] {}", upstream.authority),
            Of::Service(service) => format!("the [[service]] {}", service.name),
        }
    }

    /// Where the configuration says that authorizations are given back.
    pub(super) fn revocation_endpoint(&self, server: &AtServer) -> Option<&str> {
        let Of::Service(service) = &self.of else { return None };
        let client = service.client.as_ref().filter(|client| client.client_id == server.client.id)?;
        client.revocation_endpoint.as_deref()
    }

    /// The issuer whose metadata may be asked.
    pub(super) fn issuer<'a>(&'a self, server: &'a AtServer) -> Option<&'a str> {
        match &self.of {
            Of::Upstream(..) => Some(&server.issuer),
            Of::Service(service) => service.client.as_ref()?.issuer.as_deref(),
        }
    }

    /// What was recorded, with the secret that the administrator has configured for that client since.
    pub(super) fn with_current_secret(&self, server: &AtServer) -> AtServer {
        let mut server = server.clone();
        if let Some((id, Some(secret))) = self.client()
            && id == server.client.id
        {
            server.client.secret = Some(secret.expose().to_owned());
        }
        server
    }

    /// The client that the administrator registered.
    fn client(&self) -> Option<(&str, Option<&Secret>)> {
        match &self.of {
            Of::Upstream(upstream, _) => match &*upstream.auth {
                UpstreamAuth::OAuth(settings) => {
                    Some((settings.client_id.as_deref()?, settings.client_secret.as_ref()))
                }
                UpstreamAuth::Header { .. } | UpstreamAuth::Personal(_) | UpstreamAuth::None => None,
            },
            Of::Service(service) => {
                let client = service.client.as_ref()?;
                Some((&client.client_id, client.client_secret.as_ref()))
            }
        }
    }
}
