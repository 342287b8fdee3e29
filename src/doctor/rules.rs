//! What a client does to connect, and what it insists on: one file per client.

use super::check::{Check, Level};
use http::HeaderName;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

/// The rules of one client.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// What it is called on the command line.
    pub id: String,
    /// What people call it.
    pub name: String,
    pub(super) opening: Opening,
    pub(super) discovery: Discovery,
    pub(super) registration: Registration,
    pub(super) authorization: Authorization,
    pub(super) limits: Limits,
    /// Where it differs from what is usual.
    #[serde(default)]
    pub(super) checks: BTreeMap<Check, Override>,
}

/// Its first requests to the MCP server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Opening {
    pub(super) user_agent: String,
    /// The revision that it offers.
    pub(super) protocol: String,
    /// One after the other, until one is answered with 401.
    pub(super) probes: Vec<Probe>,
    /// What else it says.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

/// A request without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Probe {
    /// `initialize` of Streamable HTTP.
    Initialize,
    /// A complete request of the revision 2026-07-28.
    Stateless,
    /// The stream of 2024-11-05.
    Stream,
}

/// How it finds metadata.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Discovery {
    pub(super) user_agent: String,
    pub(super) resource: Vec<ResourcePlace>,
    pub(super) server: Vec<ServerPlace>,
}

/// Where protected resource metadata is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ResourcePlace {
    /// Where the challenge points.
    Pointer,
    /// With the path of the server (RFC 9728 §3.1).
    Path,
    /// Of the origin.
    Root,
}

/// Where authorization server metadata is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ServerPlace {
    /// RFC 8414 §3.1.
    Oauth,
    /// OpenID Connect's, with the path inserted.
    Oidc,
    /// OpenID Connect's own place, after the path.
    OidcAppended,
}

/// How it gets a `client_id`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    /// Its metadata document, when it has one.
    pub(super) document: Option<Document>,
    /// What it registers (RFC 7591).
    pub(super) dynamic: Option<Map<String, Value>>,
    /// How it can authenticate at the token endpoint.
    pub(super) auth_methods: Vec<String>,
}

/// A client ID metadata document.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) url: String,
    /// Authentication methods that must be announced before it is used.
    #[serde(default)]
    pub(super) needs: Vec<String>,
}

/// What it sends the browser with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authorization {
    pub(super) redirect_uri: String,
    /// Whether `resource` goes along (RFC 8707).
    pub(super) resource: bool,
    /// Whether `offline_access` is asked for where it is announced.
    #[serde(default)]
    pub(super) offline_access: bool,
    /// The origin of the page that redeems codes, for a client that is one.
    pub(super) origin: Option<String>,
}

/// How long it waits, in seconds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    discovery: u64,
    registration: u64,
    token: u64,
    refresh: u64,
}

impl Limits {
    pub(super) fn discovery(self) -> Duration {
        Duration::from_secs(self.discovery)
    }

    pub(super) fn registration(self) -> Duration {
        Duration::from_secs(self.registration)
    }

    pub(super) fn token(self) -> Duration {
        Duration::from_secs(self.token)
    }

    pub(super) fn refresh(self) -> Duration {
        Duration::from_secs(self.refresh)
    }
}

/// What is different about one check for this client. Texts that are not given are the usual ones.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Override {
    pub(super) level: Option<Level>,
    pub(super) why: Option<String>,
    pub(super) fix: Option<String>,
    pub(super) source: Option<String>,
}

macro_rules! files {
    ($($name:literal),*) => { [$(include_str!(concat!("clients/", $name, ".toml"))),*] };
}

static CLIENTS: LazyLock<Vec<Rules>> =
    LazyLock::new(|| files!("claude", "claude-code", "chatgpt", "cursor", "vscode").map(read).into());

static GATEWAY: LazyLock<Rules> = LazyLock::new(|| read(include_str!("clients/portcullis.toml")));

#[allow(clippy::expect_used)] // compiled in, and read by a test
fn read(text: &str) -> Rules {
    toml_edit::de::from_str(text).expect("the rules of clients are what they should be")
}

impl Rules {
    /// Of all clients.
    pub fn all() -> &'static [Rules] {
        &CLIENTS
    }

    /// Of the client that is called this.
    pub fn find(id: &str) -> Option<&'static Rules> {
        CLIENTS.iter().find(|rules| rules.id == id)
    }

    /// Of a gateway of ours, which is a client of the servers behind it.
    pub(super) fn gateway() -> &'static Rules {
        &GATEWAY
    }

    pub(super) fn level(&self, check: Check) -> Level {
        let own = self.checks.get(&check).and_then(|different| different.level);
        own.unwrap_or(check.texts().level)
    }

    /// The headers of the opening that are not the same for everybody.
    pub(super) fn opening_headers(&self) -> impl Iterator<Item = (HeaderName, &str)> {
        let own = self.opening.headers.iter();
        own.filter_map(|(name, value)| Some((HeaderName::try_from(name.as_str()).ok()?, value.as_str())))
    }
}
