//! What a provider says about itself (OpenID Connect Discovery 1.0 §4), fetched when it is needed and kept for an hour.

use super::super::Tools;
use super::super::exchange::{Authentication, get, printable};
use crate::clock::Timestamp;
use crate::config::OidcLogin;
use crate::error::Fault;
use crate::http::check_url;
use crate::json;
use crate::paths::OPENID_CONFIGURATION;
use http::StatusCode;
use parking_lot::Mutex;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How long it is used again.
const FRESH: Duration = Duration::from_secs(3600);

/// What was found out, if anything.
#[derive(Default)]
pub(super) struct Discovered(Mutex<Option<(Timestamp, Arc<Described>)>>);

/// A provider's endpoints, checked.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) jwks_uri: Url,
    /// How we prove who we are at the token endpoint.
    pub(super) authentication: Authentication,
    /// RFC 9207 §3.
    pub(super) iss_promised: bool,
}

/// As it is published (Discovery §3).
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Discovered {
    /// What is known, or can be found out now.
    pub(super) async fn get(&self, settings: &OidcLogin, tools: &Tools) -> Result<Arc<Described>, Fault> {
        let now = tools.clock.now();
        let known = self.0.lock().clone();
        if let Some((found_at, described)) = known
            && now >= found_at
            && now.since(found_at) < FRESH
        {
            return Ok(described);
        }
        let described = Arc::new(fetch(settings, tools).await?);
        *self.0.lock() = Some((now, described.clone()));
        Ok(described)
    }
}

async fn fetch(settings: &OidcLogin, tools: &Tools) -> Result<Described, Fault> {
    let address = format!("{}{OPENID_CONFIGURATION}", settings.issuer.trim_end_matches('/'));
    let fetched = get(&tools.http, &address, None, "application/json", settings.allow_private).await?;
    let document = match fetched.status {
        StatusCode::OK => json::object(&fetched.body).map_err(|error| error.to_string()),
        status => Err(status.to_string()),
    };
    let label = &settings.label;
    let document = document.map_err(|why| {
        let public = format!("{label} does not say how to sign in there. Please try again later.");
        Fault::upstream(public, format_args!("{label}: {address}: {why}"))
    })?;
    check(document, settings).map_err(|why| {
        let public =
            format!("{label} is not set up as it should be: an administrator finds out more in the gateway's log.");
        Fault::upstream(public, format_args!("{label}: {address}: {why}"))
    })
}

fn check(document: Document, settings: &OidcLogin) -> Result<Described, String> {
    // Discovery §4.3; otherwise somebody could speak for another issuer.
    if document.issuer != settings.issuer {
        let theirs = printable(&document.issuer);
        return Err(format!(
            "the issuer calls itself {theirs:?}, and login.oidc.issuer is {:?}: the two must be the same to the letter",
            settings.issuer
        ));
    }
    let url = |text: &str| check_url(text, settings.allow_private).map_err(|error| error.to_string());
    let has_secret = settings.client_secret.is_some();
    let pkce = document.code_challenge_methods_supported;
    if !has_secret && pkce.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
        return Err("it does not support PKCE with S256, without which a client needs a secret".to_owned());
    }
    Ok(Described {
        authorization_endpoint: url(&document.authorization_endpoint)?,
        token_endpoint: url(&document.token_endpoint)?,
        userinfo_endpoint: document.userinfo_endpoint.as_deref().map(url).transpose()?,
        jwks_uri: url(&document.jwks_uri)?,
        authentication: authentication(has_secret, document.token_endpoint_auth_methods_supported.as_deref())?,
        iss_promised: document.authorization_response_iss_parameter_supported,
    })
}

/// Discovery §3: `client_secret_basic` when nothing is said.
fn authentication(has_secret: bool, methods: Option<&[String]>) -> Result<Authentication, String> {
    let offers = |method: &str| methods.is_some_and(|methods| methods.iter().any(|offered| offered == method));
    match has_secret {
        // A provider need not list it to have public clients.
        false => Ok(Authentication::None),
        true if methods.is_none() || offers("client_secret_basic") => Ok(Authentication::Basic),
        true if offers("client_secret_post") => Ok(Authentication::Post),
        true => Err("it takes client secrets neither by client_secret_basic nor by client_secret_post".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_authenticates_as_the_provider_takes_it() {
        let listed = |methods: &[&str]| methods.iter().map(|method| (*method).to_owned()).collect::<Vec<_>>();
        assert_eq!(authentication(true, None), Ok(Authentication::Basic));
        let both = listed(&["client_secret_post", "client_secret_basic"]);
        assert_eq!(authentication(true, Some(&both)), Ok(Authentication::Basic));
        assert_eq!(authentication(true, Some(&listed(&["client_secret_post"]))), Ok(Authentication::Post));
        assert!(authentication(true, Some(&listed(&["private_key_jwt"]))).is_err());
        assert_eq!(authentication(false, Some(&both)), Ok(Authentication::None));
    }
}
