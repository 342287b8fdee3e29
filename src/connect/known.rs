//! What the table of providers says about the other side of a connection.

use super::Connections;
use super::discovery::Discovered;
use super::sealed::AtServer;
use crate::oauth::quirks::Quirks;
use crate::providers::{Provider, ProviderTable, Providers};
use crate::upstream::Upstream;
use std::sync::Arc;

impl Connections {
    /// The table of providers, with what the configuration says.
    pub fn providers(&self) -> &Arc<ProviderTable> {
        &self.providers
    }

    /// The path where an upstream's MCP endpoint is: the configured one, else the table's.
    pub fn usual_path(&self, upstream: &Upstream) -> Option<String> {
        let known = || self.providers.for_host(upstream.authority.host())?.path.clone();
        upstream.path.clone().or_else(known)
    }

    /// What people call an upstream: the name that somebody gave it, else that of its provider.
    pub fn display_name(&self, upstream: &Upstream) -> String {
        match self.providers.for_host(upstream.authority.host()) {
            Some(provider) if upstream.name == upstream.authority.as_str() => provider.name.clone(),
            _ => upstream.name.clone(),
        }
    }

    /// The provider of an upstream, else that of its authorization server.
    pub(super) fn provider_of(&self, upstream: &Upstream, server: &Discovered) -> Option<Arc<Provider>> {
        let providers = self.providers.current();
        let server = [server.authorization_endpoint.as_str(), server.token_endpoint.as_str()];
        providers.for_host(upstream.authority.host()).or_else(|| providers.for_urls(server)).cloned()
    }
}

/// How the provider behind a token endpoint departs from the specifications.
pub(super) fn quirks_at<'a>(providers: &'a Providers, server: &AtServer) -> &'a Quirks {
    quirks(provider_at(providers, server))
}

/// The provider behind a token endpoint.
pub(super) fn provider_at<'a>(providers: &'a Providers, server: &AtServer) -> Option<&'a Arc<Provider>> {
    let urls = [server.resource.as_deref(), Some(server.token_endpoint.as_str())];
    providers.for_urls(urls.into_iter().flatten())
}

/// Those of a provider; none of one that is not known.
pub(super) fn quirks(provider: Option<&Arc<Provider>>) -> &Quirks {
    match provider {
        Some(provider) => &provider.quirks,
        None => Quirks::plain(),
    }
}
