//! What listings show: one type for each, whoever asks and however it is shown. Nothing in them is secret.

mod access;
mod conversions;

pub use access::{Asked, Group, ToolRules};

use crate::clock::Timestamp;
use crate::secret::Secret;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// A point in time, RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00Z")]
pub struct Moment(pub Timestamp);

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.0.to_rfc3339()
    }
}

impl TryFrom<String> for Moment {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Timestamp::from_rfc3339(&text).map(Self).ok_or("not a time of RFC 3339, such as 2026-01-31T12:00:00Z")
    }
}

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

/// Something that happened.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEvent {
    /// When.
    pub at: Moment,
    /// Who: a user name, a client id, `apikey:NAME`, or `system`.
    pub actor: String,
    /// What, as `noun.verb`.
    pub action: String,
    /// About what.
    pub subject: String,
    /// From which address, when there was a request.
    pub address: Option<String>,
    /// The domain of the upstream, of a request to one.
    pub upstream: Option<String>,
    /// The id of the client that sent it.
    pub client: Option<String>,
    /// The HTTP status of its answer.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u32>,
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

/// A key that signs access tokens, without its private half.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SigningKey {
    /// The JWK's `kid`.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// What it does now.
    pub state: KeyState,
    /// When it was made, and put into the key set.
    pub published_at: Moment,
    /// From when on it signs, until the next one does.
    pub signs_from: Moment,
    /// Until when what it signed is believed, once that is known.
    pub verifies_until: Option<Moment>,
}

/// What a signing key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It is in the key set and waits until it signs.
    Published,
    /// It signs.
    Signing,
    /// It signs no more; what it signed is believed.
    Verifying,
    /// Nothing that it signed is alive: it will be removed.
    Spent,
}

/// What a signing key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum SigningAlgorithm {
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// A signing key to be.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewSigningKey {
    /// What it signs with; without one, what the configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<SigningAlgorithm>,
    /// After a leak: it signs at once, and whatever other keys signed is refused.
    pub at_once: bool,
}
