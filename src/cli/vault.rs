//! `vault …`: the keys that seal what is stored.

use super::arguments::VaultCommand;
use super::output::{Output, counted};
use super::{Failure, load};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{self, AuditedRequests, Config, Source};
use crate::error::Fault;
use crate::ids::Random;
use crate::secret::Secret;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::vault::{Rewrapped, Usage, Vault};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// `portcullis vault keygen|wrap|status|rewrap`
pub(super) async fn vault(command: VaultCommand, source: &Source, output: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        VaultCommand::Keygen { out } => put(Vault::generate_key(&Random::default()), out.as_deref(), output),
        VaultCommand::Wrap { key_file, out } => wrap(&load(source)?, key_file.as_deref(), out.as_deref(), output),
        VaultCommand::Status => status(&load(source)?, output).await,
        VaultCommand::Rewrap { offline } => rewrap(&load(source)?, offline, output).await,
    }
}

fn put(line: Secret, out: Option<&Path>, output: &mut Output<'_>) -> Result<(), Failure> {
    match out {
        Some(path) => Ok(config::write_vault_key(path, &line)?),
        None => Ok(output.line(format_args!("{}", line.expose()))?),
    }
}

fn wrap(config: &Config, key_file: Option<&Path>, out: Option<&Path>, output: &mut Output<'_>) -> Result<(), Failure> {
    let token = config.vault.pkcs11.as_ref().ok_or_else(|| {
        Fault::caller("there is no token to wrap with: give module, token, key and pin_file in [vault.pkcs11]")
    })?;
    let random = Random::default();
    let key = match key_file {
        Some(path) => config::read_vault_key(path)?,
        None => Vault::generate_key(&random),
    };
    put(Secret::new(Vault::wrap_key(&key, token, &random)?), out, output)
}

async fn status(config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    let store = Store::open_with(config.store.url.expose(), config.store.connections).await?;
    let vault = keys(config)?;
    let mut usage = vault.usage(&store).await?;
    if !usage.iter().any(|usage| usage.key == vault.current_key()) {
        usage.push(Usage { key: vault.current_key(), table: "", values: 0 });
    }
    let row = |Usage { key, table, values }: &Usage| {
        [json!(key.to_string()), json!(state(&vault, *key)), json!(table), json!(values)]
    };
    Ok(output.listing(["key", "state", "table", "values"], usage.iter().map(row).collect())?)
}

/// The keys that there are: commands about what is sealed already make none.
pub(super) fn keys(config: &Config) -> Result<Vault, Fault> {
    let none = || Fault::caller("a database in memory has no vault key that lasts: name a file in store.url");
    config::keyring_again(&config.vault)?.ok_or_else(none)
}

fn state(vault: &Vault, key: crate::vault::KeyId) -> &'static str {
    match (vault.current_key() == key, vault.has_key(key)) {
        (true, _) => "current",
        (false, true) => "previous",
        (false, false) => "missing",
    }
}

async fn rewrap(config: &Config, offline: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    let store = Store::open_with(config.store.url.expose(), config.store.connections).await?;
    let vault = keys(config)?;
    let current = vault.current_key();
    if !offline && !vault.is_in_use(&store).await? {
        return Err(Fault::caller(format!(
            "no gateway seals with the vault key {current} yet: make it vault.key_file of all gateways first (they notice, \
             or send SIGHUP), or say --offline when none is running"
        ))
        .into());
    }
    if let Err(fault) = vault.check(&store).await {
        let usage = vault.usage(&store).await?;
        // A key that nothing needs may be missing: it is forgotten at the end.
        if usage.iter().any(|usage| !vault.has_key(usage.key)) {
            return Err(fault.into());
        }
    }
    let mut progress = output.progress();
    let outcome = vault.rewrap_all(&store, &mut |step| progress.show(step.table, step.done, step.of)).await;
    progress.end();
    let outcome = outcome?;
    vault.check(&store).await?;
    let audit = Audit::new(store.clone(), Clock::system(), Arc::new(Metrics::default()), AuditedRequests::None);
    audit.record("system", "vault.rewrapped", &current.to_string(), None);
    audit.flush().await;
    tell(&vault, &outcome, output)
}

fn tell(vault: &Vault, outcome: &Rewrapped, output: &mut Output<'_>) -> Result<(), Failure> {
    let Rewrapped { done, left, damaged, damaged_in_all, retired } = outcome;
    if output.json {
        let left: Vec<_> = left
            .iter()
            .map(|usage| json!({ "key": usage.key.to_string(), "table": usage.table, "values": usage.values }))
            .collect();
        let damaged: Vec<_> = damaged.iter().map(|one| json!({ "table": one.table, "row": one.row })).collect();
        let retired: Vec<_> = retired.iter().map(ToString::to_string).collect();
        let key = vault.current_key().to_string();
        let told = json!({ "key": key, "rewrapped": done, "left": left, "damaged": damaged,
            "damaged_in_all": damaged_in_all, "retired": retired });
        return Ok(output.line(format_args!("{told}"))?);
    }
    let values = usize::try_from(*done).unwrap_or(usize::MAX);
    output.line(format_args!(
        "{} wrapped anew with the vault key {}",
        counted(values, "value"),
        vault.current_key()
    ))?;
    for one in damaged {
        output.line(format_args!("damaged, and left as it is: {} {}", one.table, one.row))?;
    }
    if *damaged_in_all > damaged.len() as u64 {
        output.line(format_args!("… {damaged_in_all} damaged values in all"))?;
    }
    for usage in left {
        let Usage { key, table, values } = usage;
        output
            .line(format_args!("{values} in {table} are left with the vault key {key}: keep it, and run this again"))?;
    }
    for key in retired {
        output.line(format_args!(
            "nothing needs the vault key {key} any more: take it out of vault.previous_key_files of all gateways, and \
             keep it as long as backups from its time"
        ))?;
    }
    Ok(())
}
