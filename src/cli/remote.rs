//! Requests of the command line to servers elsewhere: JSON and OAuth forms.

use crate::error::Fault;
use crate::http::{Fetched, HttpClient, Resolver};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// What a command asks with. Private addresses are allowed, unlike in the gateway: whoever types a command may reach
/// whatever this machine reaches. Plain http goes to this machine alone.
pub(super) struct Remote {
    http: HttpClient,
}

/// What an OAuth endpoint says.
pub(super) enum Answer<T> {
    /// What was asked for.
    Good(T),
    /// An error of its own words.
    Refused(Refusal),
}

/// An error answer (RFC 6749 §5.2).
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    /// The registered code.
    pub(super) error: String,
    /// A sentence, perhaps.
    #[serde(default)]
    error_description: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It goes to a terminal, and a server wrote it.
        let shown = |text: &str| text.chars().filter(|c| !c.is_control()).take(300).collect::<String>();
        f.write_str(&shown(&self.error))?;
        if self.error_description.is_empty() { Ok(()) } else { write!(f, " ({})", shown(&self.error_description)) }
    }
}

impl Remote {
    /// Trusts the system's certificate authorities.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub(super) fn new() -> Result<Self, Fault> {
        Ok(Self { http: HttpClient::new(Resolver::system(), None)? })
    }

    /// One request, whatever the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(header::HeaderName, &str)],
        body: String,
    ) -> Result<Fetched, Fault> {
        let mut request = Request::builder().method(method).uri(url).header(header::ACCEPT, "application/json");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let unusable = |why| Fault::caller(format!("{url} cannot be asked: {why}"));
        Ok(self.http.send(request.body(Bytes::from(body)).map_err(unusable)?, true).await?)
    }

    /// A JSON document.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn document<T: DeserializeOwned>(&self, url: &str) -> Result<T, Fault> {
        let fetched = self.send(Method::GET, url, &[], String::new()).await?;
        if fetched.status != StatusCode::OK {
            return Err(Fault::caller(format!("{url} answered with status {}", fetched.status.as_u16())));
        }
        serde_json::from_slice(&fetched.body).map_err(|_| Fault::caller(format!("{url} is not what it should be")))
    }

    /// A form for an OAuth endpoint.
    ///
    /// # Errors
    /// When there is no answer, or none in the form of OAuth.
    pub(super) async fn form<T: DeserializeOwned>(&self, url: &str, form: &[(&str, &str)]) -> Result<Answer<T>, Fault> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let kind = [(header::CONTENT_TYPE, "application/x-www-form-urlencoded")];
        answer(url, &self.send(Method::POST, url, &kind, body).await?)
    }

    /// JSON for an OAuth endpoint.
    ///
    /// # Errors
    /// As [`Remote::form`].
    pub(super) async fn json<T: DeserializeOwned>(&self, url: &str, body: String) -> Result<Answer<T>, Fault> {
        let kind = [(header::CONTENT_TYPE, "application/json")];
        answer(url, &self.send(Method::POST, url, &kind, body).await?)
    }
}

fn answer<T: DeserializeOwned>(url: &str, fetched: &Fetched) -> Result<Answer<T>, Fault> {
    let parsed = match fetched.status.is_success() {
        true => serde_json::from_slice(&fetched.body).map(Answer::Good).ok(),
        false => serde_json::from_slice(&fetched.body).map(Answer::Refused).ok(),
    };
    parsed.ok_or_else(|| Fault::caller(format!("{url} answered with status {} and no words", fetched.status.as_u16())))
}
