//! `upstream …`, `connection …`, `client …`, `grant …`: what a gateway holds.

use super::arguments::{ClientCommand, ConnectionCommand, GrantCommand, UpstreamCommand};
use super::gateway::Gateway;
use super::output::{Output, counted};
use super::{Failure, machines, permissions, personal};
use crate::administration::records::{Decision, Upstream, UpstreamDecision};
use crate::administration::{Change, GrantFilter};
use std::io::Read;

/// `portcullis upstream add|list|approve|deny|remove|allow|reset|credential`
pub(super) async fn upstream(
    command: UpstreamCommand,
    gateway: &Gateway,
    stdin: &mut dyn Read,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let decide = async |domain: &str, decision, alias, name| {
        gateway.decide(domain, &UpstreamDecision { decision, alias, name }).await
    };
    match command {
        UpstreamCommand::List => {
            let columns = ["domain", "standing", "name", "alias", "program", "permitted", "label", "decided_at"];
            let shown = |one: Upstream| permissions::Shown { permitted: permissions::words(&one), upstream: one };
            let shown: Vec<_> = gateway.upstreams().await?.into_iter().map(shown).collect();
            output.records(columns, &shown)
        }
        UpstreamCommand::Add { domain, alias, name } => {
            let decided = decide(&domain, Decision::Approved, alias, name).await?;
            Ok(output.line(format_args!("approved {}", decided.domain))?)
        }
        UpstreamCommand::Approve { domain } => {
            let decided = decide(&domain, Decision::Approved, None, None).await?;
            Ok(output.line(format_args!("approved {}", decided.domain))?)
        }
        UpstreamCommand::Allow { domain, whom } => {
            permissions::change(gateway, &domain, Change::Allow(whom.into()), output).await
        }
        UpstreamCommand::Reset { domain } => permissions::change(gateway, &domain, Change::Everybody, output).await,
        UpstreamCommand::Deny { domain, whom } if whom.names_somebody() => {
            permissions::change(gateway, &domain, Change::Deny(whom.into()), output).await
        }
        UpstreamCommand::Deny { domain, .. } => {
            let decided = decide(&domain, Decision::Denied, None, None).await?;
            Ok(output.line(format_args!("denied {}", decided.domain))?)
        }
        UpstreamCommand::Credential { command } => personal::credential(command, gateway, stdin, output).await,
        UpstreamCommand::Remove { domain } => {
            gateway.undecide(&domain).await?;
            Ok(output.line(format_args!("removed {domain}"))?)
        }
    }
}

/// `portcullis connection list|revoke`
pub(super) async fn connection(
    command: ConnectionCommand,
    gateway: &Gateway,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        ConnectionCommand::List => {
            let columns = ["id", "user", "domain", "account", "state", "scope", "expires_at"];
            let mut connections = gateway.connections().await?;
            connections.sort_by(|a, b| (&a.domain, &a.account, &a.user).cmp(&(&b.domain, &b.account, &b.user)));
            output.records(columns, &connections)
        }
        ConnectionCommand::Revoke { id } => {
            gateway.delete_connection(&id).await?;
            Ok(output.line(format_args!("revoked {id}"))?)
        }
    }
}

/// `portcullis client add|list|revoke`
pub(super) async fn client(command: ClientCommand, gateway: &Gateway, output: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        ClientCommand::Add(new) => machines::add(new, gateway, output).await,
        ClientCommand::List => {
            let columns = ["realm", "id", "name", "owner", "grants", "created_at", "last_used_at"];
            output.records(columns, &gateway.clients().await?)
        }
        ClientCommand::Revoke { realm, id } => {
            let ended = gateway.delete_client(realm.as_deref(), &id).await?;
            Ok(output.line(format_args!("revoked {id}: {} ended", counted(ended, "grant")))?)
        }
    }
}

/// `portcullis grant list|revoke`
pub(super) async fn grant(command: GrantCommand, gateway: &Gateway, output: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        GrantCommand::List { user, client } => {
            let user_id = match user {
                Some(name) => Some(gateway.user(&name).await?.id),
                None => None,
            };
            let columns = ["id", "user", "client_name", "resource", "scope", "created_at"];
            output.records(columns, &gateway.grants(&GrantFilter { user_id, client_id: client }).await?)
        }
        GrantCommand::Revoke { id } => {
            gateway.revoke_grant(&id).await?;
            Ok(output.line(format_args!("revoked {id}"))?)
        }
    }
}
