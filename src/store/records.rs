//! The rows, as the rest of the program sees them. Secrets are digests (what we only compare) or sealed by the vault
//! (what we must be able to use again); there is no third kind.

use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, ConnectionId, Digest, GrantId, SessionId, UserId};
use crate::jose::SigningAlgorithm;

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Approves upstreams, manages people.
    Administrator,
    /// Connects accounts, grants access to clients.
    Member,
}

/// A person.
#[derive(Clone, Debug)]
pub struct User {
    /// Stable.
    pub id: UserId,
    /// The name used at login, unique without regard to ASCII case.
    pub name: String,
    /// An argon2id PHC string; none for people who sign in elsewhere.
    pub password_hash: Option<String>,
    /// Only when known.
    pub email: Option<String>,
    /// What the person may do.
    pub role: Role,
    /// Whether sign-in is refused.
    pub disabled: bool,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// Who a person is at an identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// The issuer: of OpenID Connect, or the address of a GitHub.
    pub issuer: String,
    /// What the issuer calls the person for good, unique together with it.
    pub subject: String,
    /// The provider's name in the configuration, when it was last used.
    pub provider: String,
    /// Who that is here.
    pub user: UserId,
    /// What the person is called there: for people only.
    pub name: String,
    /// Only one that the provider has verified.
    pub email: Option<String>,
    /// When it was linked.
    pub created_at: Timestamp,
    /// When the person last signed in with it.
    pub last_used_at: Timestamp,
}

/// A signed-in browser.
#[derive(Clone, Debug)]
pub struct Session {
    /// Digest of the cookie's value.
    pub token: Digest,
    /// What it may be called in pages and addresses.
    pub id: SessionId,
    /// Who.
    pub user: UserId,
    /// How the person signed in, as [`crate::session::Means`] writes it.
    pub means: String,
    /// From which address; `None` when nobody noted it.
    pub address: Option<String>,
    /// What the browser called itself; may be empty, and may be a lie.
    pub user_agent: String,
    /// When the person signed in.
    pub created_at: Timestamp,
    /// The last request, to the minute or so.
    pub last_seen_at: Timestamp,
    /// The absolute end.
    pub expires_at: Timestamp,
}

/// A client that registered at one of our issuers (RFC 7591), or that an administrator made for it.
#[derive(Clone, Debug)]
pub struct Client {
    /// [`crate::hostname::Realm::key`] of the issuer.
    pub realm: String,
    /// The `client_id`.
    pub id: String,
    /// The effective metadata, JSON.
    pub metadata: String,
    /// Digest of the client secret, for confidential clients.
    pub secret: Option<Digest>,
    /// Digest of the registration access token (RFC 7592).
    pub registration_token: Digest,
    /// When it registered.
    pub created_at: Timestamp,
    /// When it last got a token; `None` for one that never did.
    pub last_used_at: Option<Timestamp>,
    /// Whom a machine client acts for: an administrator made it. Clients that registered have none.
    pub owner: Option<UserId>,
    /// When the registration ends, if it does.
    pub expires_at: Option<Timestamp>,
}

/// A client ID metadata document that was fetched.
#[derive(Clone, Debug)]
pub struct ClientDocument {
    /// Its URL, which is the `client_id`.
    pub url: String,
    /// The JSON text.
    pub body: String,
    /// When it was fetched.
    pub fetched_at: Timestamp,
    /// Until when it may be used without asking again (RFC 9111).
    pub fresh_until: Timestamp,
}

/// A person's consent to a client for one resource.
#[derive(Clone, Debug)]
pub struct Grant {
    /// In every token issued under it.
    pub id: GrantId,
    /// Whose.
    pub user: UserId,
    /// To whom.
    pub client_id: String,
    /// The client's name as it was shown.
    pub client_name: String,
    /// [`crate::hostname::Realm::key`] of the issuer.
    pub realm: String,
    /// For what (RFC 8707).
    pub resource: String,
    /// How much, space-separated.
    pub scope: String,
    /// When.
    pub created_at: Timestamp,
    /// When it ended, if it did.
    pub revoked_at: Option<Timestamp>,
}

/// A client that people granted something to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedClient {
    /// [`crate::hostname::Realm::key`] of the issuer.
    pub realm: String,
    /// The `client_id`.
    pub client_id: String,
    /// The client's name as it was shown.
    pub client_name: String,
    /// How many grants of its are in force.
    pub grants: i64,
}

/// An authorization code, waiting to be exchanged.
#[derive(Clone, Debug)]
pub struct AuthorizationCode {
    /// Digest of the code.
    pub code: Digest,
    /// The consent behind it.
    pub grant: GrantId,
    /// Exactly as the client sent it; compared again at the token endpoint.
    pub redirect_uri: String,
    /// S256 challenge.
    pub code_challenge: String,
    /// 60 seconds after issue.
    pub expires_at: Timestamp,
    /// When it was exchanged, if it was.
    pub used_at: Option<Timestamp>,
    /// The thumbprint of the only key that may exchange it, where the client named one (RFC 9449 §10).
    pub dpop_jkt: Option<String>,
}

/// Where a device's request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// For a person.
    Waiting,
    /// The person let it in; it has not come for its tokens yet.
    Approved,
    /// The person kept it out.
    Denied,
    /// It got its tokens.
    Used,
}

/// A device that waits for a person (RFC 8628 §3.2).
#[derive(Clone, Debug)]
pub struct DeviceCode {
    /// Digest of the device code.
    pub code: Digest,
    /// Digest of the user code in its plain form: upper case, without dash.
    pub user_code: Digest,
    /// [`crate::hostname::Realm::key`] of the issuer.
    pub realm: String,
    /// Who asked.
    pub client_id: String,
    /// For what (RFC 8707).
    pub resource: String,
    /// How much, space-separated.
    pub scope: String,
    /// When the device has to begin anew.
    pub expires_at: Timestamp,
    /// Seconds that it has to leave between two questions.
    pub interval: i64,
    /// When it asked last.
    pub polled_at: Option<Timestamp>,
    /// Who typed the user code: the only one who can decide.
    pub claimed_by: Option<UserId>,
    /// Where it stands.
    pub state: DeviceState,
    /// What the person granted, once that has happened.
    pub grant: Option<GrantId>,
}

/// A consent that a person does not want to be asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RememberedConsent {
    /// Whose.
    pub user: UserId,
    /// [`crate::hostname::Realm::key`] of the issuer.
    pub realm: String,
    /// To whom.
    pub client_id: String,
    /// For what.
    pub resource: String,
    /// Host and port of the redirect URI.
    pub redirect_host: String,
    /// How much, space-separated; empty for everything.
    pub scope: String,
    /// When it is forgotten unless it is relied upon before.
    pub expires_at: Timestamp,
}

/// A refresh token of ours. All of a grant's tokens are one family.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    /// Digest of the token.
    pub token: Digest,
    /// The family.
    pub grant: GrantId,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it idles out.
    pub expires_at: Timestamp,
    /// What it was exchanged for, once it was.
    pub successor: Option<Successor>,
    /// When the token itself was first presented.
    pub first_used_at: Option<Timestamp>,
    /// The thumbprint of the key that it is bound to, where there is one (RFC 9449 §5).
    pub dpop_jkt: Option<String>,
}

/// What a rotated refresh token became; kept so that a client that lost our answer gets the same again.
#[derive(Clone, Debug)]
pub struct Successor {
    /// Digest of the successor.
    pub token: Digest,
    /// The successor itself, sealed.
    pub sealed: Vec<u8>,
    /// When the rotation happened.
    pub rotated_at: Timestamp,
}

/// An administrator's decision about an upstream that the configuration does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// May be used.
    Approved,
    /// Must not be used.
    Denied,
}

/// An upstream that an administrator decided about.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Canonical text of its authority.
    pub authority: String,
    /// Approved or denied.
    pub decision: Decision,
    /// A readable label, if it has one.
    pub alias: Option<String>,
    /// A name for people, if it has one.
    pub name: Option<String>,
    /// Who decided; `None` when it was done on the command line.
    pub decided_by: Option<UserId>,
    /// When.
    pub decided_at: Timestamp,
}

/// Who may use an upstream that not everybody may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAccess {
    /// Canonical text of its authority.
    pub authority: String,
    /// These people,
    pub users: Vec<UserId>,
    /// and the members of these groups. Neither: nobody.
    pub groups: Vec<String>,
}

/// What discovery found out about an upstream, JSON of `connect`'s own making.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// The upstream.
    pub authority: String,
    /// What was found.
    pub document: String,
    /// When.
    pub found_at: Timestamp,
}

/// Our registration as a client at an upstream's authorization server.
#[derive(Clone, Debug)]
pub struct UpstreamClient {
    /// The issuer that we are registered at.
    pub issuer: String,
    /// What distinguishes registrations at one issuer: the redirect URI that was registered.
    pub redirect_uri: String,
    /// Our `client_id` there.
    pub client_id: String,
    /// Our secret there, sealed; none for a public client.
    pub sealed_secret: Option<Vec<u8>>,
    /// `none`, `client_secret_basic` or `client_secret_post`.
    pub auth_method: String,
    /// When the secret expires, if it does (RFC 7591 §3.2.1).
    pub expires_at: Option<Timestamp>,
    /// When we registered.
    pub created_at: Timestamp,
}

/// The state of a person's authorization at an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// There are tokens, and they are believed to be good.
    Active,
    /// The upstream was used without authorization so far.
    Open,
    /// The upstream said that the authorization is gone; the person must consent again.
    NeedsConsent,
}

/// A person's authorization at an upstream.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Stable over refreshes and renewed consent.
    pub id: ConnectionId,
    /// Whose.
    pub user: UserId,
    /// Where: canonical text of the authority.
    pub authority: String,
    /// Which account, empty for the plain one.
    pub account: String,
    /// Whether it works.
    pub state: ConnectionState,
    /// The tokens, sealed; JSON of `connect`'s own making with everything that a refresh needs.
    pub sealed: Vec<u8>,
    /// Where it holds values that the person gave instead of tokens: their names, separated by spaces.
    pub personal: Option<String>,
    /// The scopes that the upstream granted, space-separated.
    pub scope: String,
    /// When the access token expires, if the upstream said so.
    pub expires_at: Option<Timestamp>,
    /// Counts every change of the tokens.
    pub version: i64,
    /// When a refresh was begun of which nobody knows what became, by the clock of the database.
    pub refreshing_since: Option<Timestamp>,
    /// In words, for the person.
    pub last_error: Option<String>,
    /// When the connection was made.
    pub created_at: Timestamp,
    /// The last change of the tokens.
    pub updated_at: Timestamp,
    /// When something was sent with it last, to some minutes.
    pub last_used_at: Option<Timestamp>,
}

/// A connection with what its person sees of it besides.
#[derive(Clone, Debug)]
pub struct HeldConnection {
    /// The row.
    pub row: Connection,
    /// What the person calls it.
    pub title: Option<String>,
    /// When its tokens are refreshed although nobody asks.
    pub refresh_at: Option<Timestamp>,
    /// When a request went out with it, to within a few minutes.
    pub last_used_at: Option<Timestamp>,
}

/// A browser flow that waits for its next step.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Digest of the flow's handle.
    pub id: Digest,
    /// The session that it belongs to.
    pub session: Digest,
    /// The owner's own JSON.
    pub data: String,
    /// When it is given up.
    pub expires_at: Timestamp,
}

/// A signing key of ours.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The JWK's `kid`.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// PKCS#8, sealed.
    pub sealed: Vec<u8>,
    /// When it was made and published.
    pub created_at: Timestamp,
    /// From when on it signs, until the next one does.
    pub active_from: Timestamp,
    /// The longest life of a token that it signed, in seconds.
    pub token_ttl: i64,
}

/// What a program shows instead of a person's session. Lists are separated by spaces; an empty one limits nothing.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// The part of the key before the dot.
    pub id: ApiKeyId,
    /// What people call it.
    pub name: String,
    /// Digest of the part after the dot.
    pub secret: Digest,
    /// What it is for: words of [`crate::apikey::ApiScope`].
    pub scopes: String,
    /// About whose tokens it may ask: resource identifiers.
    pub resources: String,
    /// Which services of the broker it may use.
    pub services: String,
    /// For whom it may use them: identifiers in hexadecimal.
    pub users: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
    /// The last use, to the minute or so.
    pub last_used_at: Option<Timestamp>,
}

/// One line of the audit log.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// Who: a user name, a client id, or `system`.
    pub actor: String,
    /// What, as `noun.verb`: `login.succeeded`, `grant.created`, `upstream.approved`.
    pub action: String,
    /// About what.
    pub subject: String,
    /// From which address, when there was a request.
    pub address: Option<String>,
    /// The authority of the upstream, of a request to one.
    pub upstream: Option<String>,
    /// The id of the client that sent it.
    pub client: Option<String>,
    /// The HTTP status of its answer, if one was begun.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u32>,
}

impl AuditEvent {
    /// An event that is no request to an upstream.
    pub fn new(at: Timestamp, actor: &str, action: &str, subject: &str, address: Option<String>) -> Self {
        let (actor, action, subject) = (actor.to_owned(), action.to_owned(), subject.to_owned());
        Self { at, actor, action, subject, address, upstream: None, client: None, status: None, duration_ms: None }
    }
}

/// What ended together with a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Consents to clients.
    pub grants: Vec<GrantId>,
    /// Authorizations at upstreams.
    pub connections: Vec<ConnectionId>,
}

/// Something that changed in the database and that memory must learn about, in this process and in every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A grant was revoked: its tokens are worth nothing, its streams end.
    GrantRevoked(GrantId),
    /// A connection got new tokens, another state, or is gone.
    ConnectionChanged(ConnectionId),
    /// An upstream was approved, denied, renamed or removed.
    UpstreamsChanged,
    /// A signing key was added or removed, or is to verify for longer.
    KeysChanged,
    /// Somebody was added, disabled, let in again or removed, or belongs to other groups.
    PeopleChanged,
    /// A person sees something else at `/mcp`.
    SelectionChanged(UserId),
    /// A certificate was issued, is to be renewed, or could not be ordered; or an authority is going to ask something.
    CertificatesChanged,
}
