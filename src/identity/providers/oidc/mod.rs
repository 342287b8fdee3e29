//! An OpenID provider (OpenID Connect Core 1.0): authorization code flow with PKCE, state and nonce.

mod claims;
mod discovery;
mod id_token;

use super::departure::Departure;
use super::exchange::{Code, TokenEndpoint, get, trouble};
use super::{NotAsserted, Profile, SignInError, Tools};
use crate::config::OidcLogin;
use crate::error::{Culprit, Fault};
use crate::jose::Signed;
use crate::jwks::NotVerified;
use crate::oauth::pkce::Challenge;
use claims::Claims;
use discovery::{Described, Discovered};
use http::StatusCode;
use id_token::Expected;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::sync::Arc;
use url::Url;
use zeroize::Zeroizing;

/// One provider.
pub(super) struct Oidc {
    settings: OidcLogin,
    discovered: Discovered,
}

impl Oidc {
    pub(super) fn new(settings: OidcLogin) -> Self {
        Self { settings, discovered: Discovered::default() }
    }

    /// Where the browser goes (Core §3.1.2.1).
    pub(super) async fn authorization_address(
        &self,
        tools: &Tools,
        redirect_uri: &str,
        departure: &Departure,
        state: &str,
    ) -> Result<Url, Fault> {
        let described = self.described(tools).await?;
        let mut url = described.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &self.settings.scopes)
            .append_pair("state", state)
            .append_pair("nonce", &departure.nonce)
            .append_pair("code_challenge", Challenge::of(&departure.verifier).as_str())
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// RFC 9207 §2.4: promised means required, present means equal, compared as a plain string.
    pub(super) async fn check_issuer(&self, tools: &Tools, iss: Option<&str>) -> Result<(), Fault> {
        let why = match iss {
            Some(iss) if iss != self.settings.issuer => "iss is another issuer",
            None if self.described(tools).await?.iss_promised => "iss is missing although it was promised",
            _ => return Ok(()),
        };
        let label = &self.settings.label;
        let public = format!("This answer does not come from {label}. It was thrown away; please sign in again.");
        Err(Fault { culprit: Culprit::Caller, public: public.into(), private: format!("{label}: {why}") })
    }

    /// Who has a code, if the rules let that person in.
    pub(super) async fn profile(&self, tools: &Tools, code: &Code<'_>, nonce: &str) -> Result<Profile, SignInError> {
        let described = self.described(tools).await?;
        let endpoint = TokenEndpoint {
            label: &self.settings.label,
            url: described.token_endpoint.as_str(),
            client_id: &self.settings.client_id,
            client_secret: self.settings.client_secret.as_ref(),
            authentication: described.authentication,
            allow_private: self.settings.allow_private,
        };
        let answer = endpoint.exchange(&tools.http, code).await?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let id_token = text("id_token").ok_or_else(|| self.trouble("no ID token in the token response"))?;
        let access_token = Zeroizing::new(text("access_token").unwrap_or_default().to_owned());
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce,
            access_token: &access_token,
        };
        let key_set = described.jwks_uri.as_str();
        let verified = tools.keys.verify::<Map<String, Value>>(key_set, self.settings.allow_private, id_token).await;
        let verified = verified.map_err(|error| self.trouble(format_args!("ID token: {error}")))?;
        let subject = id_token::check(id_token, &verified, &expected, tools.clock.now())
            .map_err(|why| self.trouble(format_args!("ID token: {why}")))?;
        let mut claims = Claims::new(&self.settings, verified.claims);
        if claims.are_incomplete()
            && let Some(endpoint) = &described.userinfo_endpoint
        {
            claims.add(self.user_info(tools, endpoint, &access_token, &subject).await?);
        }
        claims.into_profile(subject)
    }

    /// Core §5.3: what is not in the ID token.
    async fn user_info(
        &self,
        tools: &Tools,
        endpoint: &Url,
        access_token: &str,
        subject: &str,
    ) -> Result<Map<String, Value>, Fault> {
        let private = self.settings.allow_private;
        let answer = get(&tools.http, endpoint.as_str(), Some(access_token), "application/json", private).await?;
        if answer.status != StatusCode::OK {
            return Err(self.trouble(format_args!("userinfo: {}", answer.status)));
        }
        let claims: Map<String, Value> =
            serde_json::from_slice(&answer.body).map_err(|_| self.trouble("userinfo: not a JSON object"))?;
        // Core §5.3.2: otherwise it may be somebody else's.
        if claims.get("sub").and_then(Value::as_str) != Some(subject) {
            return Err(self.trouble("userinfo: sub is not that of the ID token"));
        }
        Ok(claims)
    }

    /// Whether it is this issuer, and trusted with assertions about people (`id_jag`).
    pub(super) fn asserts(&self, issuer: &str) -> bool {
        self.settings.id_jag && self.settings.issuer == issuer
    }

    /// Whether it is trusted with assertions about people.
    pub(super) fn is_asserting(&self) -> bool {
        self.settings.id_jag
    }

    /// Verifies a text that this provider is said to have signed.
    pub(super) async fn verify<T: DeserializeOwned>(
        &self,
        tools: &Tools,
        token: &str,
    ) -> Result<Signed<T>, NotAsserted> {
        let described = self.described(tools).await.map_err(NotAsserted::Unavailable)?;
        let verified = tools.keys.verify(described.jwks_uri.as_str(), self.settings.allow_private, token).await;
        verified.map_err(|error| match error {
            NotVerified::Untrusted(why) => NotAsserted::Untrusted(why.to_string()),
            NotVerified::NoKeys(why) => NotAsserted::Unavailable(self.trouble(why)),
        })
    }

    async fn described(&self, tools: &Tools) -> Result<Arc<Described>, Fault> {
        self.discovered.get(&self.settings, tools).await
    }

    fn trouble(&self, private: impl std::fmt::Display) -> Fault {
        trouble(&self.settings.label, private)
    }
}
