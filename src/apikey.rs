//! API keys: what a program shows instead of a person's session. A key is `id.secret`; only the digest of the secret is
//! kept, and every use reads it anew, so that a key that was revoked is worth nothing at once, on every node.

#[cfg(test)]
mod tests;

use crate::clock::{Clock, Timestamp};
use crate::error::Fault;
use crate::ids::{ApiKeyId, Digest, Random, UserId};
use crate::oauth::resource;
use crate::oauth::scheme::Scheme;
use crate::secret::Secret;
use crate::store::{self, Store, StoreError};
use http::{HeaderMap, header};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Where a key may be sent, beside `Authorization: Bearer`.
pub const HEADER: &str = "x-api-key";

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiScope {
    /// The admin API, whole.
    Admin,
    /// Introspection of tokens for the key's resources (RFC 7662 §2.1).
    Introspect,
    /// The token broker, within the key's services and users.
    Broker,
}

impl ApiScope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Introspect, Self::Broker];

    /// As it is typed and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Introspect => "introspect",
            Self::Broker => "broker",
        }
    }
}

/// Not the name of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scopes of an API key are admin, introspect and broker")]
pub struct UnknownApiScope;

impl FromStr for ApiScope {
    type Err = UnknownApiScope;

    fn from_str(text: &str) -> Result<Self, UnknownApiScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(UnknownApiScope)
    }
}

/// What a new key shall be.
#[derive(Clone, Debug, Default)]
pub struct NewApiKey {
    /// What people call it: 1 to 64 characters of `A-Za-z0-9._@-`.
    pub name: String,
    /// Without any it is for the broker.
    pub scopes: Vec<ApiScope>,
    /// With [`ApiScope::Introspect`] at least one: URLs. An origin stands for everything on it, a path for all below.
    pub resources: Vec<String>,
    /// Services of the broker; all when empty.
    pub services: Vec<String>,
    /// People whom it may act for at the broker; all when empty.
    pub users: Vec<UserId>,
    /// How long it lives; for ever without.
    pub ttl: Option<Duration>,
}

/// A key that has just been made. Nobody sees it again.
pub struct CreatedApiKey {
    /// For [`ApiKeys::revoke`], and for people.
    pub id: ApiKeyId,
    /// `id.secret`.
    pub key: Secret,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
}

/// A key that a caller has shown. Only [`ApiKeys::authenticate`] makes one: its existence is the proof.
#[derive(Debug)]
pub struct ApiKey {
    row: store::ApiKey,
}

/// Why a request with a key is refused.
#[derive(Debug)]
pub enum ApiKeyError {
    /// Unknown, wrong, revoked, expired, or two different ones; callers learn no more than that.
    Invalid,
    /// We ourselves are in trouble.
    Failed(Fault),
}

impl From<StoreError> for ApiKeyError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Makes, checks and ends keys. Shared behind an `Arc`.
pub struct ApiKeys {
    store: Store,
    clock: Clock,
    random: Random,
}

impl ApiKeys {
    /// The keys of a database.
    pub fn new(store: Store, clock: Clock, random: Random) -> Self {
        Self { store, clock, random }
    }

    /// The key of a request, in `X-API-Key` or as Bearer; `None` when there is none. A bearer token of another form is
    /// not a key and somebody else's to judge.
    ///
    /// # Errors
    /// [`ApiKeyError`].
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Option<ApiKey>, ApiKeyError> {
        let Some(shown) = Shown::of(headers)? else { return Ok(None) };
        let now = self.clock.now();
        let row = self.store.api_key(shown.id).await?.ok_or(ApiKeyError::Invalid)?;
        if !row.secret.matches(&shown.secret) || row.expires_at.is_some_and(|end| end <= now) {
            return Err(ApiKeyError::Invalid);
        }
        if row.last_used_at.is_none_or(|at| now.since(at) >= TOUCH_EVERY) {
            self.store.touch_api_key(row.id, now).await?;
        }
        Ok(Some(ApiKey { row }))
    }

    /// Makes a key.
    ///
    /// # Errors
    /// When the wishes contradict each other; the text names the fix. When the store fails.
    pub async fn create(&self, new: &NewApiKey) -> Result<CreatedApiKey, Fault> {
        let scopes = if new.scopes.is_empty() { &[ApiScope::Broker][..] } else { &new.scopes };
        check(new, scopes)?;
        let (id, secret, now) = (ApiKeyId::random(&self.random), self.random.token(), self.clock.now());
        let expires_at = new.ttl.map(|ttl| now.after(ttl));
        let row = store::ApiKey {
            id,
            name: new.name.clone(),
            secret: Digest::of(secret.as_bytes()),
            scopes: joined(ApiScope::ALL.into_iter().filter(|scope| scopes.contains(scope)).map(ApiScope::as_str)),
            resources: joined(&new.resources),
            services: joined(&new.services),
            users: joined(&new.users),
            created_at: now,
            expires_at,
            last_used_at: None,
        };
        self.store.insert_api_key(&row).await?;
        Ok(CreatedApiKey { id, key: Secret::new(format!("{id}.{}", *secret)), expires_at })
    }

    /// All keys, oldest first, also those that have expired.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self) -> Result<Vec<store::ApiKey>, StoreError> {
        self.store.api_keys().await
    }

    /// Ends a key, everywhere at once; `false` when there is none of that id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke(&self, id: ApiKeyId) -> Result<bool, StoreError> {
        self.store.delete_api_key(id).await
    }
}

impl ApiKey {
    /// Which key it is.
    pub fn id(&self) -> ApiKeyId {
        self.row.id
    }

    /// How the audit log calls whoever holds it; no user name and no client id looks like this.
    pub fn actor(&self) -> String {
        format!("apikey:{}", self.row.name)
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.row.name
    }

    /// When it ends, if ever.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.row.expires_at
    }

    /// Whether it may use this service of the broker.
    pub fn may_use(&self, service: &str) -> bool {
        let mut services = words(&self.row.services).peekable();
        self.allows(ApiScope::Broker) && (services.peek().is_none() || services.any(|own| own == service))
    }

    /// Whether it may act at the broker for people whom it does not name.
    pub fn may_act_for_all(&self) -> bool {
        self.allows(ApiScope::Broker) && words(&self.row.users).next().is_none()
    }

    /// Whether it may act for this person at the broker.
    pub fn may_act_for(&self, user: UserId) -> bool {
        let id = user.to_string();
        self.may_act_for_all() || self.allows(ApiScope::Broker) && words(&self.row.users).any(|own| own == id)
    }

    /// Whether it is for that.
    pub fn allows(&self, scope: ApiScope) -> bool {
        words(&self.row.scopes).any(|word| word == scope.as_str())
    }

    /// Whether it may ask about tokens with this audience: a resource of its own, or one below.
    pub fn may_introspect(&self, audience: &str) -> bool {
        self.allows(ApiScope::Introspect) && words(&self.row.resources).any(|own| resource::covers(own, audience))
    }
}

/// Uses closer together than this are not written down.
const TOUCH_EVERY: Duration = Duration::from_secs(60);
/// 256 bits in base64url, as [`Random::token`] writes them.
const SECRET_LENGTH: usize = 43;

/// What a request shows, before anything is known about it.
#[derive(PartialEq, Eq)]
struct Shown {
    id: ApiKeyId,
    secret: Digest,
}

impl Shown {
    fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiKeyError> {
        let own = headers.get_all(HEADER).iter().map(|value| {
            let text = value.to_str().ok();
            text.and_then(|text| Self::parse(text.trim())).ok_or(ApiKeyError::Invalid)
        });
        let bearer = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
            let (scheme, token) = Scheme::of(value.to_str().ok()?)?;
            if scheme == Scheme::Bearer { Self::parse(token.trim()).map(Ok) } else { None }
        });
        let mut found = None;
        for shown in own.chain(bearer) {
            let shown = shown?;
            if found.as_ref().is_some_and(|other| *other != shown) {
                return Err(ApiKeyError::Invalid);
            }
            found = Some(shown);
        }
        Ok(found)
    }

    fn parse(key: &str) -> Option<Self> {
        let (id, secret) = key.split_once('.')?;
        let id = id.parse().ok().filter(|_| secret.len() == SECRET_LENGTH)?;
        Some(Self { id, secret: Digest::of(secret) })
    }
}

fn check(new: &NewApiKey, scopes: &[ApiScope]) -> Result<(), Fault> {
    if !is_name(&new.name) {
        return Err(Fault::caller("the name of an API key has 1 to 64 characters of A-Z a-z 0-9 . _ @ -"));
    }
    if new.resources.iter().any(|text| resource::parse(text).is_none()) {
        return Err(Fault::caller(
            "a resource is a URL such as https://notes.gw.example/mcp, without user and fragment",
        ));
    }
    if scopes.contains(&ApiScope::Introspect) == new.resources.is_empty() {
        return Err(Fault::caller(
            "the scope introspect and resources go together: name the scope and the URLs whose tokens the key may see",
        ));
    }
    if !new.services.iter().all(|service| is_name(service)) {
        return Err(Fault::caller("the name of a service has 1 to 64 characters of A-Z a-z 0-9 . _ @ -"));
    }
    if !(scopes.contains(&ApiScope::Broker) || new.services.is_empty() && new.users.is_empty()) {
        return Err(Fault::caller("services and users limit the scope broker: name it as well, or leave them out"));
    }
    if new.ttl.is_some_and(|ttl| ttl.is_zero()) {
        return Err(Fault::caller("a key that expires at once is of no use: give it a life such as 90d"));
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(&b))
}

fn joined(items: impl IntoIterator<Item = impl fmt::Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(' ').filter(|word| !word.is_empty())
}
