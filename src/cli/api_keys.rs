//! `apikey …`

use super::Failure;
use super::arguments::ApiKeyCommand;
use super::output::{Output, date, maybe_date};
use super::state::{open, record};
use crate::apikey::{ApiKeys, NewApiKey};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Fault;
use crate::ids::{ApiKeyId, Random, UserId};
use crate::store::Store;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `portcullis apikey create|list|revoke`. Works beside a running server.
pub(super) async fn api_key(command: ApiKeyCommand, config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    let store = open(config).await?;
    let keys = ApiKeys::new(store.clone(), Clock::system(), Random::default());
    match command {
        ApiKeyCommand::Create { name, scopes, resources, services, users, expires } => {
            let users = ids_of(&store, &users).await?;
            let new = NewApiKey { name, scopes, resources, services, users, ttl: expires };
            let made = keys.create(&new).await?;
            record(&store, "apikey.created", &format!("{} ({})", new.name, made.id)).await?;
            let key = made.key.expose();
            if output.json {
                return Ok(output.line(format_args!("{}", json!({"id": made.id.to_string(), "key": key})))?);
            }
            Ok(output.line(format_args!("{key}"))?)
        }
        ApiKeyCommand::List => list(&store, &keys, output).await,
        ApiKeyCommand::Revoke { id } => {
            let missing = || Fault::caller(format!("there is no API key {id}: `portcullis apikey list` shows all"));
            let parsed: ApiKeyId = id.parse().map_err(|_| missing())?;
            if !keys.revoke(parsed).await? {
                return Err(missing().into());
            }
            record(&store, "apikey.revoked", &id).await?;
            Ok(output.line(format_args!("revoked {id}"))?)
        }
    }
}

async fn ids_of(store: &Store, names: &[String]) -> Result<Vec<UserId>, Failure> {
    let mut ids = Vec::new();
    for name in names {
        let missing = || Fault::caller(format!("there is no user {name}: `portcullis user list` shows all"));
        ids.push(store.user_by_name(name).await?.ok_or_else(missing)?.id);
    }
    Ok(ids)
}

async fn list(store: &Store, keys: &ApiKeys, output: &mut Output<'_>) -> Result<(), Failure> {
    let names: BTreeMap<_, _> = store.users().await?.into_iter().map(|user| (user.id.to_string(), user.name)).collect();
    let row = |key: crate::store::ApiKey| -> [Value; 9] {
        // Somebody who is gone keeps the identifier: the key is still limited.
        let users = key.users.split(' ').map(|id| names.get(id).map_or(id, String::as_str));
        let users = users.collect::<Vec<_>>().join(" ");
        [
            key.id.to_string().into(),
            key.name.into(),
            key.scopes.into(),
            key.resources.into(),
            key.services.into(),
            users.into(),
            date(key.created_at).into(),
            maybe_date(key.expires_at),
            maybe_date(key.last_used_at),
        ]
    };
    let rows = keys.list().await?.into_iter().map(row).collect();
    let columns =
        ["id", "name", "scopes", "resources", "services", "users", "created_at", "expires_at", "last_used_at"];
    Ok(output.listing(columns, rows)?)
}
