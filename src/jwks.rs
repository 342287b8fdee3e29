//! Key sets that others publish (RFC 7517 §5), fetched when they are needed and kept in memory.

use crate::clock::{Clock, Timestamp};
use crate::http::{HttpClient, check_url, lifetime};
use crate::jose::{self, KeySet, Signed, Untrusted};
use bytes::Bytes;
use http::header::ACCEPT;
use moka::sync::Cache;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// How many key sets are remembered; those that nobody asks for go first.
const SETS: u64 = 1000;
/// The largest key set, in bytes: some have a chain of certificates with every key.
const MAX_BODY: usize = 256 * 1024;
/// A key that is in no copy of ours makes us look again, but not more often than this.
const BETWEEN_LOOKS: Duration = Duration::from_secs(60);
/// A server that failed is left alone for this long.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// How long a copy that is no longer fresh serves while no newer one can be had: a key that its owner withdrew must not be
/// believed for longer because somebody keeps us from learning of it.
const LAST_GOOD: Duration = Duration::from_secs(24 * 3600);
/// Where there is a copy to fall back on, nobody waits longer than this for a newer one.
const PATIENCE: Duration = Duration::from_secs(3);

/// The key sets of other parties, by URL. Shared behind an `Arc`.
pub struct RemoteKeys {
    http: HttpClient,
    clock: Clock,
    sets: Cache<Box<str>, Arc<RemoteSet>>,
}

/// Why a signed text is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// The text, or its signature, is wrong.
    #[error("{0}")]
    Untrusted(#[from] Untrusted),
    /// There is no key set to verify it with at the moment. The text is for the log: it names the host.
    #[error("the key set cannot be had: {0}")]
    NoKeys(String),
}

/// What is known of one key set.
#[derive(Default)]
struct RemoteSet {
    state: Mutex<State>,
    /// Held by whoever is fetching; all others wait for the outcome.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    copy: Option<Copy>,
    /// The last attempt, successful or not.
    looked_at: Option<Timestamp>,
    /// Why the last attempt failed, if it did.
    trouble: Option<String>,
}

#[derive(Clone)]
struct Copy {
    keys: Arc<KeySet>,
    fresh_until: Timestamp,
}

impl RemoteKeys {
    /// Nothing is fetched yet.
    pub fn new(http: HttpClient, clock: Clock) -> Self {
        Self { http, clock, sets: Cache::new(SETS) }
    }

    /// The claims of `token`, if a key of the set at `url` signed it. Whose keys these are, when the token expires and for
    /// whom it is meant is the caller's to know. `allow_private` lets the set live on this very machine or in a private
    /// network. A set is fetched at most once at a time; a key that is not in our copy makes us look for a newer one, at
    /// most once a minute; when that fails, the last copy serves for a day.
    ///
    /// # Errors
    /// [`NotVerified`]. A text that no key could have signed is refused without asking anybody.
    pub async fn verify<T: DeserializeOwned>(
        &self,
        url: &str,
        allow_private: bool,
        token: &str,
    ) -> Result<Signed<T>, NotVerified> {
        jose::check_form(token)?;
        check_url(url, allow_private).map_err(|error| NotVerified::NoKeys(error.to_string()))?;
        let set = self.sets.get_with(url.into(), Arc::default);
        let keys = match set.usable(self.clock.now()) {
            Some(fresh) => fresh,
            None => self.look(&set, url, allow_private, State::is_due).await?,
        };
        match keys.verify(token) {
            // Without `kid` a new key shows as a wrong signature.
            Err(Untrusted::UnknownKey | Untrusted::Signature) => {
                let keys = self.look(&set, url, allow_private, State::may_look_again).await?;
                Ok(keys.verify(token)?)
            }
            known => Ok(known?),
        }
    }

    /// The newest keys: fetched anew if `due` says so once it is our turn.
    async fn look(
        &self,
        set: &RemoteSet,
        url: &str,
        allow_private: bool,
        due: fn(&State, Timestamp) -> bool,
    ) -> Result<Arc<KeySet>, NotVerified> {
        let _flight = set.flight.lock().await;
        let now = self.clock.now();
        let (is_due, has_copy) = {
            let state = set.state.lock();
            (due(&state, now), state.copy.is_some())
        };
        if is_due {
            let fetched = self.fetch(url, allow_private, has_copy).await;
            set.state.lock().note(self.clock.now(), fetched, url);
        }
        set.state.lock().keys(self.clock.now())
    }

    async fn fetch(&self, url: &str, allow_private: bool, hurry: bool) -> Result<(KeySet, Duration), String> {
        let request = http::Request::get(url).header(ACCEPT, "application/jwk-set+json, application/json");
        let request = request.body(Bytes::new()).map_err(|_| "its address is not valid".to_owned())?;
        let patience = if hurry { PATIENCE } else { HttpClient::TIMEOUT };
        let answer = tokio::time::timeout(patience, self.http.send(request, allow_private)).await;
        let fetched = match answer {
            Ok(answer) => answer.map_err(|error| error.to_string())?,
            Err(_) => return Err("it did not come in time".to_owned()),
        };
        if fetched.status != http::StatusCode::OK {
            return Err(format!("its server answered with status {}", fetched.status.as_u16()));
        }
        if fetched.body.len() > MAX_BODY {
            return Err("it is larger than 256 KiB".to_owned());
        }
        let document = serde_json::from_slice(&fetched.body).map_err(|_| "it is not JSON".to_owned())?;
        let keys = KeySet::parse(&document).map_err(|error| error.to_string())?;
        Ok((keys, lifetime(&fetched.headers)))
    }
}

impl RemoteSet {
    /// The copy, while it is fresh.
    fn usable(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        let state = self.state.lock();
        state.copy.as_ref().filter(|copy| now < copy.fresh_until).map(|copy| copy.keys.clone())
    }
}

impl State {
    /// Whether there is no fresh copy, and no attempt was made just now.
    fn is_due(&self, now: Timestamp) -> bool {
        let is_fresh = self.copy.as_ref().is_some_and(|copy| now < copy.fresh_until);
        !is_fresh && self.has_rested(now, AFTER_FAILURE)
    }

    fn may_look_again(&self, now: Timestamp) -> bool {
        self.has_rested(now, BETWEEN_LOOKS)
    }

    fn has_rested(&self, now: Timestamp, pause: Duration) -> bool {
        self.looked_at.is_none_or(|looked_at| now >= looked_at.after(pause))
    }

    fn note(&mut self, now: Timestamp, fetched: Result<(KeySet, Duration), String>, url: &str) {
        self.looked_at = Some(now);
        match fetched {
            Ok((keys, fresh_for)) => {
                self.copy = Some(Copy { keys: Arc::new(keys), fresh_until: now.after(fresh_for) });
                self.trouble = None;
            }
            Err(reason) => {
                tracing::warn!(url, reason, "a key set cannot be fetched");
                self.trouble = Some(reason);
            }
        }
    }

    /// The copy, even one that is no longer fresh.
    fn keys(&self, now: Timestamp) -> Result<Arc<KeySet>, NotVerified> {
        match self.copy.as_ref().filter(|copy| now < copy.fresh_until.after(LAST_GOOD)) {
            Some(copy) => Ok(copy.keys.clone()),
            None => Err(NotVerified::NoKeys(self.trouble.clone().unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests;
