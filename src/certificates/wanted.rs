//! Which certificates there should be. Only what an administrator decided about counts: nothing that a stranger names makes us order.

use crate::config::Challenge;
use crate::hostname::{Label, Site};
use crate::upstream::{Registry, Standing, Upstream};
use std::collections::BTreeSet;

/// A certificate that there should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it is called: its first name.
    pub name: String,
    /// All names.
    pub names: Vec<String>,
}

impl Wanted {
    /// As they stand in a row.
    pub(super) fn joined(&self) -> String {
        self.names.join(" ")
    }
}

/// The root domain, and every hostname of an upstream that is configured or approved; with DNS-01 one wildcard instead.
pub fn wanted(site: &Site, registry: &Registry, challenge: &Challenge) -> Vec<Wanted> {
    let root = site.domain().to_owned();
    if let Challenge::Dns01(_) = challenge {
        let wildcard = format!("*.{root}");
        return vec![Wanted { name: root.clone(), names: vec![root, wildcard] }];
    }
    let mut labels = BTreeSet::new();
    for upstream in registry.all().iter().filter(|upstream| upstream.standing == Standing::Allowed) {
        labels.extend(labels_of(upstream).filter(|label| registry.find(label).is_some()));
    }
    let hostnames = labels.into_iter().map(|label| format!("{label}.{root}"));
    std::iter::once(root.clone()).chain(hostnames).map(|name| Wanted { names: vec![name.clone()], name }).collect()
}

fn labels_of(upstream: &Upstream) -> impl Iterator<Item = Label> {
    let encoded = if upstream.authority.is_program() { None } else { Label::encode(&upstream.authority).ok() };
    encoded.into_iter().chain(upstream.alias.as_deref().and_then(|alias| Label::parse(alias).ok()))
}
