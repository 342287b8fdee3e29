//! What is known about an upstream and its authorization server. The table that comes with the program
//! (`src/providers/table`) and `[[provider]]` have the same keys and the same reader: what the configuration says goes
//! before what the table says.

mod host;
mod read;
mod table;

pub use host::HostPattern;
pub(super) use read::all;
pub use table::built_in;

use crate::oauth::quirks::Quirks;
use crate::oauth::scope::Scopes;
use std::time::Duration;

/// One provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// The name of its file in the table, and what `[[provider]]` calls it.
    pub id: String,
    /// For people.
    pub name: String,
    /// The hosts of its MCP servers and of its authorization servers.
    pub hosts: Vec<HostPattern>,
    /// The path of its MCP endpoint, where it has one for all of its hosts.
    pub path: Option<String>,
    /// How a client becomes known to it.
    pub registration: Registration,
    /// Which redirect URIs it takes.
    pub redirects: Redirects,
    /// Which clients it lets register.
    pub clients: Clients,
    /// Where a client is registered by hand.
    pub register_at: Option<String>,
    /// What it wants as `resource` (RFC 8707).
    pub resource: Resource,
    /// What to ask for when neither the client, nor the administrator, nor the metadata say.
    pub scopes: Scopes,
    /// Whether it refuses a request without scopes.
    pub needs_scopes: bool,
    /// Whether to ask for `offline_access` although its metadata does not list it.
    pub offline_access: bool,
    /// When it asks for a token.
    pub challenges: Challenges,
    /// What becomes of a refresh token that was used.
    pub rotation: Rotation,
    /// How it departs from the specifications.
    pub quirks: Quirks,
    /// What a person can do when it refuses us; see [`Provider::advice_for`].
    pub advice: Option<String>,
    /// What else is known, and from where.
    pub notes: Vec<Note>,
}

impl Provider {
    /// What a person can do when it refuses a client with this redirect URI.
    pub fn advice_for(&self, redirect_uri: &str) -> Option<String> {
        let url = url::Url::parse(redirect_uri).ok();
        let domain = url.as_ref().and_then(url::Url::host_str).unwrap_or_default();
        self.advice.as_ref().map(|text| text.replace("{redirect_uri}", redirect_uri).replace("{domain}", domain))
    }
}

/// How a client becomes known to an authorization server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// It registers itself (RFC 7591).
    Dynamic,
    /// Its id is the address of its metadata document.
    Documents,
    /// Either.
    DynamicAndDocuments,
    /// A person registers it by hand, and by no other way.
    Preregistered,
    /// There is no OAuth: keys or nothing.
    None,
    /// Nobody has seen it.
    #[default]
    Unknown,
}

/// Which redirect URIs an authorization server takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// Every one that a client registers.
    #[default]
    Any,
    /// Those on a list that the provider, or an administrator of the organization there, keeps.
    Allowlist,
    /// Those on one's own machine.
    LoopbackOnly,
    /// Exactly those that were registered by hand.
    Fixed,
}

/// Which clients an authorization server lets register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clients {
    /// All.
    #[default]
    Any,
    /// Those whose `client_name` is on a list.
    Named,
}

/// What an authorization server wants as `resource` (RFC 8707).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Resource {
    /// What the upstream's metadata states.
    #[default]
    AsStated,
    /// None: it refuses requests that have one.
    Never,
    /// This one, where the upstream's metadata states none.
    Fixed(String),
}

/// When an upstream asks for a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Challenges {
    /// At the first request.
    #[default]
    AtOnce,
    /// When a tool is called. It can be opened and listed without one.
    OnCalls,
}

/// What becomes of a refresh token that was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    /// Nobody has seen it.
    #[default]
    Unknown,
    /// It stays.
    Keeps,
    /// There is a new one. The old one answers for a while more, where that is known.
    Rotates {
        /// How long.
        grace: Option<Duration>,
    },
    /// There is a new one, and using the old one again ends the authorization.
    Strict,
}

/// Something that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What.
    pub text: String,
    /// From where: an address, or the number of an issue.
    pub source: Option<String>,
}
