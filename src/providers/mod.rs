//! What is known about upstreams and their authorization servers, as data: a file per provider in `table/`, overruled by
//! `[[provider]]` of the configuration. [docs/providers.md](../../docs/providers.md) explains the keys.

pub use crate::config::provider::{
    Challenges, Clients, HostPattern, Note, Provider, Redirects, Registration, Resource, Rotation, built_in,
};

use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

/// All providers, found by host.
#[derive(Debug, PartialEq, Eq)]
pub struct Providers {
    by_id: BTreeMap<String, Arc<Provider>>,
    /// By host; domains with everything below begin with a dot.
    by_host: HashMap<String, Arc<Provider>>,
}

impl Providers {
    /// Those of the table.
    pub fn built_in() -> &'static Arc<Self> {
        static BUILT_IN: LazyLock<Arc<Providers>> = LazyLock::new(|| Arc::new(Providers::with(&[])));
        &BUILT_IN
    }

    /// Those of the table, with what the configuration describes otherwise or in addition.
    pub fn with(configured: &[Provider]) -> Self {
        let all = built_in().iter().chain(configured);
        let by_id: BTreeMap<_, _> = all.map(|one| (one.id.clone(), Arc::new(one.clone()))).collect();
        let mut by_host = HashMap::new();
        for provider in by_id.values() {
            for host in &provider.hosts {
                by_host.insert(host.to_string(), provider.clone());
            }
        }
        Self { by_id, by_host }
    }

    /// The provider of a host: the one that names it, else the one that names the nearest domain above it. Without a port,
    /// in lower case.
    pub fn for_host(&self, host: &str) -> Option<&Arc<Provider>> {
        if let Some(found) = self.by_host.get(host) {
            return Some(found);
        }
        let mut domain = host;
        loop {
            if let Some(found) = self.by_host.get(&format!(".{domain}")) {
                return Some(found);
            }
            domain = domain.split_once('.')?.1;
        }
    }

    /// The provider of any of these addresses, the first that is known.
    pub fn for_urls<'a>(&self, urls: impl IntoIterator<Item = &'a str>) -> Option<&Arc<Provider>> {
        urls.into_iter().find_map(|url| self.for_host(url::Url::parse(url).ok()?.host_str()?))
    }

    /// The provider with this id.
    pub fn find(&self, id: &str) -> Option<&Arc<Provider>> {
        self.by_id.get(id)
    }

    /// All of them, by id.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.by_id.values()
    }
}

/// The providers as the configuration in force has them. Look-ups never wait.
pub struct ProviderTable(ArcSwap<Providers>);

impl ProviderTable {
    /// With what the configuration describes.
    pub fn new(configured: &[Provider]) -> Self {
        let providers = match configured {
            [] => Providers::built_in().clone(),
            some => Arc::new(Providers::with(some)),
        };
        Self(ArcSwap::new(providers))
    }

    /// As they are now.
    pub fn current(&self) -> Arc<Providers> {
        self.0.load_full()
    }

    /// The provider of a host, as [`Providers::for_host`] has it.
    pub fn for_host(&self, host: &str) -> Option<Arc<Provider>> {
        self.0.load().for_host(host).cloned()
    }

    /// Puts those of another configuration in force; whether anything is different.
    pub fn reconfigure(&self, configured: &[Provider]) -> bool {
        let new = Providers::with(configured);
        let changed = **self.0.load() != new;
        if changed {
            self.0.store(Arc::new(new));
        }
        changed
    }
}

impl Default for ProviderTable {
    fn default() -> Self {
        Self::new(&[])
    }
}

#[cfg(test)]
mod page;
#[cfg(test)]
mod tests;
