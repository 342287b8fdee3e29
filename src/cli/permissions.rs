//! `upstream allow|deny|reset`: who may use the MCP servers that the configuration does not name.

use super::Failure;
use super::arguments::Whom;
use super::output::Output;
use super::people::known;
use super::state::{foreign, open, parse, record, revocations};
use crate::config::{Config, Permitted};
use crate::error::Fault;
use crate::hostname::Authority;
use crate::store::{Store, StoreError, UpstreamAccess};
use std::collections::{BTreeMap, HashMap};

/// Adds people and groups to those who may use an upstream; the first of them end everybody else's use.
pub(super) async fn allow(domain: &str, whom: Whom, config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    let authority = foreign(domain, config)?;
    let store = open(config).await?;
    let nobody = || UpstreamAccess { authority: authority.to_string(), users: Vec::new(), groups: Vec::new() };
    let mut access = store.upstream_access(authority.as_str()).await?.unwrap_or_else(nobody);
    for name in &whom.users {
        let user = known(&store, name).await?.id;
        if !access.users.contains(&user) {
            access.users.push(user);
        }
    }
    for group in whom.groups {
        if !access.groups.contains(&group) {
            access.groups.push(group);
        }
    }
    put(&store, &authority, access, output).await
}

/// Takes people and groups from those who may use an upstream.
pub(super) async fn deny(domain: &str, whom: Whom, config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    let authority = foreign(domain, config)?;
    let store = open(config).await?;
    let Some(mut access) = store.upstream_access(authority.as_str()).await? else {
        let why = "say who may with `portcullis upstream allow`, then nobody else may";
        return Err(Fault::caller(format!("everybody may use {authority}: {why}")).into());
    };
    for name in &whom.users {
        let user = known(&store, name).await?.id;
        access.users.retain(|allowed| *allowed != user);
    }
    access.groups.retain(|allowed| !whom.groups.contains(allowed));
    put(&store, &authority, access, output).await
}

/// Lets everybody use an upstream again.
pub(super) async fn reset(domain: &str, config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    let authority = parse(domain)?;
    let store = open(config).await?;
    if revocations(&store).unrestrict(authority.as_str()).await? {
        record(&store, "upstream.permitted", &format!("{authority} to everybody")).await?;
    }
    Ok(output.line(format_args!("{authority} is for everybody"))?)
}

/// Who may use the upstreams that not everybody may use, in words.
pub(super) async fn listed(store: &Store) -> Result<BTreeMap<String, String>, StoreError> {
    let names: HashMap<_, _> = store.users().await?.into_iter().map(|user| (user.id, user.name)).collect();
    let rows = store.restricted_upstreams().await?.into_iter().map(|row| {
        // Whoever was removed cannot come back under this id.
        let users = row.users.iter().filter_map(|id| names.get(id).cloned()).collect();
        (row.authority, words(Some(&Permitted { users, groups: row.groups })))
    });
    Ok(rows.collect())
}

/// `alice, group dev`
pub(super) fn words(allowed: Option<&Permitted>) -> String {
    let Some(Permitted { users, groups }) = allowed else { return "everybody".to_owned() };
    let groups = groups.iter().map(|group| format!("group {group}"));
    let all: Vec<String> = users.iter().cloned().chain(groups).collect();
    if all.is_empty() { "nobody".to_owned() } else { all.join(", ") }
}

async fn put(
    store: &Store,
    authority: &Authority,
    access: UpstreamAccess,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    revocations(store).restrict(&access).await?;
    let allowed = listed(store).await?.remove(authority.as_str()).unwrap_or_default();
    record(store, "upstream.permitted", &format!("{authority} to {allowed}")).await?;
    Ok(output.line(format_args!("{authority} is for {allowed}"))?)
}
