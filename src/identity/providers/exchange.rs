//! Requests to a provider: the exchange of a code (RFC 6749 §4.1.3), and documents that are JSON.

use super::SignInError;
use crate::error::{Culprit, Fault};
use crate::http::{Fetched, HttpClient};
use crate::oauth::basic;
use crate::secret::Secret;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use serde_json::{Map, Value};

/// How a client proves who it is (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authentication {
    None,
    Basic,
    Post,
}

/// Where a code is exchanged, and who we are there.
pub(super) struct TokenEndpoint<'a> {
    /// The provider, for people.
    pub(super) label: &'a str,
    pub(super) url: &'a str,
    pub(super) client_id: &'a str,
    pub(super) client_secret: Option<&'a Secret>,
    pub(super) authentication: Authentication,
    pub(super) allow_private: bool,
}

/// What the provider sent back with the browser, and what we remember for it.
pub(super) struct Code<'a> {
    pub(super) code: &'a str,
    pub(super) verifier: &'a str,
    pub(super) redirect_uri: &'a str,
}

impl TokenEndpoint<'_> {
    /// The members of a token response.
    ///
    /// # Errors
    /// When the provider does not take the code or does not know us, or gives no sensible answer.
    pub(super) async fn exchange(&self, http: &HttpClient, code: &Code<'_>) -> Result<Map<String, Value>, SignInError> {
        let request = self.request(code).map_err(Fault::gateway)?;
        let fetched = http.send(request, self.allow_private).await.map_err(Fault::from)?;
        let status = fetched.status;
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(trouble(self.label, format_args!("token endpoint: {status}")).into());
        }
        let Ok(members) = serde_json::from_slice::<Map<String, Value>>(&fetched.body) else {
            return Err(trouble(self.label, format_args!("token endpoint: {status} and no JSON object")).into());
        };
        // GitHub says so with status 200.
        if let Some(error) = members.get("error").and_then(Value::as_str) {
            let description = members.get("error_description").and_then(Value::as_str).unwrap_or_default();
            return Err(self.refused(error, description).into());
        }
        if status != StatusCode::OK {
            return Err(trouble(self.label, format_args!("token endpoint: {status} without an error")).into());
        }
        Ok(members)
    }

    fn request(&self, code: &Code<'_>) -> Result<Request<Bytes>, http::Error> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code").append_pair("code", code.code);
        form.append_pair("redirect_uri", code.redirect_uri).append_pair("code_verifier", code.verifier);
        let mut request = Request::post(self.url)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        match (self.authentication, self.client_secret) {
            (Authentication::Basic, Some(secret)) => {
                request = request.header(AUTHORIZATION, basic::credentials(self.client_id, secret.expose())?);
            }
            (Authentication::Post, Some(secret)) => {
                form.append_pair("client_id", self.client_id).append_pair("client_secret", secret.expose());
            }
            _ => {
                form.append_pair("client_id", self.client_id);
            }
        }
        request.body(Bytes::from(form.finish()))
    }

    fn refused(&self, error: &str, description: &str) -> Fault {
        let label = self.label;
        let private = format!("{label}: token endpoint: {}: {}", printable(error), printable(description));
        let (culprit, public) = match error {
            "invalid_grant" | "bad_verification_code" => {
                (Culprit::Caller, format!("{label} does not take this answer any longer. Please sign in again."))
            }
            "invalid_client" | "unauthorized_client" | "incorrect_client_credentials" => (
                Culprit::Upstream,
                format!("{label} does not know this gateway: an administrator has to correct its client_id or secret."),
            ),
            "redirect_uri_mismatch" => (
                Culprit::Upstream,
                format!("{label} does not know this gateway's redirect URI: an administrator has to enter it there."),
            ),
            "unverified_user_email" => {
                (Culprit::Caller, format!("{label} wants you to verify your e-mail address there first."))
            }
            _ => (Culprit::Upstream, format!("{label} refused to complete the sign-in.")),
        };
        Fault { culprit, public: public.into(), private }
    }
}

/// `GET`, with an access token where one is needed.
///
/// # Errors
/// When there is no answer within the limits.
pub(super) async fn get(
    http: &HttpClient,
    url: &str,
    bearer: Option<&str>,
    accept: &'static str,
    allow_private: bool,
) -> Result<Fetched, Fault> {
    let mut request = Request::get(url).header(ACCEPT, accept);
    if let Some(token) = bearer {
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Fault::upstream("The provider sent a token that no header can carry.", "bad access token"))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let request = request.body(Bytes::new()).map_err(Fault::gateway)?;
    http.send(request, allow_private).await.map_err(Fault::from)
}

/// The provider is out of order: trying again later may help.
pub(super) fn trouble(label: &str, private: impl std::fmt::Display) -> Fault {
    let public = format!("{label} does not work as it should at the moment. Please try again later.");
    Fault::upstream(public, format_args!("{label}: {private}"))
}

/// What a stranger wrote, fit for a line of a log.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(200).collect()
}
