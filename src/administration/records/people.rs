//! People, their browsers, and what ends with them.

use super::Moment;
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Manages the gateway.
    Administrator,
    /// Connects accounts, grants access to clients.
    Member,
}

/// A person.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Stable; `sub` of the person's access tokens.
    pub id: String,
    /// The name used at login.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    /// Only when known.
    pub email: Option<String>,
    /// Whether sign-in is refused.
    pub disabled: bool,
    /// Whether the person can sign in with a password.
    pub has_password: bool,
    /// The groups that the person belongs to, whoever said so.
    pub groups: Vec<String>,
    /// When the account was made.
    pub created_at: Moment,
}

/// A signed-in browser.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its identifier, worth nothing as a cookie.
    pub id: String,
    /// What the browser calls itself.
    pub browser: String,
    /// How the person signed in.
    pub means: String,
    /// From which address.
    pub address: Option<String>,
    /// When the person signed in.
    pub created_at: Moment,
    /// The last request, to the minute or so.
    pub last_seen_at: Moment,
    /// The absolute end.
    pub expires_at: Moment,
}

/// Everything that a sign-out shall end.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct SignOut {
    /// What clients may do for the person, too; their open streams end.
    pub clients: bool,
}

/// What a sign-out ended besides the sessions.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedOut {
    /// How many grants.
    #[schema(minimum = 0)]
    pub grants: usize,
}

/// What became of a person's second factors.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct FactorsReset {
    /// Whether there were any.
    pub had_any: bool,
}

/// A person to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The name used at login, unique without regard to letter case.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._@-]+$", example = "alice")]
    pub name: String,
    /// Without one the person cannot sign in with a password.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password, min_length = 8)]
    pub password: Option<Secret>,
    /// What the person may do.
    #[serde(default = "member")]
    #[schema(default = "member")]
    pub role: Role,
    /// The person's address.
    #[serde(default)]
    #[schema(max_length = 254, pattern = "^[^@\\s]+@[^@\\s]+$")]
    pub email: Option<String>,
}

fn member() -> Role {
    Role::Member
}

/// What to change about a person; what is not named stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UserChange {
    /// What the person may do from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Refuse sign-in, or allow it again. Disabling signs the person out and ends what clients may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// The person's address; an empty text removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 254)]
    pub email: Option<String>,
    /// The groups that administrators put the person into; those that identity providers report stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
}

/// What ended together with something.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct Ended {
    /// How many grants.
    #[schema(minimum = 0)]
    pub grants: usize,
    /// How many connections.
    #[schema(minimum = 0)]
    pub connections: usize,
}
