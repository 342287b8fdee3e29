//! Why an authorization server does not take us as a client, and what a person can do about it.

use super::token_endpoint::printable;
use super::{ConnectError, Connections};
use crate::config::OAuthSettings;
use crate::error::{Culprit, Fault};
use crate::http::Fetched;
use crate::json;
use crate::providers::{Clients, Provider, Redirects, Registration};
use crate::upstream::Upstream;
use http::StatusCode;
use serde::Deserialize;

/// Why a registration was refused.
pub(super) enum Kind {
    NoRegistration,
    LoopbackOnly,
    Allowlist,
    /// Only clients with certain names.
    Named,
    Other(String),
    Trouble,
}

/// RFC 7591 §3.2.2.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    error: String,
    error_description: String,
}

impl Connections {
    /// Nobody is asked who is known to register no clients: without one that was registered by hand there is no way.
    pub(super) fn must_be_registrable(
        &self,
        upstream: &Upstream,
        settings: &OAuthSettings,
        provider: Option<&Provider>,
    ) -> Result<(), ConnectError> {
        let by_hand = provider.filter(|provider| provider.registration == Registration::Preregistered);
        if by_hand.is_none() || settings.client_id.is_some() {
            return Ok(());
        }
        let private = format!("{}: registered by hand only, and no client_id is configured", upstream.authority);
        Err(ConnectError::at("registration", self.refusal(upstream, provider, Kind::NoRegistration, &private)))
    }

    /// Which kind of refusal an answer is: only the person reading can do something about it. What is known about the
    /// provider says more than an answer that says nothing.
    pub(super) fn judge(&self, upstream: &Upstream, provider: Option<&Provider>, fetched: &Fetched) -> Fault {
        let status = fetched.status;
        let said: Refused = json::object(&fetched.body).unwrap_or_default();
        let private = format!(
            "registration at {}: {status}, error {:?}, {:?}",
            upstream.authority,
            printable(&said.error, 60),
            printable(&said.error_description, 300)
        );
        let words = said.error_description.to_ascii_lowercase();
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS => Kind::Trouble,
            _ if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => Kind::Trouble,
            _ if ["loopback", "localhost", "127.0.0.1"].iter().any(|word| words.contains(word)) => Kind::LoopbackOnly,
            _ if said.error == "invalid_redirect_uri" || words.contains("redirect") => {
                self.expected(provider).filter(|kind| matches!(kind, Kind::LoopbackOnly)).unwrap_or(Kind::Allowlist)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.expected(provider).unwrap_or(Kind::Allowlist),
            _ if said.error.is_empty() => self.expected(provider).unwrap_or(Kind::NoRegistration),
            _ => self.expected(provider).unwrap_or_else(|| Kind::Other(printable(&said.error, 60))),
        };
        self.refusal(upstream, provider, kind, &private)
    }

    /// The refusal that the table leads to expect.
    fn expected(&self, provider: Option<&Provider>) -> Option<Kind> {
        let provider = provider?;
        match provider.redirects {
            _ if provider.clients == Clients::Named => Some(Kind::Named),
            Redirects::LoopbackOnly => Some(Kind::LoopbackOnly),
            Redirects::Allowlist | Redirects::Fixed => Some(Kind::Allowlist),
            Redirects::Any => None,
        }
    }

    pub(super) fn refusal(&self, upstream: &Upstream, provider: Option<&Provider>, kind: Kind, private: &str) -> Fault {
        let name = self.display_name(upstream);
        let uri = self.redirect_uri();
        let place = provider.and_then(|provider| provider.register_at.as_deref());
        let place = place.map_or_else(|| "there".to_owned(), |address| format!("at {address}"));
        let by_hand = format!(
            "Register a client {place} by hand with the redirect URI {uri} and set its client_id (and client_secret) for \
             {} in the configuration.",
            upstream.authority
        );
        let advice = provider.and_then(|provider| provider.advice_for(&uri));
        let way = |before: &str| match &advice {
            Some(advice) => advice.clone(),
            None => format!("{before}{by_hand}"),
        };
        let public = match &kind {
            Kind::NoRegistration => format!("{name} does not let programs register themselves. {}", way("")),
            Kind::LoopbackOnly => {
                format!("{name} registers only programs on one's own machine, with loopback redirect URIs. {}", way(""))
            }
            Kind::Allowlist => format!(
                "{name} registers only clients on its allowlist. {}",
                way(&format!("Ask its operator, or your organization's administrator there, to allow {uri}. Or: "))
            ),
            Kind::Named => format!(
                "{name} registers only clients whose name it knows. {}",
                way("Ask its operator to admit a client called Portcullis. Or: ")
            ),
            Kind::Other(code) => format!("{name} refused to register Portcullis ({code}). {}", way("")),
            Kind::Trouble => format!("{name} cannot register clients at the moment. Try again in a minute."),
        };
        Fault { culprit: Culprit::Upstream, public: public.into(), private: private.to_owned() }
    }
}
