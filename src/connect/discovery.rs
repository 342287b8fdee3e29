//! Discovery: from an upstream's hostname to the endpoints of its authorization server (MCP authorization, "Authorization
//! Server Discovery"). Every address comes from a stranger and goes through the guard.

mod known;
mod resource;
pub(super) mod server;

pub(super) use known::KnownScopes;

use super::outlook::{Sight, Watch};
use super::{ConnectError, Connections};
use crate::clock::Timestamp;
use crate::config::OAuthSettings;
use crate::error::{Culprit, Fault};
use crate::hostname::Authority;
use crate::http::{Fetched, HttpClient, check_url};
use crate::json;
use crate::oauth::scope::Scopes;
use crate::providers::Provider;
use crate::upstream::Upstream;
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, LOCATION};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a complete result is used again.
const FRESH: Duration = Duration::from_secs(3600);
/// How long the whole of it may take; a browser is waiting.
const TOTAL: Duration = Duration::from_secs(25);
/// How many redirects within one origin are followed.
const REDIRECTS: usize = 3;

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Findings {
    /// It asks for no authorization, so far.
    Open,
    /// It has an authorization server.
    OAuth(Box<Discovered>),
}

/// An upstream's authorization server, and what to ask it for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Discovered {
    /// Exactly as the protected resource metadata states it.
    pub(super) resource: Option<String>,
    /// Where that metadata is.
    pub(super) resource_metadata: Option<String>,
    /// What our registration is kept by: the issuer as its own metadata spells it.
    pub(super) issuer: String,
    /// Whether `issuer` is one that `iss` can be compared with.
    pub(super) issuer_known: bool,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) registration_endpoint: Option<String>,
    pub(super) revocation_endpoint: Option<String>,
    /// Of the challenge, else of the protected resource metadata; space-separated.
    pub(super) scopes: String,
    /// Client authentication at the token endpoint, as far as it is known.
    pub(super) auth_methods: Vec<String>,
    /// RFC 9207 §3.
    pub(super) iss_promised: bool,
    /// Whether client ID metadata documents are taken.
    pub(super) takes_documents: bool,
    /// Whether `offline_access` is among the server's scopes.
    pub(super) offline_access: bool,
}

/// What an upstream said in a challenge of its own accord: the next discovery begins there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hint {
    pub(super) resource_metadata: Option<String>,
    pub(super) scope: Option<String>,
}

/// What the store remembers of a discovery.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Document {
    path: Option<String>,
    found: Option<Discovered>,
    hint: Option<Hint>,
    /// Space-separated; see [`KnownScopes::learnt`].
    learnt: String,
}

impl Connections {
    /// What is known about an upstream's authorization: from the administrator, from the store when it is fresh, else
    /// from the upstream.
    pub(super) async fn discover(
        &self,
        upstream: &Upstream,
        settings: &OAuthSettings,
        path: Option<&str>,
        afresh: bool,
    ) -> Result<Findings, ConnectError> {
        if let Some(configured) = configured(upstream, settings, path) {
            return Ok(Findings::OAuth(Box::new(configured)));
        }
        let stored = self.stored_discovery(&upstream.authority).await?;
        let now = self.clock.now();
        let (document, fresh) = match stored {
            Some((document, found_at)) => (document, now.since(found_at) < FRESH && now >= found_at),
            None => (Document::default(), false),
        };
        if let Some(found) = document.found.as_ref().filter(|_| fresh && !afresh && document.path.as_deref() == path) {
            return Ok(Findings::OAuth(Box::new(found.clone())));
        }
        self.search(upstream, (settings, path), document, None).await
    }

    /// The same from the upstream alone, while somebody watches.
    pub(super) async fn discover_watched(
        &self,
        upstream: &Upstream,
        settings: &OAuthSettings,
        path: Option<&str>,
        watch: &Watch,
    ) -> Result<Findings, ConnectError> {
        if let Some(configured) = configured(upstream, settings, path) {
            return Ok(Findings::OAuth(Box::new(configured)));
        }
        let stored = self.stored_discovery(&upstream.authority).await?;
        let document = stored.map(|(document, _)| document).unwrap_or_default();
        self.search(upstream, (settings, path), document, Some(watch)).await
    }

    /// Asks the upstream, and remembers what it says.
    async fn search(
        &self,
        upstream: &Upstream,
        (settings, path): (&OAuthSettings, Option<&str>),
        before: Document,
        watch: Option<&Watch>,
    ) -> Result<Findings, ConnectError> {
        let learnt = before.learnt;
        let provider = self.providers.for_host(upstream.authority.host());
        let provider = provider.as_deref();
        let search = Search { http: &self.http, upstream, provider, settings, path, hint: before.hint, watch };
        let span = self.tracer.root(crate::telemetry::SpanKind::Client, "discovery");
        let findings = tokio::time::timeout(TOTAL, search.run()).await;
        if let Some(mut span) = span {
            span.goes_to(upstream.authority.as_str());
            match &findings {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => span.fail("failed"),
                Err(_) => span.fail("timeout"),
            }
        }
        let findings = findings.unwrap_or_else(|_| {
            let text = format!("{} and its authorization server took too long to describe themselves", upstream.name);
            Err(Fault { culprit: Culprit::UpstreamTimeout, public: text.clone().into(), private: text })
        });
        let findings = findings.map_err(|fault| ConnectError::at("discovery", fault))?;
        if let Findings::OAuth(found) = &findings {
            let document =
                Document { path: path.map(str::to_owned), found: Some((**found).clone()), hint: None, learnt };
            self.store_discovery(&upstream.authority, &document).await?;
        }
        Ok(findings)
    }

    /// Remembers what an upstream said in a challenge, and that earlier findings may be out of date.
    pub(super) async fn remember_hint(&self, authority: &Authority, hint: Hint) -> Result<(), Fault> {
        let stored = self.stored_discovery(authority).await.map_err(|error| error.fault)?;
        let (found, learnt) = stored.map(|(document, _)| (document.found, document.learnt)).unwrap_or_default();
        // Without its path the document is not used again, but its scopes stay known.
        let document = Document { path: Some(String::new()), found, hint: Some(hint), learnt };
        self.store_discovery(authority, &document).await.map_err(|error| error.fault)
    }

    async fn stored_discovery(&self, authority: &Authority) -> Result<Option<(Document, Timestamp)>, ConnectError> {
        let row = self.store.discovery(authority.as_str()).await.map_err(|error| ConnectError::at("store", error))?;
        // What an older version wrote and this one does not understand is found out again.
        Ok(row.map(|row| (serde_json::from_str(&row.document).unwrap_or_default(), row.found_at)))
    }

    async fn store_discovery(&self, authority: &Authority, document: &Document) -> Result<(), ConnectError> {
        self.store_document(authority, document, self.clock.now()).await
    }

    async fn store_document(
        &self,
        authority: &Authority,
        document: &Document,
        found_at: Timestamp,
    ) -> Result<(), ConnectError> {
        let text = serde_json::to_string(document).map_err(|error| ConnectError::at("store", Fault::gateway(error)))?;
        let row = crate::store::Discovery { authority: authority.to_string(), document: text, found_at };
        let put = self.store.put_discovery(&row).await.map_err(|error| ConnectError::at("store", error));
        self.scopes.invalidate(authority);
        put
    }
}

/// One search, from the first request to the last.
struct Search<'a> {
    http: &'a HttpClient,
    upstream: &'a Upstream,
    /// What is known about it beforehand.
    provider: Option<&'a Provider>,
    settings: &'a OAuthSettings,
    /// The path of the MCP endpoint, when it is known.
    path: Option<&'a str>,
    /// What it said of its own accord; that it said anything means that it wants authorization.
    hint: Option<Hint>,
    /// Who wants to know what is seen meanwhile.
    watch: Option<&'a Watch>,
}

impl Search<'_> {
    async fn run(&self) -> Result<Findings, Fault> {
        let probed = self.probe().await?;
        self.tell(|| Sight::Answered { challenged: probed.challenged });
        let described = self.protected_resource(&probed).await?;
        self.tell(|| Sight::Described(described.as_ref().map(|(url, _)| url.clone())));
        let asked = probed.challenged || self.hint.is_some() || self.settings.issuer.is_some();
        if !asked && described.is_none() {
            return Ok(Findings::Open);
        }
        let challenge_scope = probed.challenge.as_ref().and_then(|challenge| challenge.scope.clone());
        let mut found = self.authorization_server(described.as_ref()).await?;
        self.tell(|| Sight::Server { issuer: found.issuer.clone() });
        let described_scopes = described.as_ref().map(|(_, document)| document.scopes_supported.join(" "));
        found.scopes = challenge_scope
            .or_else(|| self.hint.as_ref().and_then(|hint| hint.scope.clone()))
            .or(described_scopes)
            .map(|text| Scopes::lenient(text.split(' ')).to_string())
            .unwrap_or_default();
        if let Some((url, document)) = described {
            found.resource_metadata = Some(url);
            found.resource = Some(document.resource);
        }
        if let Some(endpoint) = &self.settings.authorization_endpoint {
            found.authorization_endpoint.clone_from(endpoint);
        }
        if let Some(endpoint) = &self.settings.token_endpoint {
            found.token_endpoint.clone_from(endpoint);
        }
        Ok(Findings::OAuth(Box::new(found)))
    }

    fn tell(&self, sight: impl FnOnce() -> Sight) {
        if let Some(watch) = self.watch {
            // Whoever has left does not want to know.
            let _ = watch.send(sight());
        }
    }

    /// Fetches a JSON document, following redirects within its origin. `None`: there is no such document there.
    async fn json<T: DeserializeOwned>(&self, url: &str) -> Result<Option<T>, Fault> {
        json(self.http, url, self.upstream.allow_private).await
    }
}

async fn json<T: DeserializeOwned>(http: &HttpClient, url: &str, allow_private: bool) -> Result<Option<T>, Fault> {
    let mut url = check_url(url, allow_private)?;
    for _ in 0..=REDIRECTS {
        let request = Request::get(url.as_str()).header(ACCEPT, "application/json");
        let request = request.body(Bytes::new()).map_err(Fault::gateway)?;
        let fetched = http.send(request, allow_private).await?;
        if !fetched.status.is_redirection() {
            return usable(&fetched, &url);
        }
        let location = fetched.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        match location.and_then(|location| url.join(location).ok()).filter(|next| next.origin() == url.origin()) {
            Some(next) => url = check_url(next.as_str(), allow_private)?,
            None => return Ok(None),
        }
    }
    Ok(None)
}

fn usable<T: DeserializeOwned>(fetched: &Fetched, url: &url::Url) -> Result<Option<T>, Fault> {
    if fetched.status.is_server_error() {
        let host = url.host_str().unwrap_or_default();
        return Err(Fault::upstream(
            format!("{host} answered {} when it was asked to describe itself", fetched.status),
            format_args!("{url} answered {}", fetched.status),
        ));
    }
    let document = fetched.status.is_success().then(|| json::object(&fetched.body).ok()).flatten();
    tracing::debug!(%url, status = fetched.status.as_u16(), found = document.is_some(), "metadata");
    Ok(document)
}

/// With both endpoints configured nothing needs to be found out.
fn configured(upstream: &Upstream, settings: &OAuthSettings, path: Option<&str>) -> Option<Discovered> {
    let (authorization, token) = (settings.authorization_endpoint.as_ref()?, settings.token_endpoint.as_ref()?);
    let origin = url::Url::parse(authorization).ok()?.origin().ascii_serialization();
    Some(Discovered {
        resource: Some(format!("{}{}", upstream.authority.origin(), path.unwrap_or_default())),
        issuer_known: settings.issuer.is_some(),
        issuer: settings.issuer.clone().unwrap_or(origin),
        authorization_endpoint: authorization.clone(),
        token_endpoint: token.clone(),
        ..Discovered::default()
    })
}
