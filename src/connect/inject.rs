//! From a person and an upstream to what is injected: memory, store, refresh.

use super::discovery::Hint;
use super::{ConnectionKey, Connections, Credential, NoCredential, Target};
use crate::config::UpstreamAuth;
use crate::error::Fault;
use crate::oauth::challenge::BearerChallenge;
use crate::store::{Connection, ConnectionState};
use crate::upstream::Standing;
use http::{HeaderValue, header};
use std::sync::Arc;
use zeroize::Zeroizing;

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
        let epoch = self.memory.epoch();
        let row = self.row(key).await?.ok_or(NoCredential::NeedsConsent)?;
        match row.state {
            ConnectionState::NeedsConsent => Err(NoCredential::NeedsConsent),
            ConnectionState::Active if self.has_expired(&row) => self.refreshed(key, row.id, row.version, false).await,
            ConnectionState::Active | ConnectionState::Open => self.remember(key, &row, epoch),
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

    /// What everybody shares: a configured header, or nothing at all. `None`: it is a matter of connections.
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
            UpstreamAuth::None => None,
            UpstreamAuth::Header { name, value } => Some((name.clone(), sensitive(value.expose())?)),
        };
        let life = self.lives.of_configuration((key.user, authority), || self.registry.may_use(key.user, authority));
        let credential = Credential { target: key.target.clone(), connection: None, version: 0, header, life };
        Ok(Some(self.memory.put_shared(key, credential, generation)))
    }

    pub(super) async fn row(&self, key: &ConnectionKey) -> Result<Option<Connection>, Fault> {
        Ok(self.store.connection(key.user, key.target.as_str(), key.account_text()).await?)
    }

    /// Opens a row and keeps what to inject in memory, unless the row may have changed since `epoch`.
    pub(super) fn remember(
        &self,
        key: &ConnectionKey,
        row: &Connection,
        epoch: u64,
    ) -> Result<Arc<Credential>, NoCredential> {
        let tokens = self.open_tokens(row)?;
        let header = match row.state {
            ConnectionState::Active => {
                let value = Zeroizing::new(format!("Bearer {}", tokens.access_token));
                Some((header::AUTHORIZATION, sensitive(&value)?))
            }
            _ => None,
        };
        let usable = || self.may_use(key.user, &key.target);
        let life = self.lives.of_connection((row.id, row.version), (key.user, &key.target), usable);
        let credential =
            Credential { target: key.target.clone(), connection: Some(row.id), version: row.version, header, life };
        Ok(self.memory.put(key, credential, row.expires_at, epoch))
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

fn sensitive(text: &str) -> Result<HeaderValue, Fault> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Fault::gateway("the value of a header to inject has characters that no header can have"))?;
    value.set_sensitive(true);
    Ok(value)
}
