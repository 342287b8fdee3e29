//! Where a person may be sent afterwards: to a path of ours, or to an origin that the administrator knows. Everything else
//! would make us an open redirector.

use super::Broker;
use super::pages;
use crate::oauth::redirect::RedirectUri;
use crate::paths::local_path;
use axum::response::Response;
use url::Url;

impl Broker {
    /// The address, if people may be sent there: a path on the root domain, a page of the root or of
    /// `server.allowed_origins`, or a program on the person's own machine.
    pub(super) fn destination<'a>(&self, text: &'a str) -> Option<&'a str> {
        if text.starts_with('/') {
            return (local_path(text) == text).then_some(text);
        }
        RedirectUri::parse(text).ok()?;
        let url = Url::parse(text).ok()?;
        let origin = url.origin().ascii_serialization();
        let known = match url.scheme() {
            // What the parser lets through is on this machine.
            "http" => true,
            "https" => origin == self.site.root_origin() || self.allowed_origins.contains(&origin),
            _ => false,
        };
        known.then_some(text)
    }

    /// Sends a person on, if there is somewhere to go. `error` is told in the way of RFC 6749 §4.1.2.1.
    pub(super) fn send_on(&self, return_to: &str, error: Option<&str>) -> Option<Response> {
        let address = self.destination(return_to)?;
        let Some(error) = error else { return Some(pages::see_other(address)) };
        let joint = if address.contains('?') { '&' } else { '?' };
        Some(pages::see_other(&format!("{address}{joint}error={error}")))
    }
}
