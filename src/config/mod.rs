//! The configuration, checked: what the rest of the program works with. `document` reads the file and the environment
//! into one tree, `reader` takes typed keys out of it, the modules of the sections check them.

mod change;
mod command;
mod database;
mod document;
mod ground;
mod in_force;
mod load;
mod login;
mod presets;
mod program;
pub mod provider;
mod quirks;
mod reader;
mod registration;
mod secrets;
mod sections;
mod service;
mod service_name;
mod telemetry;
#[cfg(test)]
mod tests;
mod tls;
mod units;
mod upstream;
mod vault_key;
mod worker;

pub use command::{Command, Kind, Launcher, Sharing, Stdio, Transport};
pub use database::Database;
pub use in_force::{InForce, Origins, Section, Setting, Shown};
pub use load::{ConfigErrors, Source, load};
pub use login::{Allowed, GITHUB, GitHubLogin, OidcLogin};
pub use registration::{Registration, RegistrationMode};
pub use service::{Service, ServiceClient};
pub use service_name::ServiceName;
pub use telemetry::Otlp;
pub use tls::{Acme, Challenge, ExternalAccount, Records, Rfc2136, Tls, TsigAlgorithm};
pub(crate) use units::positive_duration;
pub use vault_key::{keyring, keyring_again, read_vault_key, write_vault_key};

use crate::hostname::{Authority, Scheme};
use crate::jose::SigningAlgorithm;
use crate::mcp::ToolPolicy;
use crate::secret::Secret;
use crate::vault::Pkcs11;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that can be configured, parsed and checked.
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[tls]`
    pub tls: Tls,
    /// `[store]`
    pub store: Database,
    /// `[store] spool`, where answers of token endpoints wait for the database; none for a database in memory.
    pub spool: Option<PathBuf>,
    /// `[vault]`
    pub vault: VaultKeys,
    /// `[login]`
    pub login: Login,
    /// `[tokens]`
    pub tokens: Tokens,
    /// `[registration]`
    pub registration: Registration,
    /// `[limits]`
    pub limits: Limits,
    /// `[streams]`
    pub streams: Streams,
    /// `[upstreams]`
    pub upstreams: Upstreams,
    /// `[[upstream]]`, and `MCP_SERVERS`
    pub upstream: Vec<UpstreamConfig>,
    /// `[stdio]`
    pub stdio: Stdio,
    /// `[unified]`
    pub unified: Unified,
    /// `[[service]]`
    pub service: Vec<Service>,
    /// `[[provider]]`
    pub provider: Vec<provider::Provider>,
    /// `[audit]`
    pub audit: Audit,
    /// `[telemetry]`
    pub telemetry: Telemetry,
    /// Every file that the configuration was read from or that it names, in the order in which they were met.
    pub files: Vec<PathBuf>,
    /// Which keys were written, and where.
    pub origins: Origins,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The root domain, lower case, without port.
    pub domain: String,
    /// Where to listen; port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// Where plain HTTP leads to https, and a certificate authority's questions are answered.
    pub http_listen: Option<SocketAddr>,
    /// Metrics and probes; loopback by default.
    pub admin_listen: Option<SocketAddr>,
    /// Scheme and port of `public_url`, when it was given; else they follow from `tls.mode` and the listening port.
    pub public: Option<(Scheme, u16)>,
    /// Whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Whether every connection from one of them begins with a header of the PROXY protocol; others are refused then.
    pub proxy_protocol: bool,
    /// Browser origins that may call MCP hostnames, besides loopback ones and our own.
    pub allowed_origins: Vec<String>,
    /// The largest body that a control-plane endpoint takes, and the largest head of any request, are constants; this is
    /// the largest request body forwarded to an upstream, in bytes.
    pub max_body: u64,
    /// The largest request body that is kept so that the request can be repeated, in bytes.
    pub kept_body: u64,
    /// What all kept bodies together may take, in bytes.
    pub kept_total: u64,
}

impl Server {
    /// Every address that is listened on, in the order in which they are bound.
    pub fn configured_addresses(&self) -> Vec<SocketAddr> {
        self.listen.iter().copied().chain(self.admin_listen).chain(self.http_listen).collect()
    }
}

/// `[vault]`
#[derive(Clone)]
pub struct VaultKeys {
    /// The current key, in base64 or wrapped by a token; `None`: it is in `key_file`.
    pub key: Option<Secret>,
    /// Where the key is read from, or made on first start with mode 0600.
    pub key_file: Option<PathBuf>,
    /// Other keys, which open and do not seal, in either form.
    pub previous: Vec<Secret>,
    /// `[vault.pkcs11]`: the token that wraps them.
    pub pkcs11: Option<Pkcs11>,
}

/// `[login]`
#[derive(Clone)]
pub struct Login {
    /// Whether names and passwords are accepted.
    pub password: bool,
    /// `LOCAL_USER` and `LOCAL_PASSWORD`: an administrator that exists without being stored.
    pub local: Option<(String, Secret)>,
    /// `[login.github]`
    pub github: Option<GitHubLogin>,
    /// `[[login.oidc]]`
    pub oidc: Vec<OidcLogin>,
    /// How long a browser stays signed in.
    pub sessions: SessionLives,
    /// What must come after a password.
    pub second_factor: SecondFactor,
}

/// `login.session_idle`, `login.session_ttl`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLives {
    /// Without a request.
    pub idle: Duration,
    /// From sign-in to the end, whatever happens.
    pub ttl: Duration,
}

impl Default for SessionLives {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self { idle: Duration::from_secs(7 * DAY), ttl: Duration::from_secs(30 * DAY) }
    }
}

/// `login.second_factor`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondFactor {
    /// People decide for themselves.
    Optional,
    /// Whoever signs in with a password must set one up before anything else.
    Required,
}

/// `[tokens]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Life of our access tokens.
    pub access_ttl: Duration,
    /// Idle life of our refresh tokens.
    pub refresh_ttl: Duration,
    /// How long a rotated refresh token still answers with its successor.
    pub rotation_grace: Duration,
    /// What the next signing key signs with.
    pub signing_algorithm: SigningAlgorithm,
    /// How long a signing key signs; `None`: until somebody rotates it by hand.
    pub key_rotation: Option<Duration>,
}

/// A rate such as `"100/s burst 200"`: also `/m` and `/h`; the burst defaults to the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many per [`Rate::period`].
    pub count: u32,
    /// A second, a minute or an hour.
    pub period: Duration,
    /// How many at once.
    pub burst: u32,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Per client address, before authentication.
    pub per_ip: Rate,
    /// Per person.
    pub per_user: Rate,
    /// Per person and upstream.
    pub per_user_upstream: Rate,
    /// Per OAuth client.
    pub per_client: Rate,
    /// `/token`, per address.
    pub token_endpoint: Rate,
    /// `/register`, per address.
    pub registration: Rate,
    /// `/login`, per address and per name.
    pub login: Rate,
    /// Whether the rates are those of all nodes together.
    pub shared: bool,
    /// What this process may take of the machine's memory, in bytes; `None`: what the machine and its control groups allow.
    pub memory: Option<u64>,
    /// What a connection may cost.
    pub connections: ConnectionLimits,
}

/// What a connection may cost: the keys of `[limits]` that are not rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open connections in all; `None`: what the limit of open files allows.
    pub total: Option<usize>,
    /// Open connections of one address.
    pub per_address: u32,
    /// For a TLS handshake, and for the whole head of a connection's first request.
    pub head_timeout: Duration,
    /// Until the next request on a connection has come, head included.
    pub idle_timeout: Duration,
    /// Between two pieces of a request's body.
    pub body_timeout: Duration,
    /// In bytes per second of waiting, once `body_timeout` has been waited for a body in all; 0: any.
    pub body_min_rate: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: None,
            // Hosted clients come from a handful of addresses.
            per_address: 1024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            body_min_rate: 512,
        }
    }
}

/// `[streams]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// An idle stream of events gets a heartbeat after this long.
    pub heartbeat: Option<Duration>,
    /// An idle WebSocket gets a Ping after this long.
    pub websocket_heartbeat: Option<Duration>,
    /// A stream or WebSocket is ended after this long.
    pub max_duration: Option<Duration>,
    /// A peer that takes no byte for this long is gone.
    pub write_timeout: Duration,
    /// How long an upstream may take to begin its answer.
    pub response_timeout: Duration,
    /// How long open streams may go on after a request to stop.
    pub drain: Duration,
    /// How long they may go on when another process has taken over.
    pub upgrade_drain: Duration,
}

/// What happens to a well-formed hostname whose upstream nobody has named yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// An administrator is asked during sign-in.
    Ask,
    /// 404.
    Deny,
    /// It is used.
    Allow,
}

/// `[upstreams]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstreams {
    /// The policy.
    pub unknown: Unknown,
    /// Whether loopback and private addresses may be upstreams.
    pub allow_private: bool,
    /// PEM file of the certificate authorities to trust for upstreams, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How many requests may wait for one upstream; open streams do not count.
    pub max_requests: u32,
}

/// `[unified]`: the endpoint over all upstreams, `/mcp` on the root domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unified {
    /// Whether there is one.
    pub enabled: bool,
    /// When names carry the prefix of their upstream.
    pub prefix: Prefixes,
    /// How long a list waits for an upstream.
    pub list_timeout: Duration,
    /// How long a call may take, questions to the person included.
    pub call_timeout: Duration,
    /// The largest message of a client, in bytes.
    pub max_body: u64,
    /// Whether everybody gets three tools that search, describe and call instead of all tools.
    pub meta_tools: bool,
    /// How many sessions a person may have open.
    pub max_sessions: u32,
}

impl Default for Unified {
    fn default() -> Self {
        Self {
            enabled: true,
            prefix: Prefixes::WhenSeveral,
            list_timeout: Duration::from_secs(5),
            // Questions wait for people.
            call_timeout: Duration::from_secs(600),
            max_body: 8 << 20,
            meta_tools: false,
            max_sessions: 1000,
        }
    }
}

/// `unified.prefix`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefixes {
    /// Whoever sees one upstream only sees its own names.
    WhenSeveral,
    /// Names do not change when a second upstream is connected.
    Always,
}

/// `[[upstream]]`
pub struct UpstreamConfig {
    /// Which.
    pub authority: Authority,
    /// For people.
    pub name: Option<String>,
    /// A readable label. A program always has one.
    pub alias: Option<String>,
    /// What kind of server it is.
    pub kind: Kind,
    /// The path of its MCP endpoint, for the URLs we print.
    pub path: Option<String>,
    /// How we get in.
    pub auth: UpstreamAuth,
    /// Overrides `upstreams.allow_private`.
    pub allow_private: Option<bool>,
    /// Which tools may be used; `None`: all.
    pub tools: Option<ToolPolicy>,
    /// Who may use it; `None`: everybody who may sign in.
    pub allowed: Option<Permitted>,
}

/// Who may use an upstream: both empty, nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permitted {
    /// These people, by user name,
    pub users: Vec<String>,
    /// and the members of these groups.
    pub groups: Vec<String>,
}

/// How an upstream is authorized.
pub enum UpstreamAuth {
    /// Its own OAuth, with whatever the administrator knows better than discovery.
    OAuth(Box<OAuthSettings>),
    /// A header with a fixed value for everybody.
    Header {
        /// The header's name.
        name: http::HeaderName,
        /// Its value.
        value: Secret,
    },
    /// A header with a value that every person gives us.
    Personal(PersonalHeader),
    /// No authorization.
    None,
}

/// A header whose value each person has for themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonalHeader {
    /// The header's name.
    pub name: http::HeaderName,
    /// What stands before the value, such as `Bearer `; often nothing.
    pub prefix: String,
}

/// What overrides discovery and registration.
#[derive(Default)]
pub struct OAuthSettings {
    /// Instead of the discovered issuer.
    pub issuer: Option<String>,
    /// Instead of the discovered endpoint.
    pub authorization_endpoint: Option<String>,
    /// Instead of the discovered endpoint.
    pub token_endpoint: Option<String>,
    /// A client registered by hand.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<Secret>,
    /// Scopes to ask for, instead of the discovered ones.
    pub scopes: Option<String>,
    /// `resource` to send instead of the discovered one; empty: never send one.
    pub resource: Option<String>,
}

/// `[audit]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Which requests to upstreams are recorded, besides what people and administrators do.
    pub requests: AuditedRequests,
    /// How long the audit log is kept.
    pub keep: Duration,
    /// Where every line goes as well, as JSON.
    pub file: Option<PathBuf>,
}

/// `audit.requests`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditedRequests {
    /// Every one.
    All,
    /// Calls of tools, and what a policy refused.
    Calls,
    /// None but what a policy refused.
    None,
}

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// One JSON object a line, or text.
    pub json: bool,
    /// A `tracing` filter such as `info` or `portcullis=debug`.
    pub level: String,
    /// Where traces go; nowhere without.
    pub otlp: Option<Otlp>,
}
