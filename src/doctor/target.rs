//! What is to be examined, as a person types it.

use crate::hostname::{Authority, InvalidAuthority};
use std::fmt;
use std::str::FromStr;
use url::Url;

/// A domain, or the URL of an MCP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where the server is.
    pub(super) url: Url,
    /// Whether a path was given; without one the usual ones are tried.
    pub(super) has_path: bool,
}

/// A text that is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// Nothing there.
    #[error("give a domain, like gw.example, or the URL of an MCP server, like https://gw.example/mcp")]
    Empty,
    /// Neither http nor https.
    #[error("{0}:// is not examined: MCP servers are at https:// (or http:// on one's own machine)")]
    Scheme(String),
    /// A URL with more than a place in it.
    #[error("leave the user name, the password and everything after # out of the URL")]
    Extra,
    /// The host is none.
    #[error("{0}")]
    Host(#[from] InvalidAuthority),
    /// Not a URL.
    #[error("this is not a URL: {0}")]
    Url(String),
}

impl Target {
    /// The host without the port.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The port, the scheme's own when none is written.
    pub(super) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidTarget::Empty);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        if let Some(other) = scheme.as_ref().filter(|scheme| !matches!(scheme.as_str(), "http" | "https")) {
            return Err(InvalidTarget::Scheme(other.chars().filter(|c| !c.is_control()).take(20).collect()));
        }
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if host.contains('@') || path.contains('#') {
            return Err(InvalidTarget::Extra);
        }
        let authority = Authority::from_input(host)?;
        let scheme = scheme.unwrap_or_else(|| authority.scheme().to_owned());
        let url = Url::parse(&format!("{scheme}://{authority}{path}"));
        let url = url.map_err(|error| InvalidTarget::Url(error.to_string()))?;
        let has_path = url.path() != "/" || url.query().is_some();
        Ok(Self { url, has_path })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.has_path { self.url.as_str() } else { self.url.as_str().trim_end_matches('/') })
    }
}
