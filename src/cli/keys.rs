//! `keys …`: the keys that sign access tokens.

use super::Failure;
use super::arguments::KeysCommand;
use super::gateway::Gateway;
use super::output::Output;
use crate::administration::records::NewSigningKey;

/// `portcullis keys list|rotate`
pub(super) async fn keys(command: KeysCommand, gateway: &Gateway, output: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        KeysCommand::List => {
            let columns = ["kid", "algorithm", "state", "published_at", "signs_from", "verifies_until"];
            output.records(columns, &gateway.signing_keys().await?)
        }
        KeysCommand::Rotate { algorithm, now } => {
            let key = gateway.rotate(&NewSigningKey { algorithm: algorithm.map(Into::into), at_once: now }).await?;
            if now {
                let line = format_args!("{} signs from now on; what other keys signed is refused", key.kid);
                return Ok(output.line(line)?);
            }
            let from = String::from(key.signs_from);
            Ok(output.line(format_args!("{} is published and signs from {from} on", key.kid))?)
        }
    }
}
