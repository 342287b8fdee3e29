//! What each key does at a moment. Keys stand in a line: each signs from its `active_from` until the next one does, and its
//! tokens are believed until the last of them has expired.

use crate::clock::Timestamp;
use crate::store::SigningKey;
use std::time::Duration;

/// How long a copy of the JWK set may be used without asking again: `max-age` of `/jwks`.
pub const JWKS_MAX_AGE: Duration = Duration::from_secs(300);

/// How long a key is published before it signs. Much longer than [`JWKS_MAX_AGE`], because many libraries that verify tokens do
/// not look at it and keep a set for hours.
pub const PUBLISH_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is in the JWK set and waits until it signs.
    Published,
    /// It signs.
    Signing,
    /// It signs no more; what it signed is believed until then.
    Verifying {
        /// When the last token that it signed expires.
        until: Timestamp,
    },
    /// Nothing that it signed is alive: it will be removed.
    Spent,
}

/// The state of each of these keys, which stand in the order in which they sign.
pub fn states(keys: &[SigningKey], now: Timestamp) -> Vec<KeyState> {
    let signing = signing(keys, now);
    let state = |position: usize| match spent_at(keys, position) {
        _ if position > signing => KeyState::Published,
        // Never the key that signs: the one behind it is not to begin before `now`.
        Some(until) if until <= now => KeyState::Spent,
        Some(until) if position < signing => KeyState::Verifying { until },
        _ => KeyState::Signing,
    };
    (0..keys.len()).map(state).collect()
}

/// The position of the key that signs: the last one whose time has come, else the first.
pub(super) fn signing(keys: &[SigningKey], now: Timestamp) -> usize {
    keys.iter().rposition(|key| key.active_from <= now).unwrap_or(0)
}

/// When the last token has expired that the key at a position signs; `None` while no other key follows it. Tokens that are
/// made with a clock that is behind are no exception: they say when they were made by the same clock.
pub(super) fn spent_at(keys: &[SigningKey], position: usize) -> Option<Timestamp> {
    let (key, next) = (keys.get(position)?, keys.get(position + 1)?);
    Some(next.active_from.after(token_ttl(key)))
}

/// The longest life of a key's tokens.
pub(super) fn token_ttl(key: &SigningKey) -> Duration {
    Duration::from_secs(u64::try_from(key.token_ttl).unwrap_or(0))
}
