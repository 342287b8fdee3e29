//! `service …`

use super::Failure;
use super::arguments::{PatCommand, ServiceCommand};
use super::gateway::Gateway;
use super::output::Output;
use super::people::first_line;
use crate::administration::ServiceConnectionFilter;
use crate::error::Fault;
use std::io::Read;

/// `portcullis service list|connections|disconnect|pat`
pub(super) async fn service(
    command: ServiceCommand,
    gateway: &Gateway,
    stdin: &mut dyn Read,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        ServiceCommand::List => {
            output.records(["name", "label", "client_id", "scopes", "has_pat"], &gateway.services().await?)
        }
        ServiceCommand::Connections { user } => {
            let user_id = match user {
                Some(name) => Some(gateway.user(&name).await?.id),
                None => None,
            };
            let (filter, mut all) = (ServiceConnectionFilter { user_id }, Vec::new());
            for service in gateway.services().await? {
                all.extend(gateway.service_connections(&service.name, &filter).await?);
            }
            output.records(["service", "user", "state", "scope", "expires_at", "last_error", "created_at"], &all)
        }
        ServiceCommand::Disconnect { service, user } => {
            let user = gateway.user(&user).await?;
            gateway.disconnect_service(&service, &user).await?;
            Ok(output.line(format_args!("disconnected {} from {service}", user.name))?)
        }
        ServiceCommand::Pat { command } => pat(command, gateway, stdin, output).await,
    }
}

/// `portcullis service pat set|remove|list`
async fn pat(
    command: PatCommand,
    gateway: &Gateway,
    stdin: &mut dyn Read,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        PatCommand::Set { service, user, pat_file } => {
            let user = gateway.user(&user).await?;
            let what = "a personal access token";
            let pat = match pat_file {
                None => first_line(stdin, "standard input", what)?,
                Some(path) => {
                    let unread = |why| Fault::caller(format!("--pat-file {}: {why}", path.display()));
                    let mut file = std::fs::File::open(&path).map_err(unread)?;
                    first_line(&mut file, &path.display().to_string(), what)?
                }
            };
            gateway.put_service_pat(&service, &user, &pat).await?;
            Ok(output.line(format_args!("{} has a token for {service}", user.name))?)
        }
        PatCommand::Remove { service, user } => {
            let user = gateway.user(&user).await?;
            gateway.delete_service_pat(&service, &user).await?;
            Ok(output.line(format_args!("{} has no token for {service} any more", user.name))?)
        }
        PatCommand::List => {
            let mut all = Vec::new();
            for service in gateway.services().await? {
                all.extend(gateway.service_pats(&service.name).await?);
            }
            output.records(["service", "user", "created_at"], &all)
        }
    }
}
