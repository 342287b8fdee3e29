//! `client add`

use super::Failure;
use super::arguments::{MachineGrant, NewClient};
use super::gateway::Gateway;
use super::output::Output;
use crate::administration::records;
use crate::error::Fault;
use serde_json::{Value, json};

/// `portcullis client add`
pub(super) async fn add(new: NewClient, gateway: &Gateway, output: &mut Output<'_>) -> Result<(), Failure> {
    let (jwks, jwks_uri) = match new.jwks {
        None => (None, None),
        Some(url) if url.starts_with("https://") || url.starts_with("http://") => (None, Some(url)),
        Some(file) => (Some(key_set(&file)?), None),
    };
    let grant_types = new.grants.into_iter().map(Into::into).collect();
    let (name, user, server, scopes) = (new.name, new.user, new.upstream, new.scopes);
    let new = records::NewClient { name, user, server, scopes, grant_types, jwks, jwks_uri };
    let made = gateway.create_client(&new).await?;
    if output.json {
        let made = json!({ "id": made.id, "secret": made.secret, "realm": made.realm });
        return Ok(output.line(format_args!("{made}"))?);
    }
    output.line(format_args!("client id      {}", made.id))?;
    match made.secret {
        Some(secret) => Ok(output.line(format_args!("client secret  {secret}"))?),
        None => Ok(()),
    }
}

fn key_set(file: &str) -> Result<Value, Fault> {
    let text = std::fs::read(file).map_err(|why| Fault::caller(format!("{file}: {why}")))?;
    serde_json::from_slice(&text).map_err(|why| Fault::caller(format!("{file} is not JSON: {why}")))
}

impl From<MachineGrant> for records::MachineGrant {
    fn from(grant: MachineGrant) -> Self {
        match grant {
            MachineGrant::ClientCredentials => Self::ClientCredentials,
            MachineGrant::TokenExchange => Self::TokenExchange,
            MachineGrant::JwtBearer => Self::JwtBearer,
        }
    }
}
