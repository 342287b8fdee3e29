//! An authorization request (OAuth 2.1 §4.1.1) that has passed every check, and what the person has said about it so far.

use super::Issuer;
use super::answer::{AnswerTo, ReturnAddress, ToClient, ToDevice};
use super::clients::KnownClient;
use super::parameters::Parameters;
use super::resource::{self, Asked};
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::hostname::Realm;
use crate::ids::Digest;
use crate::oauth::error::{Code, OauthError};
use crate::oauth::grant_type::GrantType;
use crate::oauth::pkce::Challenge;
use crate::oauth::redirect::RedirectUri;
use crate::oauth::scope::Scopes;
use crate::oauth::user_code::UserCode;
use crate::session::SignedIn;
use crate::store::{DeviceCode, Flow};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a person may take from the login to the last consent.
const PATIENCE: Duration = Duration::from_secs(600);

/// A checked request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PendingAuthorization {
    pub(super) realm: String,
    pub(super) client_id: String,
    pub(super) client_name: String,
    pub(super) client_uri: Option<String>,
    pub(super) verified_host: Option<String>,
    pub(super) answer: AnswerTo,
    pub(super) scope: String,
    pub(super) resource: String,
    /// Whether the person has agreed that the client gets access.
    pub(super) consented: bool,
    /// The host of the redirect URI, when this consent may be remembered or was (see `remembered`).
    pub(super) memorable: Option<String>,
    /// Whether the person wants it to be remembered.
    pub(super) remember: bool,
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
        let asked = resource::asked(parameters, (realm, &back.issuer), default_resource)?;
        let answer = AnswerTo::Client(ToClient {
            back: back.clone(),
            host: redirect.host_for_display(),
            warning: redirect.needs_warning().map(str::to_owned),
            code_challenge: challenge.as_str().to_owned(),
            dpop_jkt,
        });
        Ok(Self::new(realm.key(), client, asked, answer))
    }

    /// A request that was checked when the device made it.
    pub(super) fn of_device(code: DeviceCode, user_code: &UserCode, client: &KnownClient) -> Self {
        let answer = AnswerTo::Device(ToDevice::new(&code.code, user_code));
        Self::new(code.realm, client, Asked { scope: code.scope, resource: code.resource }, answer)
    }

    fn new(realm: String, client: &KnownClient, asked: Asked, answer: AnswerTo) -> Self {
        Self {
            realm,
            client_id: client.id.clone(),
            client_name: client.name().to_owned(),
            client_uri: client.metadata.client_uri.clone(),
            verified_host: client.verified_host.clone(),
            answer,
            scope: asked.scope,
            resource: asked.resource,
            consented: false,
            memorable: None,
            remember: false,
        }
    }

    /// Whether it asks for the admin API, which only administrators can give access to.
    pub(super) fn wants_administration(&self) -> bool {
        resource::is_administration(&self.realm, &self.scope)
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

    /// Writes down that the person has agreed, and whether to be asked again.
    pub(super) async fn consent(&mut self, issuer: &Issuer, handle: &str, remember: bool) -> Result<(), Fault> {
        self.consented = true;
        self.remember = remember && self.memorable.is_some();
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
