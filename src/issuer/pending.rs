//! An authorization request (OAuth 2.1 §4.1.1) that has passed every check, and what the person has said about it so far.

use super::Issuer;
use super::clients::KnownClient;
use super::parameters::Parameters;
use super::resource;
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::hostname::Realm;
use crate::ids::Digest;
use crate::oauth::error::{Code, OauthError};
use crate::oauth::grant_type::GrantType;
use crate::oauth::pkce::Challenge;
use crate::oauth::redirect::RedirectUri;
use crate::oauth::scope::Scopes;
use crate::session::SignedIn;
use crate::store::Flow;
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a person may take from the login to the last consent.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where the answer goes: checked against the client, so that errors may be sent there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReturnAddress {
    /// Exactly as the request has it.
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    /// `iss` (RFC 9207).
    pub(super) issuer: String,
}

/// A checked request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PendingAuthorization {
    pub(super) realm: String,
    pub(super) client_id: String,
    pub(super) client_name: String,
    pub(super) client_uri: Option<String>,
    pub(super) verified_host: Option<String>,
    pub(super) back: ReturnAddress,
    pub(super) redirect_host: String,
    pub(super) redirect_warning: Option<String>,
    pub(super) code_challenge: String,
    /// The thumbprint of the only key that may exchange the code (RFC 9449 §10).
    #[serde(default)]
    pub(super) dpop_jkt: Option<String>,
    pub(super) scope: String,
    pub(super) resource: String,
    /// Whether the person has agreed that the client gets access.
    pub(super) consented: bool,
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

impl PendingAuthorization {
    /// Checks everything but client and redirect URI, which have been checked.
    ///
    /// # Errors
    /// What goes to the redirect URI.
    pub(super) fn check(
        parameters: &Parameters,
        client: &KnownClient,
        (back, redirect): (&ReturnAddress, &RedirectUri),
        realm: &Realm,
        default_resource: String,
    ) -> Result<Self, OauthError> {
        parameters.refuse_repetition()?;
        if parameters.require("response_type")? != "code" {
            return Err(OauthError::new(Code::UnsupportedResponseType, "response_type must be code"));
        }
        if !client.metadata.allows(GrantType::AuthorizationCode) {
            return Err(OauthError::new(
                Code::UnauthorizedClient,
                "the client is not registered for authorization_code",
            ));
        }
        if parameters.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(OauthError::new(Code::InvalidRequest, "response_mode must be query"));
        }
        let challenge = parameters.require("code_challenge")?;
        if parameters.get("code_challenge_method") != Some("S256") {
            return Err(OauthError::new(Code::InvalidRequest, "code_challenge_method must be S256"));
        }
        let challenge = Challenge::parse(challenge)
            .ok_or_else(|| OauthError::new(Code::InvalidRequest, "code_challenge is not a SHA-256 in base64url"))?;
        let dpop_jkt = parameters.get("dpop_jkt").map(str::to_owned);
        if dpop_jkt.as_ref().is_some_and(|thumbprint| !is_sha256(thumbprint)) {
            return Err(OauthError::new(Code::InvalidRequest, "dpop_jkt is not a SHA-256 in base64url"));
        }
        let scope = Scopes::parse(parameters.get("scope").unwrap_or_default())
            .map_err(|_| OauthError::new(Code::InvalidScope, "scope has characters that no scope may have"))?;
        Ok(Self {
            realm: realm.key(),
            client_id: client.id.clone(),
            client_name: client.name().to_owned(),
            client_uri: client.metadata.client_uri.clone(),
            verified_host: client.verified_host.clone(),
            back: back.clone(),
            redirect_host: redirect.host_for_display(),
            redirect_warning: redirect.needs_warning().map(str::to_owned),
            code_challenge: challenge.as_str().to_owned(),
            dpop_jkt,
            scope: scope.to_string(),
            resource: resource::requested(parameters.get("resource"), &back.issuer, default_resource)?,
            consented: false,
        })
    }

    /// The same request for these scopes as well.
    pub(super) fn with_scopes(self, scopes: &Scopes) -> Self {
        let scope = Scopes::lenient(self.scope.split(' ')).union(scopes).to_string();
        Self { scope, ..self }
    }

    /// Writes the request down for a signed-in browser; the handle by which it is found again.
    pub(super) async fn keep(&self, issuer: &Issuer, signed_in: &SignedIn) -> Result<String, Fault> {
        let handle = issuer.random.token().to_string();
        let expires_at = issuer.clock.now().after(PATIENCE);
        let flow = Flow { id: Digest::of(&handle), session: signed_in.session, data: self.to_json()?, expires_at };
        issuer.store.insert_flow(&flow).await?;
        Ok(handle)
    }

    /// Finds a request again, if it belongs to this browser and this realm.
    pub(super) async fn find(
        issuer: &Issuer,
        handle: &str,
        signed_in: &SignedIn,
        realm: &Realm,
    ) -> Result<Option<Self>, Fault> {
        let flow = issuer.store.flow(&Digest::of(handle), issuer.clock.now()).await?;
        Self::of(flow, signed_in, realm)
    }

    /// Takes a request away: whoever gets it answers it, and nobody else does.
    pub(super) async fn take(
        issuer: &Issuer,
        handle: &str,
        signed_in: &SignedIn,
        realm: &Realm,
    ) -> Result<Option<Self>, Fault> {
        // Looked at first, so that another browser cannot take it away.
        if Self::find(issuer, handle, signed_in, realm).await?.is_none() {
            return Ok(None);
        }
        let flow = issuer.store.take_flow(&Digest::of(handle), issuer.clock.now()).await?;
        Self::of(flow, signed_in, realm)
    }

    /// Writes down that the person has agreed.
    pub(super) async fn consent(&mut self, issuer: &Issuer, handle: &str) -> Result<(), Fault> {
        self.consented = true;
        Ok(issuer.store.update_flow(&Digest::of(handle), &self.to_json()?).await?)
    }

    /// When a code that is issued now expires (at most 60 seconds; OAuth 2.1 §4.1.2).
    pub(super) fn code_expiry(now: Timestamp) -> Timestamp {
        now.after(Duration::from_secs(60))
    }

    fn of(flow: Option<Flow>, signed_in: &SignedIn, realm: &Realm) -> Result<Option<Self>, Fault> {
        let Some(flow) = flow.filter(|flow| flow.session.matches(&signed_in.session)) else { return Ok(None) };
        // Other doors keep flows of their own in the same table; theirs do not parse.
        let pending = serde_json::from_str::<Self>(&flow.data).ok();
        Ok(pending.filter(|pending| pending.realm == realm.key()))
    }

    fn to_json(&self) -> Result<String, Fault> {
        serde_json::to_string(self).map_err(Fault::gateway)
    }
}

fn is_sha256(text: &str) -> bool {
    BASE64URL_NOPAD.decode(text.as_bytes()).is_ok_and(|bytes| Digest::from_slice(&bytes).is_some())
}
