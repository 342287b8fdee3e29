//! MCP servers, what was decided about them, and how people are connected to them.

use super::{Asked, Moment, ToolRules};
use crate::secret::Secret;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Whether an upstream may be used, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The configuration names it.
    Configured,
    /// An administrator allows it.
    Approved,
    /// An administrator forbids it.
    Denied,
    /// Clients have asked for it, and nobody has decided.
    Awaiting,
}

/// An MCP server.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Upstream {
    /// Its domain, with the port if that is not 443.
    pub domain: String,
    /// Whether it may be used.
    pub standing: Standing,
    /// A name for people, if it has one.
    pub name: Option<String>,
    /// A readable label, if it has one.
    pub alias: Option<String>,
    /// The encoded label; null when the domain is too long for one, and for programs.
    pub label: Option<String>,
    /// The name of the program, if the gateway runs one.
    #[serde(default)]
    pub program: Option<String>,
    /// Who may use it, if not everybody.
    pub permission: Option<Permission>,
    /// Which of its tools administrators permit, if not all. What the configuration says about them counts too.
    #[serde(default)]
    pub tools: Option<ToolRules>,
    /// Who wants to use it, as long as nobody has decided; the last five.
    #[serde(default)]
    pub asked: Vec<Asked>,
    /// When an administrator decided.
    pub decided_at: Option<Moment>,
}

/// Who may use an upstream; neither users nor groups: nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Permission {
    /// These people, by name,
    pub users: Vec<String>,
    /// and the members of these groups.
    pub groups: Vec<String>,
}

/// What an administrator decides about an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may be used.
    Approved,
    /// It must not be used.
    Denied,
}

/// A decision about an upstream. What is not named stays as it was.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamDecision {
    /// Whether it may be used.
    pub decision: Decision,
    /// A readable label: letters a-z, digits and single hyphens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 63, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$")]
    pub alias: Option<String>,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
}

/// Whether a connection works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// There are tokens, and they are believed to be good.
    Active,
    /// The upstream was used without authorization so far.
    Open,
    /// The authorization is gone; the person must consent again.
    NeedsConsent,
}

/// A person's authorization at an upstream, without its secrets.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// Stable over refreshes and renewed consent.
    pub id: String,
    /// Whose: the person's id.
    pub user_id: String,
    /// Whose: the person's name; null when the person is gone.
    pub user: Option<String>,
    /// At which upstream.
    pub domain: String,
    /// Which of the person's accounts there; empty for the plain one.
    pub account: String,
    /// Whether it works.
    pub state: ConnectionState,
    /// What the upstream granted, space-separated.
    pub scope: String,
    /// The names of the values that the person gave by hand in place of a sign-in; empty for a sign-in.
    #[serde(default)]
    pub personal: Vec<String>,
    /// When the access token expires, if the upstream said so.
    pub expires_at: Option<Moment>,
    /// In words, what went wrong last.
    pub last_error: Option<String>,
    /// When the connection was made.
    pub created_at: Moment,
}

/// What a person gives an upstream by hand. Nobody can read it again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCredentials {
    /// Which account, as in the hostname; the plain one when it is left out.
    #[serde(default)]
    #[schema(max_length = 16, pattern = "^[a-z0-9]*$")]
    pub account: String,
    /// The values by their names: of the header, or of the environment variables. Those that are not named stay.
    #[serde(deserialize_with = "texts_by_name")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub values: BTreeMap<String, Secret>,
}

/// What is of another shape may be secret too, so the error does not quote it.
fn texts_by_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Secret>, D::Error> {
    BTreeMap::deserialize(deserializer).map_err(|_| D::Error::custom("must be an object of texts by their names"))
}

/// Something that a person may see at `/mcp`: an upstream, with one of the person's accounts there.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The upstream.
    pub domain: String,
    /// Which of the person's accounts there; empty for the plain one.
    pub account: String,
}
