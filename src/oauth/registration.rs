//! Client metadata: dynamic registration (RFC 7591) and client ID metadata documents.

mod auth;
mod members;
#[cfg(test)]
mod tests;

pub use auth::{AuthMethod, ClientKeys};

use super::error::OauthError;
use super::grant_type::{GrantType, GrantTypes};
use super::redirect::RedirectUri;
use super::scope::Scopes;
use auth::Authentication;
use members::{invalid, object, text, texts};
use serde_json::{Map, Value, json};

/// The largest registration request, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// Members that we keep and show or echo, but never act upon.
const ECHOED_URIS: [&str; 4] = ["client_uri", "logo_uri", "tos_uri", "policy_uri"];
const ECHOED_TEXTS: [&str; 2] = ["software_id", "software_version"];

/// A client's metadata, checked, in the form in which it takes effect.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientMetadata {
    /// None for clients that never send a browser to us.
    pub redirect_uris: Vec<RedirectUri>,
    /// For people; at most 200 characters, none of them invisible.
    pub client_name: Option<String>,
    /// How it authenticates.
    pub auth_method: AuthMethod,
    /// Whether it may also come as a public client: only metadata documents can say so.
    or_public: bool,
    /// What its assertions are verified with, of a client that signs some.
    pub keys: Option<ClientKeys>,
    /// The only algorithm of its assertions, if it named one (`token_endpoint_auth_signing_alg`).
    pub signing_alg: Option<String>,
    /// What it may ask the token endpoint for.
    pub grant_types: GrantTypes,
    /// Whether it sends a proof of possession with every token request (RFC 9449 §5.2).
    pub dpop_bound: bool,
    /// As it was written, when it parses.
    pub scope: Option<Scopes>,
    /// `web` or `native`.
    pub application_type: Option<String>,
    /// `client_uri`, when it is an http or https URL.
    pub client_uri: Option<String>,
    /// The other members that are kept.
    echoed: Map<String, Value>,
}

impl ClientMetadata {
    /// Parses a registration request (RFC 7591 §3.1). Without `token_endpoint_auth_method` the client is confidential, as
    /// §2 asks; without `grant_types` it may refresh, because clients forget to ask.
    ///
    /// # Errors
    /// `invalid_redirect_uri` or `invalid_client_metadata`.
    pub fn from_registration(body: &[u8]) -> Result<Self, OauthError> {
        let members = object(body)?;
        let authentication = Authentication::of_registration(&members)?;
        let grant_types = members::grant_types(&members)?;
        Self::from_members(&members, authentication, grant_types)
    }

    /// Parses a client ID metadata document fetched from `url`. Such a client is public, or signs assertions, or either, as
    /// `token_endpoint_auth_method` and `token_endpoint_auth_methods_supported` say.
    ///
    /// # Errors
    /// When `client_id` is not the URL to the letter, the document asks for a shared secret, or as
    /// [`ClientMetadata::from_registration`].
    pub fn from_document(body: &[u8], url: &str) -> Result<Self, OauthError> {
        let members = object(body)?;
        if text(&members, "client_id")?.as_deref() != Some(url) {
            return Err(invalid("client_id in the client metadata document must be the URL of the document"));
        }
        let authentication = Authentication::of_document(&members)?;
        let grant_types = members::grant_types(&members)?;
        Self::from_members(&members, authentication, grant_types)
    }

    /// Parses what [`ClientMetadata::to_json`] made, also of a client that an administrator made.
    ///
    /// # Errors
    /// As [`ClientMetadata::from_registration`]; only for what we did not write.
    pub fn from_stored(body: &[u8]) -> Result<Self, OauthError> {
        let members = object(body)?;
        let authentication = Authentication::of_registration(&members)?;
        let grant_types = members::stored_grant_types(&members)?;
        Self::from_members(&members, authentication, grant_types)
    }

    fn from_members(
        members: &Map<String, Value>,
        authentication: Authentication,
        grant_types: GrantTypes,
    ) -> Result<Self, OauthError> {
        let by_browser = grant_types.contains(GrantType::AuthorizationCode);
        let responses = texts(members, "response_types")?.filter(|types| by_browser && !types.is_empty());
        if responses.is_some_and(|types| !types.iter().any(|kind| kind == "code")) {
            return Err(invalid("response_types must have code"));
        }
        let scope = text(members, "scope")?;
        let scope = scope
            .map(|scope| Scopes::parse(&scope).map_err(|_| invalid("scope has characters that no scope may have")));
        Ok(Self {
            redirect_uris: members::redirect_uris(members, by_browser)?,
            client_name: members::client_name(members)?,
            auth_method: authentication.method,
            or_public: authentication.or_public,
            keys: authentication.keys,
            signing_alg: authentication.signing_alg,
            grant_types,
            dpop_bound: members::flag(members, "dpop_bound_access_tokens")?,
            scope: scope.transpose()?.filter(|scope| !scope.is_empty()),
            application_type: text(members, "application_type")?.filter(|kind| kind == "web" || kind == "native"),
            client_uri: members::uri(members, "client_uri"),
            echoed: members::echoed(members),
        })
    }

    /// Whether the client may use a grant type. A refresh token is only ever issued where this says so.
    pub fn allows(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(grant_type)
    }

    /// Whether the client may authenticate in this way.
    pub fn accepts(&self, method: AuthMethod) -> bool {
        method == self.auth_method || (method == AuthMethod::None && self.or_public)
    }

    /// The metadata in force, as the registration answer echoes it (RFC 7591 §3.2.1) and the store keeps it.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut members = Map::new();
        let uris: Vec<_> = self.redirect_uris.iter().map(RedirectUri::as_str).collect();
        members.insert("redirect_uris".into(), json!(uris));
        if let Some(name) = &self.client_name {
            members.insert("client_name".into(), json!(name));
        }
        let grants: Vec<_> = self.grant_types.iter().map(GrantType::as_str).collect();
        let responses: &[&str] = if self.allows(GrantType::AuthorizationCode) { &["code"] } else { &[] };
        members.insert("grant_types".into(), json!(grants));
        members.insert("response_types".into(), json!(responses));
        members.insert("token_endpoint_auth_method".into(), json!(self.auth_method.as_str()));
        match &self.keys {
            None => None,
            Some(ClientKeys::Inline(set)) => members.insert("jwks".into(), set.clone()),
            Some(ClientKeys::Remote(url)) => members.insert("jwks_uri".into(), json!(url)),
        };
        if let Some(algorithm) = &self.signing_alg {
            members.insert("token_endpoint_auth_signing_alg".into(), json!(algorithm));
        }
        if self.dpop_bound {
            members.insert("dpop_bound_access_tokens".into(), json!(true));
        }
        if let Some(scope) = &self.scope {
            members.insert("scope".into(), json!(scope.to_string()));
        }
        if let Some(kind) = &self.application_type {
            members.insert("application_type".into(), json!(kind));
        }
        members.extend(self.echoed.clone());
        members
    }

    /// The registered URI that a request's `redirect_uri` matches.
    pub fn redirect_uri(&self, requested: &str) -> Option<&RedirectUri> {
        self.redirect_uris.iter().find(|registered| registered.matches(requested))
    }
}
