//! Who may use what.

use super::Moment;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which tools of an MCP server administrators permit. What the configuration says about the same server counts too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ToolRules {
    /// Only these, so that tools which the server gains later may not be used; null: all that are not denied, later ones
    /// included. Names, in which `*` stands for any characters and `?` for one.
    #[schema(max_items = 1000, example = json!(["get_*", "search"]))]
    pub allow: Option<Vec<String>>,
    /// Never these, whatever else allows them.
    #[schema(max_items = 1000, example = json!(["delete_*"]))]
    pub deny: Vec<String>,
}

/// That somebody wants to use an MCP server about which nobody has decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Asked {
    /// Who, by name; null for a client that registered before anybody signed in.
    pub user: Option<String>,
    /// The client, as it calls itself; null for somebody who asked in the dashboard.
    pub client: Option<String>,
    /// When last.
    pub at: Moment,
}

/// A group of people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// Its name, to the letter.
    pub name: String,
    /// How many people belong to it.
    #[schema(minimum = 0)]
    pub members: i64,
}
