//! `user …`

use super::Failure;
use super::arguments::UserCommand;
use super::output::{Output, date};
use super::state::{counted, open, record, revocations};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Fault;
use crate::identity::Identity;
use crate::ids::Random;
use crate::secret::Secret;
use crate::store::{Role, Store};
use std::io::Read;
use zeroize::Zeroizing;

/// `portcullis user add|list|passwd|reset-factors|remove`. Works beside a running server.
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
            let user = store.user_by_name(&name).await?.ok_or_else(|| missing(&name))?;
            let had_any = store.delete_factors(user.id).await?;
            record(&store, "user.factors_reset", &user.name).await?;
            let rest = if had_any { "has a password only, and is signed out" } else { "had no second factor" };
            Ok(output.line(format_args!("{} {rest}", user.name))?)
        }
        UserCommand::Remove { name } => {
            let store = open(config).await?;
            let missing = || missing(&name);
            let user = store.user_by_name(&name).await?.ok_or_else(missing)?;
            let ended = revocations(&store).person(user.id).await?.ok_or_else(missing)?;
            record(&store, "user.removed", &user.name).await?;
            let grants = counted(ended.grants.len(), "grant");
            let connections = counted(ended.connections.len(), "connection");
            Ok(output.line(format_args!("removed {}: {grants} and {connections} ended", user.name))?)
        }
    }
}

async fn list(store: &Store, output: &mut Output<'_>) -> Result<(), Failure> {
    let row = |user: crate::store::User| {
        let role = if user.role == Role::Administrator { "administrator" } else { "member" };
        let id = user.id.to_string();
        [
            user.name.into(),
            role.into(),
            user.email.into(),
            user.disabled.into(),
            date(user.created_at).into(),
            id.into(),
        ]
    };
    let rows = store.users().await?.into_iter().map(row).collect();
    Ok(output.listing(["name", "role", "email", "disabled", "created_at", "id"], rows)?)
}

fn missing(name: &str) -> Fault {
    Fault::caller(format!("there is no user {name}: `portcullis user list` shows all"))
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
