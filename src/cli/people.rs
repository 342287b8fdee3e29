//! `user …`

use super::Failure;
use super::arguments::{GroupCommand, RoleName, UserCommand};
use super::output::{Output, date};
use super::state::{counted, open, record, revocations};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Fault;
use crate::identity::Identity;
use crate::ids::{Random, UserId};
use crate::secret::Secret;
use crate::store::{Role, Store, User};
use std::collections::HashMap;
use std::io::Read;
use zeroize::Zeroizing;

/// `portcullis user add|list|passwd|reset-factors|remove|disable|enable|role|group`. Works beside a running server.
pub(super) async fn user(
    command: UserCommand,
    config: &Config,
    stdin: &mut dyn Read,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        UserCommand::Add { name, admin, .. } => {
            let password = password(stdin)?;
            let store = open(config).await?;
            let role = if admin { Role::Administrator } else { Role::Member };
            let user = identity(&store).await?.create(&name, &password, role).await?;
            record(&store, "user.created", &user.name).await?;
            Ok(output.line(format_args!("added {}", user.name))?)
        }
        UserCommand::List => list(&open(config).await?, output).await,
        UserCommand::Passwd { name, .. } => {
            let password = password(stdin)?;
            let store = open(config).await?;
            identity(&store).await?.set_password(&name, &password).await?;
            record(&store, "user.password_changed", &name).await?;
            Ok(output.line(format_args!("{name} has a new password"))?)
        }
        UserCommand::ResetFactors { name } => {
            let store = open(config).await?;
            let user = known(&store, &name).await?;
            let had_any = store.delete_factors(user.id).await?;
            record(&store, "user.factors_reset", &user.name).await?;
            let rest = if had_any { "has a password only, and is signed out" } else { "had no second factor" };
            Ok(output.line(format_args!("{} {rest}", user.name))?)
        }
        UserCommand::Remove { name } => {
            let store = open(config).await?;
            let user = known(&store, &name).await?;
            let ended = revocations(&store).person(user.id).await?.unwrap_or_default();
            record(&store, "user.removed", &user.name).await?;
            let grants = counted(ended.grants.len(), "grant");
            let connections = counted(ended.connections.len(), "connection");
            Ok(output.line(format_args!("removed {}: {grants} and {connections} ended", user.name))?)
        }
        UserCommand::Disable { name } => {
            let store = open(config).await?;
            let user = known(&store, &name).await?;
            let ended = revocations(&store).disable(user.id).await?.unwrap_or_default();
            record(&store, "user.disabled", &user.name).await?;
            let grants = counted(ended.grants.len(), "grant");
            let connections = counted(ended.connections.len(), "connection");
            Ok(output.line(format_args!("disabled {}: {grants} ended, {connections} kept", user.name))?)
        }
        UserCommand::Enable { name } => {
            let store = open(config).await?;
            let user = known(&store, &name).await?;
            revocations(&store).enable(user.id).await?;
            record(&store, "user.enabled", &user.name).await?;
            Ok(output.line(format_args!("{} may sign in again", user.name))?)
        }
        UserCommand::Role { name, role } => {
            let store = open(config).await?;
            let user = known(&store, &name).await?;
            let (role, text) = match role {
                RoleName::Administrator => (Role::Administrator, "an administrator"),
                RoleName::Member => (Role::Member, "a member"),
            };
            revocations(&store).set_role(user.id, role).await?;
            record(&store, "user.role_changed", &format!("{}: {text}", user.name)).await?;
            Ok(output.line(format_args!("{} is {text} now", user.name))?)
        }
        UserCommand::Group { command } => group(command, &open(config).await?, output).await,
    }
}

/// `portcullis user group add|remove|list`
async fn group(command: GroupCommand, store: &Store, output: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        GroupCommand::Add { name, group } => {
            let user = known(store, &name).await?;
            if revocations(store).join(&user, &group).await? {
                record(store, "group.joined", &format!("{} in {group}", user.name)).await?;
            }
            Ok(output.line(format_args!("{} is in {group}", user.name))?)
        }
        GroupCommand::Remove { name, group } => {
            let user = known(store, &name).await?;
            revocations(store).leave(&user, &group).await?;
            record(store, "group.left", &format!("{} in {group}", user.name)).await?;
            let still = store.groups_of(user.id).await?.contains(&group);
            let but = if still { ", and stays in it: an identity provider says so" } else { "" };
            Ok(output.line(format_args!("took {} out of {group}{but}", user.name))?)
        }
        GroupCommand::List => {
            let rows = store.groups().await?.into_iter().map(|(name, members)| [name.into(), members.into()]);
            Ok(output.listing(["group", "members"], rows.collect())?)
        }
    }
}

async fn list(store: &Store, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut groups: HashMap<UserId, Vec<String>> = HashMap::new();
    for (user, group) in store.memberships().await? {
        groups.entry(user).or_default().push(group);
    }
    let row = |user: User| {
        let role = if user.role == Role::Administrator { "administrator" } else { "member" };
        let groups = groups.remove(&user.id).unwrap_or_default();
        let (created_at, id) = (date(user.created_at), user.id.to_string());
        [
            user.name.into(),
            role.into(),
            groups.into(),
            user.email.into(),
            user.disabled.into(),
            created_at.into(),
            id.into(),
        ]
    };
    let rows = store.users().await?.into_iter().map(row).collect();
    Ok(output.listing(["name", "role", "groups", "email", "disabled", "created_at", "id"], rows)?)
}

/// The person of a name.
pub(super) async fn known(store: &Store, name: &str) -> Result<User, Fault> {
    let missing = || Fault::caller(format!("there is no user {name}: `portcullis user list` shows all"));
    store.user_by_name(name).await?.ok_or_else(missing)
}

async fn identity(store: &Store) -> Result<Identity, Fault> {
    Identity::new(store.clone(), Clock::system(), Random::default(), None).await
}

/// The first line of standard input, read as far as a password can reach.
fn password(stdin: &mut dyn Read) -> Result<Secret, Fault> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    stdin
        .take(4096)
        .read_to_string(&mut text)
        .map_err(|why| Fault::caller(format!("the password cannot be read from standard input: {why}")))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line.to_owned())),
        _ => Err(Fault::caller("standard input has no password on its first line")),
    }
}
