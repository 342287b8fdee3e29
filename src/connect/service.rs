//! Connections to services: the same engine, with what the configuration says in place of what is discovered.

use super::authorize::Outset;
use super::sealed::{AtServer, OurClient};
use super::{CallbackQuery, ConnectError, ConnectionKey, Connections, NoCredential};
use crate::clock::Timestamp;
use crate::config::{Service, ServiceClient};
use crate::error::Fault;
use crate::ids::Digest;
use crate::oauth::scope::Scopes;
use crate::secret::Secret;
use std::sync::Arc;
use std::time::Duration;

/// A token that has less than this to live is renewed before it is handed out (DESIGN 1.7).
const LEAST_LIFE: Duration = Duration::from_secs(600);

/// What [`Connections::begin_service`] needs to know.
pub struct ServiceRequest<'a> {
    /// Whose.
    pub key: &'a ConnectionKey,
    /// Where.
    pub service: &'a Service,
    /// What to ask for besides the service's own scopes and those that were granted before.
    pub scopes: &'a Scopes,
    /// Digest of the session cookie.
    pub session: Digest,
    /// Where the answer comes to; registered at the provider.
    pub redirect_uri: String,
    /// Where the person goes on.
    pub return_to: &'a str,
}

/// A service's access token in force.
pub struct HeldToken {
    /// The token.
    pub access_token: Secret,
    /// When it expires, if the provider said so.
    pub expires_at: Option<Timestamp>,
    /// What it was granted for.
    pub scope: Scopes,
}

impl Connections {
    /// Where to send the browser for consent at a service. Contacts nobody.
    ///
    /// # Errors
    /// When the service has no client, or the store fails.
    pub async fn begin_service(&self, request: ServiceRequest<'_>) -> Result<String, ConnectError> {
        let Service { label, client, allow_private, .. } = request.service;
        let client = client.as_ref().ok_or_else(|| {
            let text = format!("{label} is used with personal access tokens: nobody can consent there.");
            ConnectError::at("authorization", Fault::caller(text))
        })?;
        let row = self.row(request.key).await.map_err(|fault| ConnectError::at("store", fault))?;
        let before = row.map(|row| Scopes::lenient(row.scope.split(' '))).unwrap_or_default();
        let outset = Outset {
            key: request.key,
            authorization_endpoint: &client.authorization_endpoint,
            expected_iss: client.issuer.clone(),
            iss_promised: false,
            quirks: &client.quirks,
            allow_private: *allow_private,
            scope: client.scopes.union(request.scopes).union(&before),
            session: request.session,
            return_to: request.return_to,
        };
        let server = at_server(request.key, client, request.redirect_uri);
        self.set_out(outset, server).await
    }

    /// Completes that, with an answer that came to `redirect_uri`. Whose it was, and where the person goes on.
    ///
    /// # Errors
    /// As [`Connections::finish`].
    pub async fn finish_service(
        &self,
        session: &Digest,
        redirect_uri: &str,
        query: &CallbackQuery,
    ) -> Result<(ConnectionKey, String), ConnectError> {
        let pending = self.arrive(session, redirect_uri, query).await?;
        let key = pending.key().ok_or_else(|| ConnectError::at("callback", Fault::gateway("a flow is damaged")))?;
        Ok((key, pending.return_to.clone()))
    }

    /// The token in force of a connection to a service, renewed when it has not long to live. While it lives it is handed
    /// out even when the provider cannot renew it just now.
    ///
    /// # Errors
    /// When there is none.
    pub async fn service_token(self: &Arc<Self>, key: &ConnectionKey) -> Result<HeldToken, NoCredential> {
        let credential = self.credential_lasting(key, LEAST_LIFE).await?;
        self.use_now(&credential);
        let row = self.row(key).await?.ok_or(NoCredential::NeedsConsent)?;
        let access_token = credential.access_token().ok_or(NoCredential::NeedsConsent)?;
        Ok(HeldToken {
            access_token: Secret::new(access_token.to_owned()),
            expires_at: credential.expires_at(),
            scope: Scopes::lenient(row.scope.split(' ')),
        })
    }
}

fn at_server(key: &ConnectionKey, client: &ServiceClient, redirect_uri: String) -> AtServer {
    let secret = client.client_secret.as_ref().map(|secret| secret.expose().to_owned());
    let method = client.quirks.auth_method.as_deref();
    let auth_method = if secret.is_some() { method.unwrap_or("client_secret_basic") } else { "none" };
    AtServer {
        issuer: key.target.to_string(),
        token_endpoint: client.token_endpoint.clone(),
        client: OurClient { id: client.client_id.clone(), secret, auth_method: auth_method.to_owned() },
        redirect_uri,
        resource: None,
        revocation_endpoint: client.revocation_endpoint.clone(),
    }
}
