//! `upstream …`, `connection …`, `client …`: what the database holds. A running server learns of every change
//! through the database.

use super::arguments::{ClientCommand, ConnectionCommand, UpstreamCommand};
use super::machines;
use super::output::{Output, date, maybe_date};
use super::{Failure, permissions};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Fault;
use crate::hostname::{Authority, InvalidAuthority, Label, Target, UpstreamAddress};
use crate::ids::ConnectionId;
use crate::revocation::Revocations;
use crate::store::{AuditEvent, ConnectionState, Decision, Store, StoreError, Upstream};
use serde_json::Value;
use std::collections::BTreeMap;

/// How the root domain's realm is written here; no label can be this.
const ROOT: &str = "-";

/// Opens the configured database.
pub(super) async fn open(config: &Config) -> Result<Store, StoreError> {
    Store::open(&config.store_url).await
}

/// Ends things in the database; a running server learns of it there.
pub(super) fn revocations(store: &Store) -> Revocations {
    Revocations::beside_a_server(store.clone(), Clock::system())
}

/// `1 grant`, `2 grants`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Notes in the audit log what was done on the command line.
pub(super) async fn record(store: &Store, action: &str, subject: &str) -> Result<(), StoreError> {
    store.append_audit(&[AuditEvent::new(Clock::system().now(), "system", action, subject, None)]).await
}

/// `portcullis upstream add|list|approve|remove|allow|deny|reset`
pub(super) async fn upstream(
    command: UpstreamCommand,
    config: &Config,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        UpstreamCommand::List => list_upstreams(config, output).await,
        UpstreamCommand::Add { domain, alias, name } => {
            let authority = foreign(&domain, config)?;
            let alias = alias.map(|alias| free_alias(&alias, config)).transpose()?;
            put_upstream(config, &authority, alias, name, output).await
        }
        UpstreamCommand::Approve { domain } => {
            let authority = foreign(&domain, config)?;
            put_upstream(config, &authority, None, None, output).await
        }
        UpstreamCommand::Remove { domain } => {
            let authority = parse(&domain)?;
            let store = open(config).await?;
            if !revocations(&store).undecide(authority.as_str()).await? {
                let why =
                    "`portcullis upstream list` shows those that there are; configured ones are removed from the file";
                return Err(Fault::caller(format!("nobody decided about {authority}: {why}")).into());
            }
            record(&store, "upstream.removed", authority.as_str()).await?;
            Ok(output.line(format_args!("removed {authority}"))?)
        }
        UpstreamCommand::Allow { domain, whom } => permissions::allow(&domain, whom, config, output).await,
        UpstreamCommand::Deny { domain, whom } => permissions::deny(&domain, whom, config, output).await,
        UpstreamCommand::Reset { domain } => permissions::reset(&domain, config, output).await,
    }
}

async fn list_upstreams(config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    let store = open(config).await?;
    let mut access = permissions::listed(&store).await?;
    let label = |authority: &Authority| Label::encode(authority).map_or(Value::Null, |label| label.to_string().into());
    let mut rows = Vec::new();
    for upstream in &config.upstream {
        let (name, alias) = (upstream.name.clone(), upstream.alias.clone());
        let authority = &upstream.authority;
        access.remove(authority.as_str());
        let allowed = permissions::words(upstream.allowed.as_ref()).into();
        let standing = "configured".into();
        rows.push([
            authority.as_str().into(),
            standing,
            name.into(),
            alias.into(),
            allowed,
            label(authority),
            Value::Null,
        ]);
    }
    for upstream in store.upstreams().await? {
        let standing = if upstream.decision == Decision::Approved { "approved" } else { "denied" };
        let label = Authority::parse(&upstream.authority).map_or(Value::Null, |authority| label(&authority));
        let (name, alias, decided_at) = (upstream.name.into(), upstream.alias.into(), date(upstream.decided_at).into());
        let allowed = access.remove(&upstream.authority).unwrap_or_else(|| permissions::words(None)).into();
        rows.push([upstream.authority.into(), standing.into(), name, alias, allowed, label, decided_at]);
    }
    // Permissions can be said before anybody decides.
    for (authority, allowed) in access {
        let label = Authority::parse(&authority).map_or(Value::Null, |authority| label(&authority));
        let undecided = "undecided".into();
        rows.push([authority.into(), undecided, Value::Null, Value::Null, allowed.into(), label, Value::Null]);
    }
    let columns = ["domain", "standing", "name", "alias", "allowed", "label", "decided_at"];
    Ok(output.listing(columns, rows)?)
}

async fn put_upstream(
    config: &Config,
    authority: &Authority,
    alias: Option<String>,
    name: Option<String>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let store = open(config).await?;
    let (old_alias, old_name) = match store.upstream(authority.as_str()).await? {
        Some(earlier) => (earlier.alias, earlier.name),
        None => (None, None),
    };
    let upstream = Upstream {
        authority: authority.to_string(),
        decision: Decision::Approved,
        alias: alias.or(old_alias),
        name: name.or(old_name),
        decided_by: None,
        decided_at: Clock::system().now(),
    };
    revocations(&store).decide(&upstream).await?;
    record(&store, "upstream.approved", authority.as_str()).await?;
    Ok(output.line(format_args!("approved {authority}"))?)
}

/// `portcullis connection list|revoke`
pub(super) async fn connection(
    command: ConnectionCommand,
    config: &Config,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let store = open(config).await?;
    match command {
        ConnectionCommand::List => {
            let names: BTreeMap<_, _> = store.users().await?.into_iter().map(|user| (user.id, user.name)).collect();
            let row = |connection: crate::store::Connection| {
                let state = match connection.state {
                    ConnectionState::Active => "active",
                    ConnectionState::Open => "open",
                    ConnectionState::NeedsConsent => "needs consent",
                };
                let user = names.get(&connection.user).cloned().unwrap_or_else(|| connection.user.to_string());
                let (id, expires) = (connection.id.to_string(), maybe_date(connection.expires_at));
                let (authority, account) = (connection.authority.into(), connection.account.into());
                [id.into(), user.into(), authority, account, state.into(), connection.scope.into(), expires]
            };
            let rows = store.connections().await?.into_iter().map(row).collect();
            Ok(output.listing(["id", "user", "domain", "account", "state", "scope", "expires_at"], rows)?)
        }
        ConnectionCommand::Revoke { id } => {
            let missing =
                || Fault::caller(format!("there is no connection {id}: `portcullis connection list` shows all"));
            let parsed: ConnectionId = id.parse().map_err(|_| missing())?;
            if !revocations(&store).connection(parsed).await? {
                return Err(missing().into());
            }
            record(&store, "connection.revoked", &id).await?;
            Ok(output.line(format_args!("revoked {id}"))?)
        }
    }
}

/// `portcullis client add|list|revoke`
pub(super) async fn client(command: ClientCommand, config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    let store = open(config).await?;
    match command {
        ClientCommand::Add(new) => machines::add(new, config, output).await,
        ClientCommand::List => list_clients(&store, output).await,
        ClientCommand::Revoke { realm, id } => {
            let key = realm.as_deref().map(|realm| if realm == ROOT { "" } else { realm });
            let place = realm.as_deref().map_or(String::new(), |realm| format!(" at {realm}"));
            let Some(ended) = revocations(&store).client(key, &id).await? else {
                let why = format!("there is no client {id}{place}: `portcullis client list` shows all");
                return Err(Fault::caller(why).into());
            };
            record(&store, "client.revoked", &format!("{id}{place}")).await?;
            Ok(output.line(format_args!("revoked {id}: {} ended", counted(ended, "grant")))?)
        }
    }
}

/// A realm as it is written here.
pub(super) fn shown(realm: String) -> String {
    if realm.is_empty() { ROOT.to_owned() } else { realm }
}

/// Registered clients, and those that are known by a metadata document only.
async fn list_clients(store: &Store, output: &mut Output<'_>) -> Result<(), Failure> {
    let names: BTreeMap<_, _> = store.users().await?.into_iter().map(|user| (user.id, user.name)).collect();
    let mut granted: BTreeMap<_, _> = store
        .granted_clients()
        .await?
        .into_iter()
        .map(|one| ((one.realm.clone(), one.client_id.clone()), one))
        .collect();
    let mut rows: Vec<[Value; 7]> = Vec::new();
    for client in store.clients().await? {
        let metadata: Value = serde_json::from_str(&client.metadata).unwrap_or_default();
        let grants = granted.remove(&(client.realm.clone(), client.id.clone())).map_or(0, |one| one.grants);
        let (created, used) = (date(client.created_at).into(), maybe_date(client.last_used_at));
        let (realm, name) = (shown(client.realm), metadata["client_name"].clone());
        let owner = client.owner.map(|owner| names.get(&owner).cloned().unwrap_or_else(|| owner.to_string()));
        rows.push([realm.into(), client.id.into(), name, owner.into(), grants.into(), created, used]);
    }
    for one in granted.into_values() {
        let (realm, id, name) = (shown(one.realm), one.client_id, one.client_name);
        rows.push([realm.into(), id.into(), name.into(), Value::Null, one.grants.into(), Value::Null, Value::Null]);
    }
    Ok(output.listing(["realm", "id", "name", "owner", "grants", "created_at", "last_used_at"], rows)?)
}

pub(super) fn parse(domain: &str) -> Result<Authority, Fault> {
    let address: Result<UpstreamAddress, InvalidAuthority> = domain.parse();
    address.map(|address| address.authority).map_err(|why| Fault::caller(format!("{domain:?}: {why}")))
}

/// An upstream that an administrator may decide about: neither this gateway nor one of the configuration's.
pub(super) fn foreign(domain: &str, config: &Config) -> Result<Authority, Fault> {
    let authority = parse(domain)?;
    let below = authority.host().strip_suffix(config.server.domain.as_str());
    if below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.')) && config.server.domain != "localhost" {
        return Err(Fault::caller(format!("{authority} is this gateway itself: name the MCP server behind it")));
    }
    if config.upstream.iter().any(|upstream| upstream.authority == authority) {
        return Err(Fault::caller(format!("{authority} is in the configuration already: change it there")));
    }
    Ok(authority)
}

fn free_alias(text: &str, config: &Config) -> Result<String, Fault> {
    match Label::parse(text) {
        Ok(Label { account: None, target: Target::Alias(alias) }) if *alias == *text => {}
        _ => return Err(Fault::caller(format!("{text:?}: {}", crate::hostname::InvalidLabel::Alias))),
    }
    match config.upstream.iter().find(|upstream| upstream.alias.as_deref() == Some(text)) {
        Some(other) => Err(Fault::caller(format!("{text} is the alias of {} already", other.authority))),
        None => Ok(text.to_owned()),
    }
}
