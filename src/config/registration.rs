//! `[registration]`: who may register clients, and how long they are kept.

use super::reader::Reader;
use super::secrets::{self, Directories};
use super::{sections, units};
use crate::secret::Secret;
use std::time::Duration;

/// A shorter token could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// `[registration]`
#[derive(Clone)]
pub struct Registration {
    /// Who may register.
    pub mode: RegistrationMode,
    /// How long a client has for its first token.
    pub unused_ttl: Duration,
    /// How long a registration is good for; `None`: for ever.
    pub client_ttl: Option<Duration>,
    /// How many clients that never got a token there may be.
    pub max_clients: u32,
}

/// `registration.mode`
#[derive(Clone)]
pub enum RegistrationMode {
    /// Anybody.
    Open,
    /// Whoever has this token (RFC 7591 §3, initial access token).
    Token(Secret),
    /// Nobody: clients name a metadata document, or an administrator makes them.
    Off,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            mode: RegistrationMode::Open,
            unused_ttl: Duration::from_secs(24 * 3600),
            client_ttl: None,
            max_clients: 10_000,
        }
    }
}

impl RegistrationMode {
    /// Whether it is the same, token included.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Open, Self::Open) | (Self::Off, Self::Off) => true,
            (Self::Token(a), Self::Token(b)) => a.matches(b.expose()),
            _ => false,
        }
    }
}

impl Registration {
    /// Whether it says the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let Self { mode, unused_ttl, client_ttl, max_clients } = self;
        mode.is_same(&other.mode)
            && (unused_ttl, client_ttl, max_clients) == (&other.unused_ttl, &other.client_ttl, &other.max_clients)
    }
}

/// Reads the section.
pub(super) fn read(mut reader: Reader<'_>, directories: &Directories) -> Registration {
    const KEYS: (&str, &str) = ("initial_access_token", "initial_access_token_file");
    let default = Registration::default();
    let token = secrets::take(&mut reader, KEYS, "registration.initial_access_token", directories);
    if let Some(short) = token.as_ref().filter(|token| token.value.expose().len() < SHORTEST_TOKEN) {
        reader.error(&short.place, KEYS.0, "must have 16 characters or more: `openssl rand -hex 32` prints a good one");
    }
    let mode = reader.parsed("mode", |text| match text {
        "open" | "token" | "off" => Ok(text.to_owned()),
        other => Err(format!("{other:?} is not a mode: write \"open\", \"token\" or \"off\"")),
    });
    let mode = match (mode.as_ref().map(|found| (found.value.as_str(), &found.place)), token) {
        (Some(("token", _)), Some(token)) => RegistrationMode::Token(token.value),
        (Some(("token", place)), None) => {
            reader.error(place, "mode", "\"token\" needs initial_access_token or initial_access_token_file");
            RegistrationMode::Off
        }
        (_, Some(token)) => {
            reader.error(&token.place, KEYS.0, "is for mode = \"token\": set that, or remove the token");
            RegistrationMode::Off
        }
        (Some(("off", _)), None) => RegistrationMode::Off,
        _ => RegistrationMode::Open,
    };
    let registration = Registration {
        mode,
        unused_ttl: sections::positive(&mut reader, "unused_ttl", default.unused_ttl.as_secs()),
        client_ttl: reader.parsed("client_ttl", units::duration_or_off).and_then(|found| found.value),
        max_clients: reader.number("max_clients", 1, 1 << 20).unwrap_or(default.max_clients),
    };
    reader.finish();
    registration
}
