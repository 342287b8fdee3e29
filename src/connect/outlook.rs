//! What sign-in an upstream is going to want, found out while somebody watches. It is discovered as for a connection; nothing is
//! registered, and nobody is sent anywhere.

use super::authorize::scope_to_ask;
use super::discovery::{Discovered, Findings};
use super::{ConnectError, Connections};
use crate::config::{OAuthSettings, UpstreamAuth};
use crate::error::Fault;
use crate::hostname::Scheme;
use crate::oauth::scope::Scopes;
use crate::providers::Provider;
use crate::upstream::Upstream;
use std::sync::Arc;
use tokio::sync::mpsc;
use url::Url;

/// Where sights go as they are seen.
pub type Watch = mpsc::UnboundedSender<Sight>;

/// What is seen on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The upstream answered somebody without a token.
    Answered {
        /// Whether it asked for one.
        challenged: bool,
    },
    /// Where its protected resource metadata is (RFC 9728), if it has any.
    Described(Option<String>),
    /// Its authorization server has described itself (RFC 8414), or is where it was in 2025-03-26.
    Server {
        /// By its own name.
        issuer: String,
    },
}

/// What a person is going to meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing: it takes everybody.
    Open,
    /// Nothing: an administrator has a key for everybody.
    Shared,
    /// A page of ours that asks for these values.
    Personal(Vec<String>),
    /// A sign-in at its authorization server.
    OAuth(Box<SignIn>),
}

/// A sign-in at an authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// The host that the browser is sent to.
    pub host: String,
    /// What people call whoever is behind it, where that is known.
    pub provider: Option<String>,
    /// How the gateway becomes its client.
    pub registering: Registering,
    /// What the gateway is going to ask for, space-separated; empty for what the server gives by default.
    pub scopes: Scopes,
}

/// How the gateway becomes a client of an authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registering {
    /// An administrator has registered it by hand.
    ByHand,
    /// By its metadata document.
    Document,
    /// It has registered before.
    Kept,
    /// It registers itself (RFC 7591).
    Itself,
    /// Not at all, until somebody does what the text says.
    Impossible(String),
}

impl Connections {
    /// What somebody who connects this upstream is going to meet. Contacts it.
    ///
    /// # Errors
    /// When discovery fails, with the step that failed.
    pub async fn outlook(
        &self,
        upstream: &Upstream,
        path: Option<&str>,
        watch: &Watch,
    ) -> Result<Outlook, ConnectError> {
        if let Some(personal) = upstream.personal() {
            return Ok(Outlook::Personal(personal.names().into_iter().map(str::to_owned).collect()));
        }
        let settings = match &*upstream.auth {
            UpstreamAuth::OAuth(settings) => settings,
            UpstreamAuth::None => return Ok(Outlook::Open),
            UpstreamAuth::Header { .. } | UpstreamAuth::Personal(_) => return Ok(Outlook::Shared),
        };
        let path = path.or(upstream.path.as_deref());
        match self.discover_watched(upstream, settings, path, watch).await? {
            Findings::Open => Ok(Outlook::Open),
            Findings::OAuth(server) => self.sign_in_at(upstream, settings, &server).await,
        }
    }

    async fn sign_in_at(
        &self,
        upstream: &Upstream,
        settings: &OAuthSettings,
        server: &Discovered,
    ) -> Result<Outlook, ConnectError> {
        let provider = self.provider_of(upstream, server);
        let provider = provider.as_ref().map(Arc::as_ref);
        let host = Url::parse(&server.authorization_endpoint).ok();
        let host = host.as_ref().and_then(Url::host_str).unwrap_or_default().to_owned();
        Ok(Outlook::OAuth(Box::new(SignIn {
            host,
            provider: provider.map(|provider| provider.name.clone()),
            registering: self.registering_at(upstream, settings, (server, provider)).await?,
            scopes: scope_to_ask(&Scopes::default(), settings, (server, provider), None),
        })))
    }

    /// What [`Connections::client_at`] would do, without doing it.
    async fn registering_at(
        &self,
        upstream: &Upstream,
        settings: &OAuthSettings,
        (server, provider): (&Discovered, Option<&Provider>),
    ) -> Result<Registering, ConnectError> {
        if settings.client_id.is_some() {
            return Ok(Registering::ByHand);
        }
        if let Err(error) = self.must_be_registrable(upstream, settings, provider) {
            return Ok(Registering::Impossible(error.fault.public.into_owned()));
        }
        if self.site.scheme() == Scheme::Https && server.takes_our_document() {
            return Ok(Registering::Document);
        }
        let kept = self.store.upstream_client(&server.issuer, &self.redirect_uri()).await;
        if kept.map_err(|error| ConnectError::at("store", Fault::from(error)))?.is_some() {
            return Ok(Registering::Kept);
        }
        Ok(match &server.registration_endpoint {
            Some(_) => Registering::Itself,
            None => Registering::Impossible(self.no_registration(upstream, provider).public.into_owned()),
        })
    }
}
