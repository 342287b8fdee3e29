//! Who is told how an authorization ended: a client, by way of the browser, or a device that asks for it.

use super::clients::KnownClient;
use super::parameters::Parameters;
use crate::error::Fault;
use crate::ids::Digest;
use crate::oauth::error::OauthError;
use crate::oauth::grant_type::GrantType;
use crate::oauth::redirect::RedirectUri;
use crate::oauth::user_code::UserCode;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// Where the flow leads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum AnswerTo {
    /// The browser takes a code to the client (OAuth 2.1 §4.1.2).
    Client(ToClient),
    /// The device learns of it when it asks next (RFC 8628 §3.5).
    Device(ToDevice),
}

/// A client that waits at its redirect URI.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ToClient {
    pub(super) back: ReturnAddress,
    /// The host of the redirect URI, for people.
    pub(super) host: String,
    /// What is special about the redirect URI.
    pub(super) warning: Option<String>,
    pub(super) code_challenge: String,
    /// The thumbprint of the only key that may exchange the code (RFC 9449 §10).
    #[serde(default)]
    pub(super) dpop_jkt: Option<String>,
}

/// A device that waits with a code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ToDevice {
    /// Digest of the device code, in hexadecimal digits.
    code: String,
    /// As the device shows it.
    pub(super) user_code: String,
}

/// Where the answer goes: checked against the client, so that errors may be sent there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReturnAddress {
    /// Exactly as the request has it.
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    /// `iss` (RFC 9207).
    pub(super) issuer: String,
}

impl AnswerTo {
    /// Whether the client's registration still has what the request relied upon.
    pub(super) fn fits(&self, client: &KnownClient) -> bool {
        match self {
            AnswerTo::Client(to) => client.metadata.redirect_uri(&to.back.redirect_uri).is_some(),
            AnswerTo::Device(_) => client.metadata.allows(GrantType::DeviceCode),
        }
    }
}

impl ToDevice {
    pub(super) fn new(code: &Digest, user_code: &UserCode) -> Self {
        Self { code: HEXLOWER.encode(&code.0), user_code: user_code.to_string() }
    }

    /// Digest of the device code.
    ///
    /// # Errors
    /// When the flow was damaged in the database.
    pub(super) fn code(&self) -> Result<Digest, Fault> {
        let bytes = HEXLOWER.decode(self.code.as_bytes()).ok();
        let digest = bytes.and_then(|bytes| Digest::from_slice(&bytes));
        digest.ok_or_else(|| Fault::gateway("the database holds a damaged flow of a device"))
    }
}

impl ReturnAddress {
    /// The redirect URI of a request, if the client registered it. Without one the only registered one is meant.
    ///
    /// # Errors
    /// In words for the person: nothing must be sent to such an address.
    pub(super) fn check<'a>(
        parameters: &Parameters,
        client: &'a KnownClient,
        issuer: String,
    ) -> Result<(Self, &'a RedirectUri), &'static str> {
        if parameters.is_repeated("client_id") || parameters.is_repeated("redirect_uri") {
            return Err("The application sent client_id or redirect_uri twice.");
        }
        let (uri, registered) = match (parameters.get("redirect_uri"), client.metadata.redirect_uris.as_slice()) {
            (Some(uri), _) => (uri, client.metadata.redirect_uri(uri)),
            (None, [only]) => (only.as_str(), Some(only)),
            (None, _) => return Err("The application did not say where to send the answer (redirect_uri is missing)."),
        };
        let registered =
            registered.ok_or("The application asked for the answer at an address that it has not registered.")?;
        // Which of two states is the right one cannot be known, so neither is repeated.
        let state = parameters.get("state").filter(|_| !parameters.is_repeated("state")).map(str::to_owned);
        Ok((Self { redirect_uri: uri.to_owned(), state, issuer }, registered))
    }

    /// The address with the answer in its query (RFC 6749 §4.1.2, §4.1.2.1; RFC 9207 §2).
    pub(super) fn with(&self, answer: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(answer);
        query.extend_pairs(self.state.as_deref().map(|state| ("state", state)));
        query.append_pair("iss", &self.issuer);
        let separator = match self.redirect_uri.as_str() {
            uri if uri.ends_with(['?', '&']) => "",
            uri if uri.contains('?') => "&",
            _ => "?",
        };
        format!("{}{separator}{}", self.redirect_uri, query.finish())
    }

    /// The address with an error.
    pub(super) fn with_error(&self, error: &OauthError) -> String {
        self.with(&[("error", error.error.as_str()), ("error_description", &error.error_description)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_behind_what_the_address_has_already() {
        let with = |redirect_uri: &str| {
            let address = ReturnAddress {
                redirect_uri: redirect_uri.to_owned(),
                state: Some("a b".to_owned()),
                issuer: "https://gw.example".to_owned(),
            };
            address.with(&[("code", "x&y")])
        };
        const ANSWER: &str = "code=x%26y&state=a+b&iss=https%3A%2F%2Fgw.example";
        for (uri, separator) in [("/cb", "?"), ("/cb?", ""), ("/cb?app=1", "&"), ("/cb?app=1&", "")] {
            assert_eq!(with(uri), format!("{uri}{separator}{ANSWER}"));
        }
    }
}
