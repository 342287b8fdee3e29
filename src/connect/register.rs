//! Who we are at an authorization server: the administrator's client, our metadata document, or a client registered on
//! the spot (RFC 7591), in that order.

use super::discovery::Discovered;
use super::providers;
use super::sealed::OurClient;
use super::token_endpoint::printable;
use super::{ConnectError, Connections};
use crate::config::OAuthSettings;
use crate::error::{Culprit, Fault};
use crate::hostname::Scheme;
use crate::http::Fetched;
use crate::oauth::quirks::Quirks;
use crate::store::UpstreamClient;
use crate::upstream::Upstream;
use crate::vault::Place;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

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
        server: &Discovered,
        scope: &str,
    ) -> Result<OurClient, ConnectError> {
        if let Some(id) = &settings.client_id {
            let secret = settings.client_secret.as_ref().map(|secret| secret.expose().to_owned());
            let provider = quirks_of(upstream, server);
            let auth_method = match (&secret, &provider.auth_method) {
                (None, _) => NONE.to_owned(),
                (Some(_), Some(method)) => method.clone(),
                (Some(_), None) => confidential_method(&server.auth_methods).to_owned(),
            };
            return Ok(OurClient { id: id.clone(), secret, auth_method });
        }
        let https = self.site.scheme() == Scheme::Https;
        if https && server.takes_documents && server.auth_methods.iter().any(|method| method == NONE) {
            let id = format!("{}/oauth/client-metadata.json", self.site.root_origin());
            return Ok(OurClient { id, secret: None, auth_method: NONE.to_owned() });
        }
        let lock = self.registering.get_with(server.issuer.clone(), Default::default);
        let _one_at_a_time = lock.lock().await;
        match self.kept_client(&server.issuer).await? {
            Some(client) => Ok(client),
            None => self.register(upstream, server, scope).await,
        }
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

    async fn register(&self, upstream: &Upstream, server: &Discovered, scope: &str) -> Result<OurClient, ConnectError> {
        let step = |fault| ConnectError::at("registration", fault);
        let Some(endpoint) = &server.registration_endpoint else {
            return Err(step(self.refusal(upstream, Kind::NoRegistration, "no registration endpoint")));
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
        let registered = match serde_json::from_slice::<Registered>(&fetched.body) {
            Ok(registered) if fetched.status.is_success() && !registered.client_id.is_empty() => registered,
            _ => return Err(step(self.judge(upstream, &fetched))),
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

    /// Which kind of refusal an answer is: only the person reading can do something about it.
    fn judge(&self, upstream: &Upstream, fetched: &Fetched) -> Fault {
        let status = fetched.status;
        let said: Refused = serde_json::from_slice(&fetched.body).unwrap_or_default();
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
            _ if said.error == "invalid_redirect_uri" || words.contains("redirect") => Kind::Allowlist,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Allowlist,
            _ if said.error.is_empty() => Kind::NoRegistration,
            _ => Kind::Other(printable(&said.error, 60)),
        };
        self.refusal(upstream, kind, &private)
    }

    fn refusal(&self, upstream: &Upstream, kind: Kind, private: &str) -> Fault {
        let name = &upstream.name;
        let uri = self.redirect_uri();
        let by_hand = format!(
            "Register a client there by hand with the redirect URI {uri} and set its client_id (and client_secret) for this \
             upstream in the configuration."
        );
        let public = match &kind {
            Kind::NoRegistration => format!("{name} does not let programs register themselves. {by_hand}"),
            Kind::LoopbackOnly => {
                format!("{name} registers only programs on one's own machine, with loopback redirect URIs. {by_hand}")
            }
            Kind::Allowlist => format!(
                "{name} registers only clients on its allowlist. Ask its operator, or your organization's administrator \
                 there, to allow {uri}. Or: {by_hand}"
            ),
            Kind::Other(code) => format!("{name} refused to register Portcullis ({code}). {by_hand}"),
            Kind::Trouble => format!("{name} cannot register clients at the moment. Try again in a minute."),
        };
        let culprit = Culprit::Upstream;
        Fault { culprit, public: public.into(), private: private.to_owned() }
    }
}

/// Why a registration was refused.
enum Kind {
    NoRegistration,
    LoopbackOnly,
    Allowlist,
    Other(String),
    Trouble,
}

/// RFC 7591 §3.2.1.
#[derive(Deserialize)]
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

/// RFC 7591 §3.2.2.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    error: String,
    error_description: String,
}

/// What is special about an upstream or its authorization server.
pub(super) fn quirks_of(upstream: &Upstream, server: &Discovered) -> &'static Quirks {
    let host = |url: &str| url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let server = [host(&server.authorization_endpoint), host(&server.token_endpoint)];
    providers::quirks_of([upstream.authority.host()].into_iter().chain(server.iter().flatten().map(String::as_str)))
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
    }
}
