//! Which certificates there should be. Only what an administrator decided about counts: nothing that a stranger names makes us order.

use crate::config::{Acme, Challenge, Config, Unknown};
use crate::hostname::{Authority, Label, Site};
use crate::upstream::{Registry, Standing};
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
    let upstreams = registry.all();
    let usable = upstreams.iter().filter(|upstream| upstream.standing == Standing::Allowed);
    let labels = usable.flat_map(|upstream| labels_of(&upstream.authority, upstream.alias.as_deref()));
    of_labels(site, challenge, labels.filter(|label| registry.find(label).is_some()))
}

/// The same as far as a configuration tells; what administrators approved comes to it.
pub fn wanted_by(config: &Config, site: &Site, acme: &Acme) -> Vec<Wanted> {
    let upstreams = config.upstream.iter().map(|upstream| (&upstream.authority, upstream.alias.as_deref()));
    of_labels(site, &acme.challenge, upstreams.flat_map(|(authority, alias)| labels_of(authority, alias)))
}

/// What whoever configures this should think of.
pub fn advice(config: &Config, acme: &Acme) -> Option<&'static str> {
    match acme.challenge {
        Challenge::Dns01(_) => None,
        _ if config.upstreams.unknown == Unknown::Deny => None,
        _ if config.upstreams.unknown == Unknown::Allow => Some(
            "upstreams.unknown = \"allow\": hostnames that nobody configured or approved get no certificate of their own; a \
             wildcard by tls.acme.challenge = \"dns-01\" covers them",
        ),
        _ => Some(
            "hostnames of further upstreams get theirs when an administrator approves them, before which no client reaches \
             them; a wildcard by tls.acme.challenge = \"dns-01\" covers all",
        ),
    }
}

fn of_labels(site: &Site, challenge: &Challenge, labels: impl Iterator<Item = Label>) -> Vec<Wanted> {
    let root = site.domain().to_owned();
    if let Challenge::Dns01(_) = challenge {
        let wildcard = format!("*.{root}");
        return vec![Wanted { name: root.clone(), names: vec![root, wildcard] }];
    }
    let hostnames = labels.collect::<BTreeSet<_>>().into_iter().map(|label| format!("{label}.{root}"));
    std::iter::once(root.clone()).chain(hostnames).map(|name| Wanted { names: vec![name.clone()], name }).collect()
}

fn labels_of(authority: &Authority, alias: Option<&str>) -> impl Iterator<Item = Label> {
    let encoded = if authority.is_program() { None } else { Label::encode(authority).ok() };
    encoded.into_iter().chain(alias.and_then(|alias| Label::parse(alias).ok()))
}
