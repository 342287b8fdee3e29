//! What people give us by hand for an upstream: an API key for a header, or secrets for the environment of a program. Such
//! values are the connection of a person, in place of tokens: they have its life, its journal, its place in the vault.

use super::sealed::{connection_place, from_json, row_of, to_json};
use super::{Begin, ConnectError, ConnectionKey, Connections, NoCredential, Request, Target};
use crate::clock::Clock;
use crate::error::Fault;
use crate::ids::{ConnectionId, Random};
use crate::secret::Secret;
use crate::store::{Connection, ConnectionState, Store};
use crate::upstream::{Personal, Upstream};
use crate::vault::Vault;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use url::form_urlencoded::Serializer;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The page on the root domain where people give them.
pub const PERSONAL_PAGE: &str = "/upstreams/credentials";

/// What people have given, sealed. The command line uses this beside a running gateway.
#[derive(Clone)]
pub struct PersonalCredentials {
    store: Store,
    vault: Vault,
    clock: Clock,
    random: Random,
}

/// As they are sealed: names with their values.
#[derive(Default, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Values {
    values: Vec<(String, String)>,
}

/// What is left when a value is taken away.
pub enum Remainder {
    /// There was none of that name.
    Unknown,
    /// Nothing: this connection is to be deleted.
    Nothing(ConnectionId),
    /// The other values, in a connection that is to replace the one that there is.
    Others(Box<Connection>),
}

impl PersonalCredentials {
    /// Of this store and this vault.
    pub fn new(store: Store, vault: Vault, clock: Clock, random: Random) -> Self {
        Self { store, vault, clock, random }
    }

    /// The connection with these values, and with those of other names that the person gave before, for
    /// [`crate::revocation::Revocations::replace_connection`].
    ///
    /// # Errors
    /// When the upstream wants no such value, or a value cannot be used; the text never quotes one. When the store fails.
    pub async fn with(
        &self,
        key: &ConnectionKey,
        upstream: &Upstream,
        given: &[(&str, &Secret)],
    ) -> Result<Connection, Fault> {
        let Some(personal) = upstream.personal() else {
            return Err(Fault::caller(format!("{} takes no values from people", upstream.name)));
        };
        let mut all = match self.row(key).await? {
            Some(row) => self.open(key, &row)?,
            None => Values::default(),
        };
        for (name, value) in given {
            let known = personal.name(name).ok_or_else(|| {
                let (wanted, upstream) = (personal.names().join(", "), &upstream.name);
                Fault::caller(match name.is_empty() {
                    true => format!("{upstream} wants several values: name one of {wanted}"),
                    false => format!("{upstream} wants no value with the name {name:?}, but: {wanted}"),
                })
            })?;
            let value = personal.check(value.expose()).map_err(|why| Fault::caller(format!("{known}: {why}")))?;
            all.put(known, value);
        }
        // What is not wanted any longer is not kept either.
        all.keep(|name| personal.name(name) == Some(name));
        self.seal(key, &all)
    }

    /// What is left without the value of a name, or without any.
    ///
    /// # Errors
    /// When the store fails, or the row was tampered with.
    pub async fn without(&self, key: &ConnectionKey, name: Option<&str>) -> Result<Remainder, Fault> {
        let Some(row) = self.row(key).await? else { return Ok(Remainder::Unknown) };
        let Some(name) = name else { return Ok(Remainder::Nothing(row.id)) };
        let mut all = self.open(key, &row)?;
        let before = all.values.len();
        all.keep(|one| one != name);
        Ok(match all.values.len() {
            after if after == before => Remainder::Unknown,
            0 => Remainder::Nothing(row.id),
            _ => Remainder::Others(Box::new(self.seal(key, &all)?)),
        })
    }

    async fn row(&self, key: &ConnectionKey) -> Result<Option<Connection>, Fault> {
        let row = self.store.connection(key.user, key.target.as_str(), key.account_text()).await?;
        Ok(row.filter(|row| row.personal.is_some()))
    }

    fn seal(&self, key: &ConnectionKey, values: &Values) -> Result<Connection, Fault> {
        let (user, authority) = (key.user.to_string(), key.target.as_str());
        let row = row_of(&user, authority, key.account_text());
        let names: Vec<_> = values.values.iter().map(|(name, _)| name.as_str()).collect();
        let now = self.clock.now();
        Ok(Connection {
            id: ConnectionId::random(&self.random),
            user: key.user,
            authority: authority.to_owned(),
            account: key.account_text().to_owned(),
            state: ConnectionState::Active,
            sealed: self.vault.seal(&connection_place(&row, &user, authority), &to_json(values)?),
            personal: Some(names.join(" ")),
            scope: String::new(),
            expires_at: None,
            version: 1,
            refreshing_since: None,
            last_error: None,
            created_at: now,
            updated_at: now,
            last_used_at: None,
        })
    }

    fn open(&self, key: &ConnectionKey, row: &Connection) -> Result<Values, Fault> {
        let (user, authority) = (key.user.to_string(), key.target.as_str());
        let name = row_of(&user, authority, key.account_text());
        let opened = self.vault.open(&connection_place(&name, &user, authority), &row.sealed);
        let opened = opened.map_err(|error| Fault::gateway(format!("connection {}: {error}", row.id)))?;
        from_json(&opened, "connection")
    }
}

impl Values {
    fn put(&mut self, name: &str, value: &str) {
        self.keep(|one| one != name);
        self.values.push((name.to_owned(), value.to_owned()));
    }

    fn keep(&mut self, good: impl Fn(&str) -> bool) {
        self.values.retain_mut(|(name, value)| {
            let stays = good(name);
            if !stays {
                value.zeroize();
            }
            stays
        });
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Whether a connection has every value that is wanted.
pub(super) fn has_all(row: &Connection, personal: &Personal) -> bool {
    let given = row.personal.as_deref().unwrap_or_default();
    personal.names().iter().all(|wanted| given.split(' ').any(|name| name == *wanted))
}

impl Connections {
    /// The secrets that a person gave for the environment of a program, all that are wanted; none for another upstream.
    ///
    /// They are good as long as [`Connections::credential`] of the same key: its life ends when one is changed or removed.
    ///
    /// # Errors
    /// [`NoCredential::NeedsConsent`] when one is missing; when the store fails.
    pub async fn personal_env(&self, key: &ConnectionKey) -> Result<Vec<(String, Secret)>, NoCredential> {
        let Some(personal @ Personal::Environment(_)) = self.personal(&key.target) else { return Ok(Vec::new()) };
        let row = self.row(key).await?.filter(|row| row.state == ConnectionState::Active);
        let values = self.given.open(key, &row.ok_or(NoCredential::NeedsConsent)?)?;
        let secret = |name: &str| Some((name.to_owned(), Secret::new(values.get(name)?.to_owned())));
        let all: Option<Vec<_>> = personal.names().into_iter().map(secret).collect();
        all.ok_or(NoCredential::NeedsConsent)
    }

    /// What people have given.
    pub fn personal_credentials(&self) -> &PersonalCredentials {
        &self.given
    }

    /// What an upstream wants of people by hand.
    pub(super) fn personal(&self, target: &Target) -> Option<Personal> {
        let Target::Upstream(authority) = target else { return None };
        self.registry.by_authority(authority)?.personal()
    }

    /// The header to inject, of a connection with values in place of tokens; none for a program, whose environment has them.
    pub(super) fn personal_header(
        &self,
        key: &ConnectionKey,
        row: &Connection,
    ) -> Result<Option<(HeaderName, HeaderValue)>, NoCredential> {
        let header = match self.personal(&key.target).ok_or(NoCredential::NeedsConsent)? {
            Personal::Header(header) => header,
            Personal::Environment(_) => return Ok(None),
        };
        let values = self.given.open(key, row)?;
        let value = values.get(header.name.as_str()).ok_or(NoCredential::NeedsConsent)?;
        let text = Zeroizing::new(format!("{}{value}", header.prefix));
        Ok(Some((header.name, super::inject::sensitive(&text)?)))
    }

    /// Makes sure that everything is given, or leads to the page that asks for it.
    pub(super) async fn begin_personal(self: &Arc<Self>, request: &Request<'_>) -> Result<Begin, ConnectError> {
        let needed = self.needs_consent(request.key).await.map_err(|fault| ConnectError::at("store", fault))?;
        if !request.renew && !needed {
            return Ok(Begin::Connected);
        }
        Ok(Begin::Redirect(page_address(request.key, request.return_to)))
    }
}

/// The page that asks for the values of a key, and leads to a path on the root domain afterwards.
pub fn page_address(key: &ConnectionKey, return_to: &str) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("server", key.target.as_str());
    if let Some(account) = &key.account {
        query.append_pair("account", account.as_str());
    }
    format!("{PERSONAL_PAGE}?{}", query.append_pair("return_to", return_to).finish())
}
