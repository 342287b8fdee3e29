//! Services that programs call with tokens of people.

use super::{ConnectionState, Moment};
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A service of the token broker: an OAuth provider, or whatever takes personal access tokens.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// In addresses.
    pub name: String,
    /// For people.
    pub label: String,
    /// As the provider knows the gateway; null where personal access tokens are all there is.
    pub client_id: Option<String>,
    /// What is always asked for.
    pub scopes: Vec<String>,
    /// Whether the configuration has a personal access token for everybody who has none.
    pub has_pat: bool,
}

/// A person's authorization at a service, without its secrets.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ServiceConnection {
    /// Stable over refreshes and renewed consent.
    pub id: String,
    /// At which service.
    pub service: String,
    /// Whose: the person's id.
    pub user_id: String,
    /// Whose: the person's name; null when the person is gone.
    pub user: Option<String>,
    /// Whether it works.
    pub state: ConnectionState,
    /// What the service granted, space-separated.
    pub scope: String,
    /// When the access token expires, if the service said so.
    pub expires_at: Option<Moment>,
    /// In words, what went wrong last.
    pub last_error: Option<String>,
    /// When the connection was made.
    pub created_at: Moment,
}

/// That a person keeps a personal access token for a service here.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ServicePat {
    /// For which service.
    pub service: String,
    /// Whose: the person's id.
    pub user_id: String,
    /// Whose: the person's name; null when the person is gone.
    pub user: Option<String>,
    /// When it was left here.
    pub created_at: Moment,
}

/// A personal access token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewServicePat {
    /// The token, as the service shows it.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 4096, pattern = "^[!-~]+$")]
    pub pat: Secret,
}
