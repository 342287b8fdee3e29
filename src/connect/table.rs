//! The services of the configuration, in memory.

use crate::config::{Service, ServiceName};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All services, by name. Look-ups never wait.
#[derive(Default)]
pub struct ServiceTable(ArcSwap<BTreeMap<ServiceName, Arc<Service>>>);

impl ServiceTable {
    /// The service of that name.
    pub fn find(&self, name: &ServiceName) -> Option<Arc<Service>> {
        self.0.load().get(name).cloned()
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<Arc<Service>> {
        self.0.load().values().cloned().collect()
    }

    /// Puts those of another configuration in their place; whether anything is different.
    pub fn reconfigure(&self, services: Vec<Service>) -> bool {
        let new: BTreeMap<_, _> =
            services.into_iter().map(|service| (service.name.clone(), Arc::new(service))).collect();
        let old = self.0.load();
        let same = old.len() == new.len() && old.iter().zip(&new).all(|((_, one), (_, other))| one.is_same(other));
        if !same {
            self.0.store(Arc::new(new));
        }
        !same
    }
}
