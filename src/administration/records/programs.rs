//! Programs that act for people, or for themselves, and what proves it.

use super::Moment;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An OAuth client: one that registered, or one that people granted something to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Client {
    /// Where: the label of an MCP hostname, or `-` for the root domain.
    pub realm: String,
    /// Its `client_id`.
    pub id: String,
    /// As it calls itself.
    pub name: Option<String>,
    /// For whom it acts, by name, where an administrator made it for a person.
    pub owner: Option<String>,
    /// How many grants of its are in force.
    #[schema(minimum = 0)]
    pub grants: i64,
    /// When it registered; null for one that is known by its metadata document.
    pub created_at: Option<Moment>,
    /// When it last got a token.
    pub last_used_at: Option<Moment>,
}

/// How a machine client gets tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum MachineGrant {
    /// With its own credentials.
    #[serde(rename = "client_credentials")]
    ClientCredentials,
    /// For a token that it was sent.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
    /// For the assertion of an identity provider.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:jwt-bearer")]
    JwtBearer,
}

/// A machine client to be: a program that acts for a person.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    /// For people.
    #[schema(min_length = 1, max_length = 200, example = "nightly build")]
    pub name: String,
    /// The name of the person for whom it acts.
    #[schema(example = "alice")]
    pub user: String,
    /// The MCP server that it uses: a domain, URL, label or alias; without one it uses the root domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// What it may ask for; without any, at an MCP server, what the person's connection allows.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// How it gets tokens; with its own credentials when none is named.
    #[serde(default)]
    pub grant_types: Vec<MachineGrant>,
    /// The keys by which it signs its requests; without keys it has a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub jwks: Option<serde_json::Value>,
    /// Where those keys are published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
}

/// A machine client that has just been made.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedClient {
    /// Where: the label of an MCP hostname, or `-` for the root domain.
    pub realm: String,
    /// Its `client_id`.
    pub id: String,
    /// Its secret, for this one time; null for one that signs.
    #[schema(format = Password)]
    pub secret: Option<String>,
}

/// A person's consent to a client for one resource.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// In every token issued under it.
    pub id: String,
    /// Whose: the person's id.
    pub user_id: String,
    /// Whose: the person's name; null when the person is gone.
    pub user: Option<String>,
    /// To which client.
    pub client_id: String,
    /// The client's name as it was shown.
    pub client_name: String,
    /// Where: the label of an MCP hostname, or `-` for the root domain.
    pub realm: String,
    /// For what.
    pub resource: String,
    /// How much, space-separated.
    pub scope: String,
    /// When.
    pub created_at: Moment,
}

/// What an API key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApiScope {
    /// This API, whole.
    Admin,
    /// Introspection of tokens for the key's resources.
    Introspect,
    /// The token broker, within the key's services and users.
    Broker,
}

/// A key of a program, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ApiKey {
    /// The part of the key before the dot.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub scopes: Vec<ApiScope>,
    /// About whose tokens it may ask.
    pub resources: Vec<String>,
    /// Which services of the broker it may use; all when empty.
    pub services: Vec<String>,
    /// The names of the people for whom it may use them; all when empty. Somebody who is gone is listed by id.
    pub users: Vec<String>,
    /// When it was made.
    pub created_at: Moment,
    /// When it ends, if ever.
    pub expires_at: Option<Moment>,
    /// The last use, to the minute or so.
    pub last_used_at: Option<Moment>,
}

/// A key to be.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// What people call it.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._@-]+$", example = "ci")]
    pub name: String,
    /// What it is for; without any it is for the broker.
    #[serde(default)]
    pub scopes: Vec<ApiScope>,
    /// URLs whose tokens it may introspect, with everything below them.
    #[serde(default)]
    pub resources: Vec<String>,
    /// Services of the broker that it may use, instead of all.
    #[serde(default)]
    pub services: Vec<String>,
    /// The names of the people for whom it may use the broker, instead of all.
    #[serde(default)]
    pub users: Vec<String>,
    /// How many seconds it lives; for ever without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3153600000_i64)]
    pub expires_in: Option<u64>,
}

/// A key that has just been made.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedApiKey {
    /// The part of the key before the dot.
    pub id: String,
    /// The key, for this one time.
    #[schema(format = Password)]
    pub key: String,
    /// When it ends, if ever.
    pub expires_at: Option<Moment>,
}
