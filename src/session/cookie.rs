//! A cookie that holds a random token (RFC 6265bis).

use crate::hostname::Scheme;
use data_encoding::BASE64URL_NOPAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use std::time::Duration;

/// A cookie's name, and the attributes that follow from how people reach us.
pub(super) struct Cookie {
    name: String,
    secure: bool,
}

impl Cookie {
    /// Over https the name has the prefix `__Host-`, so that no sibling host can set it; over http browsers take neither
    /// the prefix nor `Secure`.
    pub(super) fn new(name: &str, scheme: Scheme) -> Self {
        match scheme {
            Scheme::Https => Self { name: format!("__Host-{name}"), secure: true },
            Scheme::Http => Self { name: name.to_owned(), secure: false },
        }
    }

    /// The token that a request carries, if it looks like one of ours.
    pub(super) fn read<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        self.values(headers).find(|value| is_token(value))
    }

    /// Whatever a request carries under this name; the first, if several.
    pub(super) fn find<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        self.values(headers).next()
    }

    fn values<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h str> {
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter_map(|(name, value)| (name == self.name).then_some(value))
    }

    /// The value of `Set-Cookie`. Without `life` the cookie goes when the browser is closed; zero removes it.
    #[allow(clippy::expect_used)] // names, attributes, base64url and dots are visible ASCII
    pub(super) fn set(&self, token: &str, life: Option<Duration>) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let life = life.map(|life| format!("; Max-Age={}", life.as_secs())).unwrap_or_default();
        let text = format!("{}={token}{secure}; HttpOnly; SameSite=Lax; Path=/{life}", self.name);
        let mut value = HeaderValue::try_from(text).expect("visible ASCII");
        value.set_sensitive(true);
        value
    }
}

/// 256 bits in base64url, as [`crate::ids::Random::token`] makes them.
fn is_token(text: &str) -> bool {
    BASE64URL_NOPAD.decode(text.as_bytes()).is_ok_and(|bytes| bytes.len() == 32)
}
