//! From a person and an upstream to what is injected: memory, store, refresh.

use super::discovery::Hint;
use super::flights::{Boarded, Outcome};
use super::personal::has_all;
use super::{ConnectionKey, Connections, Credential, NoCredential, Target};
use crate::clock::Timestamp;
use crate::config::UpstreamAuth;
use crate::error::Fault;
use crate::ids::ConnectionId;
use crate::oauth::challenge::BearerChallenge;
use crate::store::{Connection, ConnectionState};
use crate::upstream::Standing;
use http::{HeaderName, HeaderValue, header};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a token is new: nobody asks for another one sooner because it lives too shortly.
const YOUNG: Duration = Duration::from_secs(60);

/// How often it is written down that a connection is used.
const USED_EVERY: Duration = Duration::from_secs(300);

impl Connections {
    /// What to inject for a request, if it is in memory and good: the way of nearly every request.
    pub fn cached(&self, key: &ConnectionKey) -> Option<Arc<Credential>> {
        self.memory.get(key, self.clock.now(), self.registry.generation())
    }

    /// What to inject, from the store when it is not in memory, refreshed when it has expired.
    ///
    /// # Errors
    /// When there is nothing to inject.
    pub async fn credential(self: &Arc<Self>, key: &ConnectionKey) -> Result<Arc<Credential>, NoCredential> {
        if let Some(good) = self.cached(key) {
            return Ok(good);
        }
        if let Some(shared) = self.shared_credential(key)? {
            return Ok(shared);
        }
        match self.read(key) {
            Boarded::First(reading) => reading.await,
            // It may have read the row before the person consented. One that begins now has not.
            Boarded::Joined(reading) => match reading.await {
                Err(NoCredential::NeedsConsent) => self.read(key).flight().await,
                outcome => outcome,
            },
        }
    }

    /// Remembers that something is sent with it: an atomic load, and now and then more.
    pub fn use_now(&self, credential: &Credential) {
        let (Some(id), now) = (credential.connection, self.clock.now()) else { return };
        let before = credential.used.load(Ordering::Relaxed);
        if now.since(Timestamp(before)) >= USED_EVERY
            && credential.used.compare_exchange(before, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.activity.used(now, id);
        }
    }

    /// Of many who miss the same one asks the database, and all have what it brings. If each asked, they would keep its
    /// connections from everybody else.
    fn read(self: &Arc<Self>, key: &ConnectionKey) -> Boarded {
        self.readings.board(key, || {
            let (this, key) = (self.clone(), key.clone());
            async move { this.stored(&key).await }
        })
    }

    /// What to inject, from the store, refreshed when it has expired.
    async fn stored(self: &Arc<Self>, key: &ConnectionKey) -> Outcome {
        let epoch = self.memory.epoch();
        let row = match self.row(key).await {
            Ok(row) => row.ok_or(NoCredential::NeedsConsent)?,
            // The database is out of reach, and the newest tokens are on their way there.
            Err(fault) => {
                let served = self.answers.of_key(key).and_then(|answer| self.serve(&answer, epoch));
                return served.unwrap_or_else(|| Err(fault.into()));
            }
        };
        if let Some(served) = self.answers.of(row.id, row.version).and_then(|answer| self.serve(&answer, epoch)) {
            return served;
        }
        match row.state {
            ConnectionState::NeedsConsent => Err(NoCredential::NeedsConsent),
            ConnectionState::Active if self.has_expired(&row) => self.refreshed(key, row.id, row.version, false).await,
            ConnectionState::Active | ConnectionState::Open => self.remember(key, &row, epoch),
        }
    }

    /// The same with a token that lives for at least `wish`, refreshed if need be. Where the authorization server is in
    /// trouble or gives out shorter lives, it is the best that there is: a token that a refresh brought less than [`YOUNG`]
    /// ago, or that has the first half of its life before it, is not refreshed again.
    ///
    /// # Errors
    /// As [`Connections::credential`].
    pub async fn credential_lasting(
        self: &Arc<Self>,
        key: &ConnectionKey,
        wish: Duration,
    ) -> Result<Arc<Credential>, NoCredential> {
        let present = self.credential(key).await?;
        let lasts =
            |credential: &Credential| credential.expires_at.is_none_or(|end| self.clock.now().after(wish) <= end);
        let (false, Some(id)) = (lasts(&present), present.connection) else { return Ok(present) };
        let Some(row) = self.row(key).await?.filter(|row| row.id == id) else { return Err(NoCredential::NeedsConsent) };
        let life = row.expires_at.map_or(Duration::MAX, |end| end.since(row.updated_at));
        // The first one of a consent may be shorter than those that follow.
        let by_refresh = row.updated_at != row.created_at;
        let is_young = by_refresh && self.clock.now().since(row.updated_at) < YOUNG.min(life / 2);
        let known_unrefreshable = self.refreshes.unrefreshable.get(&id) == Some(row.version);
        if is_young || known_unrefreshable || row.version != present.version {
            return self.credential(key).await;
        }
        match self.refreshed(key, id, row.version, false).await {
            Err(NoCredential::Trouble { .. }) => Ok(present),
            outcome => outcome,
        }
    }

    /// The upstream answered 401 to `rejected`: refreshes (one at a time; a credential that is newer than the rejected one
    /// is returned at once). `challenge` is the upstream's `WWW-Authenticate`.
    ///
    /// # Errors
    /// When there is nothing better to inject.
    pub async fn renew(
        self: &Arc<Self>,
        key: &ConnectionKey,
        rejected: &Credential,
        challenge: Option<&str>,
    ) -> Result<Arc<Credential>, NoCredential> {
        let newer = |credential: &Arc<Credential>| credential.version > rejected.version;
        if let Some(good) = self.cached(key).filter(newer) {
            return Ok(good);
        }
        let Some(id) = rejected.connection else {
            let text = format!("{} rejects what the configuration gives it", key.target);
            return Err(NoCredential::Failed(Fault::upstream("the upstream rejects this gateway", text)));
        };
        let epoch = self.memory.epoch();
        let row = self.row(key).await?.filter(|row| row.id == id).ok_or(NoCredential::NeedsConsent)?;
        match row.state {
            ConnectionState::NeedsConsent => Err(NoCredential::NeedsConsent),
            _ if row.version > rejected.version && !self.has_expired(&row) => self.remember(key, &row, epoch),
            _ if row.personal.is_some() => {
                self.end(&row, "the server did not accept what you gave for it").await?;
                Err(NoCredential::NeedsConsent)
            }
            ConnectionState::Open => {
                self.end(&row, "the upstream asks for authorization now").await?;
                self.heed(key, challenge.and_then(BearerChallenge::parse).unwrap_or_default()).await;
                Err(NoCredential::NeedsConsent)
            }
            ConnectionState::Active => {
                let mut outcome = self.refreshed(key, id, row.version, true).await;
                // A refresh that was under way already may have ended with just the one that was rejected.
                if outcome.as_ref().is_ok_and(|credential| !newer(credential)) {
                    outcome = self.refreshed(key, id, row.version, true).await;
                }
                if matches!(outcome, Err(NoCredential::NeedsConsent)) {
                    self.heed(key, challenge.and_then(BearerChallenge::parse).unwrap_or_default()).await;
                }
                outcome
            }
        }
    }

    /// Whether a person has to consent at the upstream before there is anything to inject; never contacts it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn needs_consent(&self, key: &ConnectionKey) -> Result<bool, Fault> {
        if self.cached(key).is_some() {
            return Ok(false);
        }
        match self.shared_credential(key) {
            Ok(None) => Ok(self.row(key).await?.is_none_or(|row| row.state == ConnectionState::NeedsConsent)),
            Err(NoCredential::NeedsConsent) => Ok(true),
            Ok(Some(_)) | Err(_) => Ok(false),
        }
    }

    /// The path of the MCP endpoint that a person's authorization is for, where it says more than the origin.
    pub async fn endpoint_path(&self, key: &ConnectionKey) -> Option<String> {
        let Target::Upstream(authority) = &key.target else { return None };
        let row = self.row(key).await.ok()??;
        let tokens = self.open_tokens(&row).ok()?;
        let resource = tokens.server.as_ref()?.resource.as_deref()?;
        let path = resource.strip_prefix(&authority.origin())?;
        (path.starts_with('/') && path.len() > 1).then(|| path.to_owned())
    }

    /// What everybody shares: a configured header, or nothing at all. `None`: it is a matter of connections, be it with tokens
    /// or with what people give by hand.
    fn shared_credential(&self, key: &ConnectionKey) -> Result<Option<Arc<Credential>>, NoCredential> {
        let Target::Upstream(authority) = &key.target else { return Ok(None) };
        let generation = self.registry.generation();
        let upstream = self
            .registry
            .by_authority(authority)
            .ok_or_else(|| NoCredential::Failed(Fault::caller("this gateway does not connect to that server")))?;
        if upstream.standing != Standing::Allowed {
            return Err(NoCredential::NeedsConsent);
        }
        let header = match &*upstream.auth {
            UpstreamAuth::OAuth(_) => return Ok(None),
            _ if upstream.personal().is_some() => return Ok(None),
            UpstreamAuth::None | UpstreamAuth::Personal(_) => None,
            UpstreamAuth::Header { name, value } => Some((name.clone(), sensitive(value.expose())?)),
        };
        let life = self.lives.of_configuration((key.user, authority), || self.registry.may_use(key.user, authority));
        let target = key.target.clone();
        let credential = Credential {
            target,
            connection: None,
            version: 0,
            header,
            expires_at: None,
            life,
            used: AtomicI64::default(),
        };
        Ok(Some(self.memory.put_shared(key, credential, generation)))
    }

    /// The connection of a key, if it is one of the kind that the configuration wants now: tokens where people give values
    /// by hand are as good as none, and so are values of which one is missing.
    pub(super) async fn row(&self, key: &ConnectionKey) -> Result<Option<Connection>, Fault> {
        let row = self.store.connection(key.user, key.target.as_str(), key.account_text()).await?;
        Ok(match self.personal(&key.target) {
            None => row.filter(|row| row.personal.is_none()),
            Some(personal) => row.filter(|row| row.personal.is_some() && has_all(row, &personal)),
        })
    }

    /// Opens a row and keeps what to inject in memory, unless the row may have changed since `epoch`.
    pub(super) fn remember(
        &self,
        key: &ConnectionKey,
        row: &Connection,
        epoch: u64,
    ) -> Result<Arc<Credential>, NoCredential> {
        let header = if row.personal.is_some() {
            self.personal_header(key, row)?
        } else {
            let tokens = self.open_tokens(row)?;
            (row.state == ConnectionState::Active).then(|| bearer(&tokens.access_token)).transpose()?
        };
        Ok(self.inject(key, (row.id, row.version, row.expires_at), header, epoch))
    }

    /// Keeps what to inject in memory; no header for what is used without one.
    pub(super) fn inject(
        &self,
        key: &ConnectionKey,
        (id, version, expires_at): (ConnectionId, i64, Option<Timestamp>),
        header: Option<(HeaderName, HeaderValue)>,
        epoch: u64,
    ) -> Arc<Credential> {
        let usable = || self.may_use(key.user, &key.target);
        let life = self.lives.of_connection((id, version), (key.user, &key.target), usable);
        let target = key.target.clone();
        let credential =
            Credential { target, connection: Some(id), version, header, expires_at, life, used: AtomicI64::default() };
        self.memory.put(key, credential, epoch)
    }

    pub(super) fn has_expired(&self, row: &Connection) -> bool {
        row.expires_at.is_some_and(|end| end <= self.clock.now())
    }

    /// Keeps a challenge for the discovery that must come now; without it the flow only takes longer.
    pub(super) async fn heed(&self, key: &ConnectionKey, challenge: BearerChallenge) {
        let Target::Upstream(authority) = &key.target else { return };
        let hint = Hint { resource_metadata: challenge.resource_metadata, scope: challenge.scope };
        if let Err(fault) = self.remember_hint(authority, hint).await {
            tracing::warn!(%authority, %fault, "the upstream's challenge could not be kept");
        }
    }
}

/// A token in its header (RFC 6750 §2.1).
pub(super) fn bearer(token: &str) -> Result<(HeaderName, HeaderValue), Fault> {
    let value = Zeroizing::new(format!("Bearer {token}"));
    Ok((header::AUTHORIZATION, sensitive(&value)?))
}

pub(super) fn sensitive(text: &str) -> Result<HeaderValue, Fault> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Fault::gateway("the value of a header to inject has characters that no header can have"))?;
    value.set_sensitive(true);
    Ok(value)
}
