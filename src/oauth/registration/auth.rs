//! How a client proves who it is.

use super::members::{invalid, text, texts};
use crate::jose::{self, KeySet};
use crate::oauth::error::OauthError;
use serde_json::{Map, Value};
use url::{Host, Url};

/// How a client proves who it is at the token endpoint (RFC 7591 §2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// A public client: PKCE alone.
    None,
    /// HTTP Basic.
    ClientSecretBasic,
    /// In the form.
    ClientSecretPost,
    /// An assertion signed with a key of its own (RFC 7523 §2.2).
    PrivateKeyJwt,
}

/// The public keys that a client's assertions are verified with; never both (RFC 7591 §2).
#[derive(Clone, Debug, PartialEq)]
pub enum ClientKeys {
    /// `jwks`: a key set that parses.
    Inline(Value),
    /// `jwks_uri`: https, or http on a loopback address.
    Remote(String),
}

/// What metadata say about authentication.
#[derive(Debug)]
pub(super) struct Authentication {
    pub(super) method: AuthMethod,
    pub(super) or_public: bool,
    pub(super) keys: Option<ClientKeys>,
    pub(super) signing_alg: Option<String>,
}

impl AuthMethod {
    const ALL: [Self; 4] = [Self::None, Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt];

    /// The registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            AuthMethod::None => "none",
            AuthMethod::ClientSecretBasic => "client_secret_basic",
            AuthMethod::ClientSecretPost => "client_secret_post",
            AuthMethod::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// Every method, by name.
    pub fn names() -> Vec<String> {
        Self::ALL.map(|method| method.as_str().to_owned()).into()
    }

    /// Whether a secret that we share with the client is behind it.
    pub fn has_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }
}

impl Authentication {
    pub(super) fn of_registration(members: &Map<String, Value>) -> Result<Self, OauthError> {
        refuse_two_key_sets(members)?;
        let method = match text(members, "token_endpoint_auth_method")? {
            None => AuthMethod::ClientSecretBasic,
            Some(name) => AuthMethod::parse(&name).ok_or_else(|| {
                invalid(
                    "token_endpoint_auth_method must be none, client_secret_basic, client_secret_post or private_key_jwt",
                )
            })?,
        };
        match method {
            AuthMethod::PrivateKeyJwt => Self::signing(members),
            _ => Ok(Self::with(method)),
        }
    }

    /// A document is public, so it can hold no secret. One that offers `none` beside signed assertions, as ChatGPT's does,
    /// is a client that comes in either way.
    pub(super) fn of_document(members: &Map<String, Value>) -> Result<Self, OauthError> {
        refuse_two_key_sets(members)?;
        let preferred = text(members, "token_endpoint_auth_method")?;
        let offered = texts(members, "token_endpoint_auth_methods_supported")?.unwrap_or_default();
        let has_secret = preferred.as_deref().is_some_and(|method| method.starts_with("client_secret_"));
        let offers = |method: AuthMethod| {
            preferred.as_deref() == Some(method.as_str()) || offered.iter().any(|name| name == method.as_str())
        };
        let is_public = offers(AuthMethod::None) || (preferred.is_none() && offered.is_empty());
        if members.contains_key("client_secret") || (has_secret && !is_public) {
            return Err(invalid("a client metadata document is public and cannot use a client secret"));
        }
        if !offers(AuthMethod::PrivateKeyJwt) {
            return Ok(Self::with(AuthMethod::None));
        }
        match Self::signing(members) {
            Ok(signing) => Ok(Self { or_public: is_public, ..signing }),
            Err(_) if is_public => Ok(Self::with(AuthMethod::None)),
            Err(error) => Err(error),
        }
    }

    fn with(method: AuthMethod) -> Self {
        Self { method, or_public: false, keys: None, signing_alg: None }
    }

    fn signing(members: &Map<String, Value>) -> Result<Self, OauthError> {
        let keys = match (members.get("jwks"), text(members, "jwks_uri")?) {
            (Some(set), None) => match KeySet::parse(set) {
                Ok(_) => ClientKeys::Inline(set.clone()),
                Err(_) => return Err(invalid("jwks must be a JWK set with public signing keys")),
            },
            (None, Some(url)) if is_fetchable(&url) => ClientKeys::Remote(url),
            (None, Some(_)) => return Err(invalid("jwks_uri must be an https URL without user information")),
            _ => return Err(invalid("private_key_jwt needs jwks or jwks_uri")),
        };
        let signing_alg = text(members, "token_endpoint_auth_signing_alg")?;
        if signing_alg.as_deref().is_some_and(|name| !jose::ALGORITHMS.contains(&name) && name != "Ed25519") {
            return Err(invalid("token_endpoint_auth_signing_alg must be one of ES256, ES384, EdDSA, RS256, PS256"));
        }
        Ok(Self { keys: Some(keys), signing_alg, ..Self::with(AuthMethod::PrivateKeyJwt) })
    }
}

fn refuse_two_key_sets(members: &Map<String, Value>) -> Result<(), OauthError> {
    match members.contains_key("jwks") && members.contains_key("jwks_uri") {
        true => Err(invalid("jwks and jwks_uri must not both be there")),
        false => Ok(()),
    }
}

/// Whether it can be the address of a key set at all; whether it may be asked is decided when it is.
fn is_fetchable(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(v4)) => v4.is_loopback(),
        Some(Host::Ipv6(v6)) => v6.is_loopback(),
        None => return false,
    };
    let scheme_fits = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    scheme_fits
        && text.len() <= 2048
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
}
