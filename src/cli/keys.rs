//! `keys …`: the keys that sign access tokens. A running server learns of every change through the database.

use super::Failure;
use super::arguments::KeysCommand;
use super::output::{Output, date};
use super::state::{open, record};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::ids::Random;
use crate::jose::SigningAlgorithm;
use crate::store::SigningKey;
use crate::tokens::{KeyState, Rotation, states};
use crate::vault::Vault;
use serde_json::Value;

/// `portcullis keys list|rotate`
pub(super) async fn keys(command: KeysCommand, config: Config, output: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        KeysCommand::List => list(&config, output).await,
        KeysCommand::Rotate { algorithm, now } => rotate(config, algorithm, now, output).await,
    }
}

async fn list(config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    let keys = open(config).await?.signing_keys().await?;
    let states = states(&keys, Clock::system().now());
    let row = |(key, state): (&SigningKey, KeyState)| {
        let (state, until) = match state {
            KeyState::Published => ("published", Value::Null),
            KeyState::Signing => ("signing", Value::Null),
            KeyState::Verifying { until } => ("verifying", date(until).into()),
            KeyState::Spent => ("spent", Value::Null),
        };
        let (published, signs) = (date(key.created_at).into(), date(key.active_from).into());
        [key.kid.clone().into(), key.algorithm.as_str().into(), state.into(), published, signs, until]
    };
    let rows = keys.iter().zip(states).map(row).collect();
    Ok(output.listing(["kid", "algorithm", "state", "published_at", "signs_from", "verifies_until"], rows)?)
}

async fn rotate(
    mut config: Config,
    algorithm: Option<SigningAlgorithm>,
    at_once: bool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let (store, random) = (open(&config).await?, Random::default());
    let vault = Vault::new(&config::vault_key(&config.vault, &random)?, &config.vault.previous)?;
    vault.check(&store).await?;
    config.tokens.signing_algorithm = algorithm.unwrap_or(config.tokens.signing_algorithm);
    let now = Clock::system().now();
    let rotation = Rotation { store: &store, vault: &vault, random: &random, now, config: &config.tokens };
    if at_once {
        let key = rotation.replace_all().await?;
        record(&store, "keys.replaced", &key.kid).await?;
        return Ok(output.line(format_args!("{} signs from now on; what other keys signed is refused", key.kid))?);
    }
    let key = rotation.publish().await?;
    record(&store, "key.published", &key.kid).await?;
    Ok(output.line(format_args!("{} is published and signs from {} on", key.kid, date(key.active_from)))?)
}
