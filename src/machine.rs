//! Machine clients: programs that act for a person without one being there. Only an administrator makes them, for one
//! issuer, and nobody consents to what they do, so they always prove who they are.

#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::error::Fault;
use crate::hostname::{InvalidLabel, Label, Realm, UpstreamAddress};
use crate::ids::{Digest, Random, UserId};
use crate::oauth::grant_type::{GrantType, GrantTypes};
use crate::oauth::registration::{AuthMethod, ClientKeys, ClientMetadata};
use crate::oauth::scope::Scopes;
use crate::secret::Secret;
use crate::store::{Client, Store};
use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};

/// What a new machine client shall be.
pub struct NewMachineClient {
    /// For people: it is shown where grants are listed.
    pub name: String,
    /// For whom it acts: the person's connections are used, and it ends with the person.
    pub owner: UserId,
    /// The issuer that it can get tokens from.
    pub realm: Realm,
    /// What it may ask for. `None`: at an MCP hostname whatever the person's own connection allows, at the root nothing.
    pub scope: Option<Scopes>,
    /// At least one, all of them for machines.
    pub grant_types: GrantTypes,
    /// How it proves who it is.
    pub proof: MachineProof,
}

/// How a machine client proves who it is.
pub enum MachineProof {
    /// With a secret that we make, sent as HTTP Basic (RFC 6749 §2.3.1).
    Secret,
    /// With assertions signed by one of these keys (RFC 7523).
    Keys(ClientKeys),
}

/// A machine client that has just been made. Nobody sees the secret again.
pub struct CreatedMachineClient {
    /// The `client_id`.
    pub id: String,
    /// The client secret, of a client that has one.
    pub secret: Option<Secret>,
}

/// Makes a machine client.
///
/// # Errors
/// The caller's, when the name, the grant types or the keys cannot be; when the store fails.
pub async fn create(
    store: &Store,
    clock: &Clock,
    random: &Random,
    new: &NewMachineClient,
) -> Result<CreatedMachineClient, Fault> {
    let metadata = checked(new)?;
    let secret = metadata.auth_method.has_secret().then(|| random.token());
    let client = Client {
        realm: new.realm.key(),
        id: HEXLOWER.encode(&random.bytes::<16>()),
        metadata: Value::Object(metadata.to_json()).to_string(),
        secret: secret.as_ref().map(|secret| Digest::of(secret.as_bytes())),
        // Nobody knows what this is the digest of: such a client is managed by administrators only.
        registration_token: Digest::of(random.token().as_bytes()),
        created_at: clock.now(),
        last_used_at: None,
        owner: Some(new.owner),
        expires_at: None,
    };
    store.insert_client(&client).await?;
    Ok(CreatedMachineClient { id: client.id, secret: secret.map(|secret| Secret::new(secret.to_string())) })
}

/// The realm that a person means: a domain or URL of an MCP server, or the label of one, which may be an alias.
///
/// # Errors
/// When it is neither; the text names the fix.
pub fn realm(text: &str) -> Result<Realm, Fault> {
    let label = if text.contains(['.', ':', '/']) || text == "localhost" {
        let address: UpstreamAddress = text.parse().map_err(|why| Fault::caller(format!("{text:?}: {why}")))?;
        Label::encode(&address.authority).map_err(|why| match why {
            InvalidLabel::NeedsAlias => Fault::caller(format!("{text:?} does not fit into a hostname: name its alias")),
            why => Fault::caller(format!("{text:?}: {why}")),
        })
    } else {
        Label::parse(text).map_err(|why| Fault::caller(format!("{text:?} is neither a domain nor a label: {why}")))
    };
    label.map(Realm::Mcp)
}

/// The metadata, by the rules of every registration.
fn checked(new: &NewMachineClient) -> Result<ClientMetadata, Fault> {
    if new.grant_types.is_empty() || new.grant_types.iter().any(|one| !one.is_for_machines()) {
        let names = GrantType::ALL.into_iter().filter(|one| one.is_for_machines()).map(GrantType::as_str);
        let names = names.collect::<Vec<_>>().join(", ");
        return Err(Fault::caller(format!("a machine client has at least one grant type, and only of {names}")));
    }
    let mut members = Map::new();
    members.insert("client_name".into(), json!(new.name));
    let grants: Vec<_> = new.grant_types.iter().map(GrantType::as_str).collect();
    members.insert("grant_types".into(), json!(grants));
    if let Some(scope) = &new.scope {
        members.insert("scope".into(), json!(scope.to_string()));
    }
    let method = match &new.proof {
        MachineProof::Secret => AuthMethod::ClientSecretBasic,
        MachineProof::Keys(ClientKeys::Inline(set)) => {
            members.insert("jwks".into(), set.clone());
            AuthMethod::PrivateKeyJwt
        }
        MachineProof::Keys(ClientKeys::Remote(url)) => {
            members.insert("jwks_uri".into(), json!(url));
            AuthMethod::PrivateKeyJwt
        }
    };
    members.insert("token_endpoint_auth_method".into(), json!(method.as_str()));
    let metadata = ClientMetadata::from_stored(Value::Object(members).to_string().as_bytes())
        .map_err(|error| Fault::caller(error.error_description))?;
    match metadata.client_name {
        Some(_) => Ok(metadata),
        None => Err(Fault::caller("a machine client needs a name of 1 to 200 characters")),
    }
}
