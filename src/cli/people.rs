//! `user …`

use super::arguments::{RoleName, UserCommand};
use super::gateway::Gateway;
use super::output::{Output, counted};
use super::{Failure, permissions};
use crate::administration::records::{Role, UserChange};
use crate::error::Fault;
use crate::secret::Secret;
use std::io::Read;
use zeroize::Zeroizing;

/// `portcullis user add|list|passwd|reset-factors|remove|disable|enable|role|group`
pub(super) async fn user(
    command: UserCommand,
    gateway: &Gateway,
    stdin: &mut dyn Read,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        UserCommand::Add { name, admin, .. } => {
            let role = if admin { Role::Administrator } else { Role::Member };
            let user = gateway.create_user(name, password(stdin)?, role).await?;
            Ok(output.line(format_args!("added {}", user.name))?)
        }
        UserCommand::List => {
            let columns = ["name", "role", "groups", "email", "disabled", "created_at", "id"];
            output.records(columns, &gateway.users().await?)
        }
        UserCommand::Passwd { name, .. } => {
            let password = password(stdin)?;
            gateway.set_password(&gateway.user(&name).await?, &password).await?;
            Ok(output.line(format_args!("{name} has a new password"))?)
        }
        UserCommand::ResetFactors { name } => {
            let user = gateway.user(&name).await?;
            let had_any = gateway.reset_factors(&user).await?.had_any;
            let rest = if had_any { "has a password only, and is signed out" } else { "had no second factor" };
            Ok(output.line(format_args!("{} {rest}", user.name))?)
        }
        UserCommand::Remove { name } => {
            let user = gateway.user(&name).await?;
            let ended = gateway.delete_user(&user).await?;
            let (grants, connections) = (counted(ended.grants, "grant"), counted(ended.connections, "connection"));
            Ok(output.line(format_args!("removed {}: {grants} and {connections} ended", user.name))?)
        }
        UserCommand::Disable { name } => {
            let user = gateway.user(&name).await?;
            gateway.change_user(&user, &UserChange { disabled: Some(true), ..UserChange::default() }).await?;
            Ok(output.line(format_args!("disabled {}: sessions and grants ended, connections stay", user.name))?)
        }
        UserCommand::Enable { name } => {
            let user = gateway.user(&name).await?;
            gateway.change_user(&user, &UserChange { disabled: Some(false), ..UserChange::default() }).await?;
            Ok(output.line(format_args!("{} may sign in again", user.name))?)
        }
        UserCommand::Role { name, role } => {
            let user = gateway.user(&name).await?;
            let (role, text) = match role {
                RoleName::Administrator => (Role::Administrator, "an administrator"),
                RoleName::Member => (Role::Member, "a member"),
            };
            gateway.change_user(&user, &UserChange { role: Some(role), ..UserChange::default() }).await?;
            Ok(output.line(format_args!("{} is {text} now", user.name))?)
        }
        UserCommand::Group { command } => permissions::group(command, gateway, output).await,
    }
}

fn password(stdin: &mut dyn Read) -> Result<Secret, Fault> {
    first_line(stdin, "standard input", "a password")
}

/// The first line of what must hold `what`, read as far as that can reach.
pub(super) fn first_line(from: &mut dyn Read, place: &str, what: &str) -> Result<Secret, Fault> {
    let mut text = Zeroizing::new(String::with_capacity(8192));
    let unread = |why| Fault::caller(format!("{what} cannot be read from {place}: {why}"));
    from.take(8192).read_to_string(&mut text).map_err(unread)?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line.to_owned())),
        _ => Err(Fault::caller(format!("{place} does not have {what} on its first line"))),
    }
}
