//! Client metadata: dynamic registration (RFC 7591) and client ID metadata documents.

use super::error::{Code, OauthError};
use super::redirect::RedirectUri;
use super::scope::Scopes;
use serde_json::{Map, Value, json};

/// The largest registration request, in bytes.
pub const MAX_BODY: usize = 64 * 1024;
const MAX_REDIRECT_URIS: usize = 20;
const MAX_NAME: usize = 200;
const MAX_TEXT: usize = 2048;

/// Members that we keep and show or echo, but never act upon.
const ECHOED_URIS: [&str; 4] = ["client_uri", "logo_uri", "tos_uri", "policy_uri"];
const ECHOED_TEXTS: [&str; 2] = ["software_id", "software_version"];

/// How a client proves who it is at the token endpoint (RFC 7591 §2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// A public client: PKCE alone.
    None,
    /// HTTP Basic.
    ClientSecretBasic,
    /// In the form.
    ClientSecretPost,
}

impl AuthMethod {
    /// The registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            AuthMethod::None => "none",
            AuthMethod::ClientSecretBasic => "client_secret_basic",
            AuthMethod::ClientSecretPost => "client_secret_post",
        }
    }

    /// Every method, by name.
    pub fn names() -> Vec<String> {
        [Self::None, Self::ClientSecretBasic, Self::ClientSecretPost].map(|method| method.as_str().to_owned()).into()
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::ClientSecretBasic, Self::ClientSecretPost].into_iter().find(|method| method.as_str() == text)
    }
}

/// A client's metadata, checked, in the form in which it takes effect.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientMetadata {
    /// At least one.
    pub redirect_uris: Vec<RedirectUri>,
    /// For people; at most 200 characters, none of them invisible.
    pub client_name: Option<String>,
    /// How it authenticates.
    pub auth_method: AuthMethod,
    /// Whether it may have refresh tokens (`refresh_token` among its grant types).
    pub refresh: bool,
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
    /// Parses a registration request (RFC 7591 §3.1), or what [`ClientMetadata::to_json`] made. Without
    /// `token_endpoint_auth_method` the client is confidential, as §2 asks; without `grant_types` it may refresh, because
    /// clients forget to ask.
    ///
    /// # Errors
    /// `invalid_redirect_uri` or `invalid_client_metadata`.
    pub fn from_registration(body: &[u8]) -> Result<Self, OauthError> {
        let members = object(body)?;
        let auth_method = match text(&members, "token_endpoint_auth_method")? {
            None => AuthMethod::ClientSecretBasic,
            Some(name) => AuthMethod::parse(&name).ok_or_else(|| {
                invalid("token_endpoint_auth_method must be none, client_secret_basic or client_secret_post")
            })?,
        };
        Self::from_members(members, auth_method)
    }

    /// Parses a client ID metadata document fetched from `url`. Such a client is public whatever it would prefer: we ask
    /// for PKCE, and do not verify `private_key_jwt`.
    ///
    /// # Errors
    /// When `client_id` is not the URL to the letter, the document asks for a shared secret, or as
    /// [`ClientMetadata::from_registration`].
    pub fn from_document(body: &[u8], url: &str) -> Result<Self, OauthError> {
        let members = object(body)?;
        if text(&members, "client_id")?.as_deref() != Some(url) {
            return Err(invalid("client_id in the client metadata document must be the URL of the document"));
        }
        let method = text(&members, "token_endpoint_auth_method")?;
        if members.contains_key("client_secret") || method.is_some_and(|method| method.starts_with("client_secret_")) {
            return Err(invalid("a client metadata document is public and cannot use a client secret"));
        }
        Self::from_members(members, AuthMethod::None)
    }

    fn from_members(members: Map<String, Value>, auth_method: AuthMethod) -> Result<Self, OauthError> {
        let grants = texts(&members, "grant_types")?;
        if grants.as_ref().is_some_and(|grants| !grants.iter().any(|grant| grant == "authorization_code")) {
            return Err(invalid("grant_types must have authorization_code"));
        }
        let responses = texts(&members, "response_types")?;
        if responses.is_some_and(|types| !types.is_empty() && !types.iter().any(|kind| kind == "code")) {
            return Err(invalid("response_types must have code"));
        }
        let scope = text(&members, "scope")?;
        let scope = scope
            .map(|scope| Scopes::parse(&scope).map_err(|_| invalid("scope has characters that no scope may have")));
        Ok(Self {
            redirect_uris: redirect_uris(&members)?,
            client_name: client_name(&members)?,
            auth_method,
            refresh: grants.is_none_or(|grants| grants.iter().any(|grant| grant == "refresh_token")),
            dpop_bound: flag(&members, "dpop_bound_access_tokens")?,
            scope: scope.transpose()?.filter(|scope| !scope.is_empty()),
            application_type: text(&members, "application_type")?.filter(|kind| kind == "web" || kind == "native"),
            client_uri: uri(&members, "client_uri"),
            echoed: echoed(&members),
        })
    }

    /// The metadata in force, as the registration answer echoes it (RFC 7591 §3.2.1) and the store keeps it.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut members = Map::new();
        let uris: Vec<_> = self.redirect_uris.iter().map(RedirectUri::as_str).collect();
        members.insert("redirect_uris".into(), json!(uris));
        if let Some(name) = &self.client_name {
            members.insert("client_name".into(), json!(name));
        }
        let mut grants = vec!["authorization_code"];
        grants.extend(self.refresh.then_some("refresh_token"));
        members.insert("grant_types".into(), json!(grants));
        members.insert("response_types".into(), json!(["code"]));
        members.insert("token_endpoint_auth_method".into(), json!(self.auth_method.as_str()));
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

fn object(body: &[u8]) -> Result<Map<String, Value>, OauthError> {
    if body.len() > MAX_BODY {
        return Err(invalid("client metadata must not be larger than 64 KiB"));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        _ => Err(invalid("client metadata must be a JSON object")),
    }
}

fn redirect_uris(members: &Map<String, Value>) -> Result<Vec<RedirectUri>, OauthError> {
    let uris = texts(members, "redirect_uris")
        .map_err(|_| bad_redirect("redirect_uris must be a list of strings"))?
        .unwrap_or_default();
    if uris.is_empty() {
        return Err(bad_redirect("redirect_uris must have at least one URI"));
    }
    if uris.len() > MAX_REDIRECT_URIS {
        return Err(bad_redirect("redirect_uris must not have more than 20 URIs"));
    }
    uris.iter().map(|uri| RedirectUri::parse(uri).map_err(|error| bad_redirect(error.to_string()))).collect()
}

fn client_name(members: &Map<String, Value>) -> Result<Option<String>, OauthError> {
    let Some(name) = text(members, "client_name")? else { return Ok(None) };
    let name: String = name.chars().filter(|c| !is_invisible(*c)).collect();
    let name = name.trim();
    if name.chars().count() > MAX_NAME {
        return Err(invalid("client_name must not be longer than 200 characters"));
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

/// Control characters, and the marks that turn the direction of text around or hide: a name must not be able to
/// disguise the words next to it.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn echoed(members: &Map<String, Value>) -> Map<String, Value> {
    let uris = ECHOED_URIS.into_iter().filter_map(|name| Some((name.to_owned(), json!(uri(members, name)?))));
    let texts = ECHOED_TEXTS.into_iter().filter_map(|name| {
        let value = members.get(name)?.as_str().filter(|value| value.len() <= MAX_NAME)?;
        Some((name.to_owned(), json!(value)))
    });
    uris.chain(texts).collect()
}

/// A member that is an http or https URL; anything else is dropped, since nothing depends on it.
fn uri(members: &Map<String, Value>, name: &str) -> Option<String> {
    let value = members.get(name)?.as_str().filter(|value| value.len() <= MAX_TEXT)?;
    let url = url::Url::parse(value).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then(|| value.to_owned())
}

fn text(members: &Map<String, Value>, name: &'static str) -> Result<Option<String>, OauthError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(format!("{name} must be a string"))),
    }
}

fn flag(members: &Map<String, Value>, name: &'static str) -> Result<bool, OauthError> {
    match members.get(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(invalid(format!("{name} must be true or false"))),
    }
}

fn texts(members: &Map<String, Value>, name: &'static str) -> Result<Option<Vec<String>>, OauthError> {
    let wrong = || invalid(format!("{name} must be a list of strings"));
    match members.get(name) {
        None => Ok(None),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err(wrong()),
    }
}

fn invalid(description: impl Into<std::borrow::Cow<'static, str>>) -> OauthError {
    OauthError::new(Code::InvalidClientMetadata, description)
}

fn bad_redirect(description: impl Into<std::borrow::Cow<'static, str>>) -> OauthError {
    OauthError::new(Code::InvalidRedirectUri, description)
}

#[cfg(test)]
mod tests;
