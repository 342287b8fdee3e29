//! Who we are at an authorization server: the administrator's client, our metadata document, or a client registered on
//! the spot (RFC 7591), in that order.

use super::discovery::Discovered;
use super::known::quirks;
use super::refusal::Kind;
use super::sealed::OurClient;
use super::{ConnectError, Connections};
use crate::config::OAuthSettings;
use crate::error::Fault;
use crate::hostname::Scheme;
use crate::json;
use crate::providers::Provider;
use crate::store::UpstreamClient;
use crate::upstream::Upstream;
use crate::vault::Place;
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret that expires within this time is not used for a new flow.
const SECRET_MARGIN: Duration = Duration::from_secs(3600);

const NONE: &str = "none";
const BASIC: &str = "client_secret_basic";
const POST: &str = "client_secret_post";

impl Connections {
    /// Our one redirect URI.
    pub(super) fn redirect_uri(&self) -> String {
        format!("{}/oauth/callback", self.site.root_origin())
    }

    /// The client to begin a flow with; registers one when there is none. `scope` is what will be asked for.
    pub(super) async fn client_at(
        &self,
        upstream: &Upstream,
        settings: &OAuthSettings,
        (server, provider): (&Discovered, Option<&Arc<Provider>>),
        scope: &str,
    ) -> Result<OurClient, ConnectError> {
        if let Some(id) = &settings.client_id {
            let secret = settings.client_secret.as_ref().map(|secret| secret.expose().to_owned());
            let auth_method = match (&secret, &quirks(provider).auth_method) {
                (None, _) => NONE.to_owned(),
                (Some(_), Some(method)) => method.clone(),
                (Some(_), None) => confidential_method(&server.auth_methods).to_owned(),
            };
            return Ok(OurClient { id: id.clone(), secret, auth_method });
        }
        // An authorization server may be known although the upstream in front of it is not.
        self.must_be_registrable(upstream, settings, provider.map(Arc::as_ref))?;
        let https = self.site.scheme() == Scheme::Https;
        if https && server.takes_our_document() {
            let id = format!("{}/oauth/client-metadata.json", self.site.root_origin());
            return Ok(OurClient { id, secret: None, auth_method: NONE.to_owned() });
        }
        let lock = self.registering.get_with(server.issuer.clone(), Default::default);
        let _one_at_a_time = lock.lock().await;
        match self.kept_client(&server.issuer).await? {
            Some(client) => Ok(client),
            None => self.register(upstream, (server, provider.map(Arc::as_ref)), scope).await,
        }
    }

    /// There is no way to register.
    pub(super) fn no_registration(&self, upstream: &Upstream, provider: Option<&Provider>) -> Fault {
        self.refusal(upstream, provider, Kind::NoRegistration, "no registration endpoint")
    }

    /// Drops a registration that the server no longer knows, so that the next flow registers anew.
    pub(super) async fn drop_client(&self, issuer: &str, client_id: &str) -> Result<(), Fault> {
        let redirect_uri = self.redirect_uri();
        let kept = self.store.upstream_client(issuer, &redirect_uri).await?;
        if kept.is_some_and(|kept| kept.client_id == client_id) {
            self.store.delete_upstream_client(issuer, &redirect_uri).await?;
        }
        Ok(())
    }

    async fn kept_client(&self, issuer: &str) -> Result<Option<OurClient>, ConnectError> {
        let kept = self.store.upstream_client(issuer, &self.redirect_uri()).await;
        let Some(row) = kept.map_err(|error| ConnectError::at("store", error))? else { return Ok(None) };
        if row.expires_at.is_some_and(|end| end <= self.clock.now().after(SECRET_MARGIN)) {
            return Ok(None);
        }
        let opened = row.sealed_secret.as_ref().map(|sealed| self.vault.open(&place_of(issuer), sealed)).transpose();
        let opened = opened.map_err(|error| {
            ConnectError::at("store", Fault::gateway(format!("our client secret at {issuer}: {error}")))
        })?;
        let secret = opened.map(|secret| String::from_utf8_lossy(&secret).into_owned());
        Ok(Some(OurClient { id: row.client_id, secret, auth_method: row.auth_method }))
    }

    async fn register(
        &self,
        upstream: &Upstream,
        (server, provider): (&Discovered, Option<&Provider>),
        scope: &str,
    ) -> Result<OurClient, ConnectError> {
        let step = |fault| ConnectError::at("registration", fault);
        let Some(endpoint) = &server.registration_endpoint else {
            return Err(step(self.no_registration(upstream, provider)));
        };
        let method = registrable_method(&server.auth_methods);
        let body = self.metadata(method, scope).to_string();
        let request = Request::post(endpoint)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Bytes::from(body))
            .map_err(|error| step(Fault::gateway(error)))?;
        let fetched =
            self.http.send(request, upstream.allow_private).await.map_err(|error| step(Fault::from(error)))?;
        let registered = match json::object::<Registered>(&fetched.body) {
            Ok(registered) if fetched.status.is_success() && !registered.client_id.is_empty() => registered,
            _ => return Err(step(self.judge(upstream, provider, &fetched))),
        };
        let client = registered.client(method);
        self.keep_client(&server.issuer, &client, registered.client_secret_expires_at).await?;
        Ok(client)
    }

    fn metadata(&self, method: &str, scope: &str) -> serde_json::Value {
        let kind = if self.site.scheme() == Scheme::Https { "web" } else { "native" };
        let mut metadata = json!({
            "redirect_uris": [self.redirect_uri()],
            "client_name": "Portcullis",
            "client_uri": self.site.root_origin(),
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": method,
            "application_type": kind,
        });
        if !scope.is_empty() {
            metadata["scope"] = scope.into();
        }
        metadata
    }

    async fn keep_client(&self, issuer: &str, client: &OurClient, expires_at: i64) -> Result<(), ConnectError> {
        let row = UpstreamClient {
            issuer: issuer.to_owned(),
            redirect_uri: self.redirect_uri(),
            client_id: client.id.clone(),
            sealed_secret: client.secret.as_ref().map(|secret| self.vault.seal(&place_of(issuer), secret.as_bytes())),
            auth_method: client.auth_method.clone(),
            expires_at: (expires_at > 0).then_some(crate::clock::Timestamp(expires_at)),
            created_at: self.clock.now(),
        };
        self.store.put_upstream_client(&row).await.map_err(|error| ConnectError::at("store", error))
    }
}

impl Discovered {
    /// Whether the address of our metadata document is a client id there: it is for clients without a secret.
    pub(super) fn takes_our_document(&self) -> bool {
        self.takes_documents && self.auth_methods.iter().any(|method| method == NONE)
    }
}

/// RFC 7591 §3.2.1.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Registered {
    client_id: String,
    #[serde(default)]
    client_secret: Option<String>,
    #[serde(default)]
    client_secret_expires_at: i64,
    #[serde(default)]
    token_endpoint_auth_method: Option<String>,
}

impl Registered {
    /// The server has the last word about the method; a secret without a word is for Basic.
    fn client(&self, asked: &str) -> OurClient {
        let secret = self.client_secret.clone().filter(|secret| !secret.is_empty());
        let said = self.token_endpoint_auth_method.as_deref();
        let auth_method = match (&secret, said) {
            (None, _) => NONE,
            (Some(_), Some(method)) => method,
            (Some(_), None) if asked == NONE => BASIC,
            (Some(_), None) => asked,
        };
        OurClient { id: self.client_id.clone(), secret, auth_method: auth_method.to_owned() }
    }
}

/// What a client with a secret uses: Basic is what is meant by silence (RFC 8414 §2).
fn confidential_method(supported: &[String]) -> &'static str {
    let has = |method: &str| supported.iter().any(|one| one == method);
    if has(POST) && !has(BASIC) { POST } else { BASIC }
}

fn registrable_method(supported: &[String]) -> &'static str {
    if supported.iter().any(|method| method == NONE) { NONE } else { confidential_method(supported) }
}

fn place_of(issuer: &str) -> Place<'_> {
    Place { table: "upstream_clients", row: issuer, column: "secret", person: "", upstream: issuer }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_method_is_the_best_that_both_know() {
        let list = |methods: &[&str]| methods.iter().map(|&method| method.to_owned()).collect::<Vec<_>>();
        assert_eq!(registrable_method(&list(&[BASIC, NONE])), NONE);
        assert_eq!(registrable_method(&list(&[])), BASIC);
        assert_eq!(registrable_method(&list(&[POST])), POST);
        assert_eq!(registrable_method(&list(&[POST, BASIC])), BASIC);
    }

    #[test]
    fn the_server_has_the_last_word() {
        let client = |text: &str| serde_json::from_str::<Registered>(text).unwrap().client(NONE);
        assert_eq!(client(r#"{"client_id":"a"}"#).auth_method, NONE);
        assert_eq!(client(r#"{"client_id":"a","client_secret":"s"}"#).auth_method, BASIC);
        let text = r#"{"client_id":"a","client_secret":"s","token_endpoint_auth_method":"client_secret_post"}"#;
        assert_eq!(client(text).auth_method, POST);
        let silent = serde_json::from_str::<Registered>(r#"{"client_id":"a","client_secret":"s"}"#).unwrap();
        assert_eq!(silent.client(POST).auth_method, POST);
    }
}
