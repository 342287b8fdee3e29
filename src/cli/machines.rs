//! `client add`

use super::Failure;
use super::arguments::{MachineGrant, NewClient};
use super::output::Output;
use super::state::{open, record};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Fault;
use crate::hostname::{Realm, Target};
use crate::ids::Random;
use crate::machine::{self, MachineProof, NewMachineClient};
use crate::oauth::grant_type::GrantType;
use crate::oauth::registration::ClientKeys;
use crate::oauth::scope::Scopes;
use crate::store::Store;
use serde_json::json;

/// `portcullis client add`. Works beside a running server.
pub(super) async fn add(new: NewClient, config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    let store = open(config).await?;
    let missing = || Fault::caller(format!("there is no user {}: `portcullis user list` shows all", new.user));
    let owner = store.user_by_name(&new.user).await?.ok_or_else(missing)?.id;
    let realm = realm_of(new.server.as_deref(), config, &store).await?;
    let proof = new.jwks.as_deref().map(keys).transpose()?.map_or(MachineProof::Secret, MachineProof::Keys);
    let grant_types = if new.grants.is_empty() { vec![MachineGrant::ClientCredentials] } else { new.grants };
    let machine = NewMachineClient {
        name: new.name,
        owner,
        realm,
        scope: scopes(&new.scopes)?,
        grant_types: grant_types.into_iter().map(GrantType::from).collect(),
        proof,
    };
    let made = machine::create(&store, &Clock::system(), &Random::default(), &machine).await?;
    let place = &machine.realm;
    record(&store, "client.created", &format!("{} ({}) at {place} for {}", machine.name, made.id, new.user)).await?;
    let secret = made.secret.as_ref().map(|secret| secret.expose());
    if output.json {
        let made = json!({"id": made.id, "secret": secret, "realm": super::state::shown(machine.realm.key())});
        return Ok(output.line(format_args!("{made}"))?);
    }
    output.line(format_args!("client id      {}", made.id))?;
    match secret {
        Some(secret) => Ok(output.line(format_args!("client secret  {secret}"))?),
        None => Ok(()),
    }
}

/// The root, or the server that was named, which may be by an alias that exists.
async fn realm_of(server: Option<&str>, config: &Config, store: &Store) -> Result<Realm, Failure> {
    let Some(server) = server else { return Ok(Realm::Root) };
    let realm = machine::realm(server)?;
    if let Realm::Mcp(label) = &realm
        && let Target::Alias(alias) = &label.target
    {
        let configured = config.upstream.iter().any(|upstream| upstream.alias.as_deref() == Some(alias));
        let stored = || async { Ok::<_, Failure>(store.upstreams().await?) };
        let is_known = configured || stored().await?.iter().any(|upstream| upstream.alias.as_deref() == Some(&**alias));
        if !is_known {
            let why = format!("no MCP server has the alias {alias}: `portcullis upstream list` shows all");
            return Err(Fault::caller(why).into());
        }
    }
    Ok(realm)
}

fn scopes(given: &[String]) -> Result<Option<Scopes>, Fault> {
    if given.is_empty() {
        return Ok(None);
    }
    let scopes = Scopes::parse(&given.join(" "));
    scopes.map(Some).map_err(|_| Fault::caller("a scope has characters that no scope may have (RFC 6749, 3.3)"))
}

/// A key set in a file, or the address of one.
fn keys(source: &str) -> Result<ClientKeys, Fault> {
    if source.starts_with("https://") || source.starts_with("http://") {
        return Ok(ClientKeys::Remote(source.to_owned()));
    }
    let text = std::fs::read(source).map_err(|why| Fault::caller(format!("{source}: {why}")))?;
    let set = serde_json::from_slice(&text).map_err(|why| Fault::caller(format!("{source} is not JSON: {why}")))?;
    Ok(ClientKeys::Inline(set))
}

impl From<MachineGrant> for GrantType {
    fn from(grant: MachineGrant) -> Self {
        match grant {
            MachineGrant::ClientCredentials => Self::ClientCredentials,
            MachineGrant::TokenExchange => Self::TokenExchange,
            MachineGrant::JwtBearer => Self::JwtBearer,
        }
    }
}
