//! `user group …` and `upstream allow|deny|reset`: who belongs to what, and who may use the MCP servers that the
//! configuration does not name.

use super::Failure;
use super::arguments::{GroupCommand, Whom};
use super::gateway::Gateway;
use super::output::Output;
use crate::administration::records::{Permission, Upstream};
use crate::administration::{Actor, Administration, Change};
use crate::error::Fault;
use serde::Serialize;

/// `portcullis user group add|remove|list`
pub(super) async fn group(command: GroupCommand, gateway: &Gateway, output: &mut Output<'_>) -> Result<(), Failure> {
    let here = here(gateway)?;
    match command {
        GroupCommand::Add { name, group } => {
            here.join(&Actor::system(), &gateway.user(&name).await?.id, &group).await.map_err(Fault::from)?;
            Ok(output.line(format_args!("{name} is in {group}"))?)
        }
        GroupCommand::Remove { name, group } => {
            let user = gateway.user(&name).await?;
            let left = here.leave(&Actor::system(), &user.id, &group).await.map_err(Fault::from)?;
            let still = left.groups.contains(&group);
            let but = if still { ", and stays in it: an identity provider says so" } else { "" };
            Ok(output.line(format_args!("took {name} out of {group}{but}"))?)
        }
        GroupCommand::List => {
            let groups = here.store.groups().await.map_err(Fault::from)?;
            let rows = groups.into_iter().map(|(name, members)| [name.into(), members.into()]);
            Ok(output.listing(["group", "members"], rows.collect())?)
        }
    }
}

/// Says who may use an upstream.
pub(super) async fn change(
    gateway: &Gateway,
    domain: &str,
    change: Change,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let changed = here(gateway)?.permit(&Actor::system(), domain, change).await.map_err(Fault::from)?;
    Ok(output.line(format_args!("{} is for {}", changed.domain, words(&changed)))?)
}

/// A row of the list of upstreams.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    pub(super) upstream: Upstream,
    /// In words.
    pub(super) permitted: String,
}

/// `alice, group dev`
pub(super) fn words(upstream: &Upstream) -> String {
    let Some(Permission { users, groups }) = &upstream.permission else { return "everybody".to_owned() };
    let groups = groups.iter().map(|group| format!("group {group}"));
    let all: Vec<String> = users.iter().cloned().chain(groups).collect();
    if all.is_empty() { "nobody".to_owned() } else { all.join(", ") }
}

/// What the API has no way for.
fn here(gateway: &Gateway) -> Result<&Administration, Fault> {
    match gateway {
        Gateway::Here(here) => Ok(here),
        Gateway::There(_) => Err(Fault::caller("--server cannot do this: run it on the gateway's own machine")),
    }
}

impl Whom {
    pub(super) fn names_somebody(&self) -> bool {
        !self.users.is_empty() || !self.groups.is_empty()
    }
}

impl From<Whom> for Permission {
    fn from(whom: Whom) -> Self {
        Self { users: whom.users, groups: whom.groups }
    }
}
