//! `apikey …`

use super::Failure;
use super::arguments::ApiKeyCommand;
use super::gateway::Gateway;
use super::output::Output;
use crate::administration::records::NewApiKey;
use serde_json::json;

/// `portcullis apikey create|list|revoke`
pub(super) async fn api_key(command: ApiKeyCommand, gateway: &Gateway, output: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        ApiKeyCommand::Create { name, scopes, resources, services, users, expires } => {
            let expires_in = expires.map(|life| life.as_secs());
            let new = NewApiKey { name, scopes, resources, services, users, expires_in };
            let made = gateway.create_api_key(&new).await?;
            if output.json {
                return Ok(output.line(format_args!("{}", json!({ "id": made.id, "key": made.key })))?);
            }
            Ok(output.line(format_args!("{}", made.key))?)
        }
        ApiKeyCommand::List => {
            let columns =
                ["id", "name", "scopes", "resources", "services", "users", "created_at", "expires_at", "last_used_at"];
            output.records(columns, &gateway.api_keys().await?)
        }
        ApiKeyCommand::Revoke { id } => {
            gateway.revoke_api_key(&id).await?;
            Ok(output.line(format_args!("revoked {id}"))?)
        }
    }
}
