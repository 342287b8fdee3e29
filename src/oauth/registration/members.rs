//! Reading the members of client metadata, one kind at a time.

use super::{ECHOED_TEXTS, ECHOED_URIS, MAX_BODY};
use crate::oauth::error::{Code, OauthError};
use crate::oauth::grant_type::{GrantType, GrantTypes};
use crate::oauth::redirect::RedirectUri;
use serde_json::{Map, Value, json};

const MAX_REDIRECT_URIS: usize = 20;
const MAX_NAME: usize = 200;
const MAX_TEXT: usize = 2048;

pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, OauthError> {
    if body.len() > MAX_BODY {
        return Err(invalid("client metadata must not be larger than 64 KiB"));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        _ => Err(invalid("client metadata must be a JSON object")),
    }
}

/// The grant types of a client that nobody looked at: those for machines are passed over when there are others beside
/// them, since hosted clients list whatever they know.
pub(super) fn grant_types(members: &Map<String, Value>) -> Result<GrantTypes, OauthError> {
    let Some(listed) = texts(members, "grant_types")? else {
        // Clients forget to ask for refresh tokens.
        return Ok([GrantType::AuthorizationCode, GrantType::RefreshToken].into_iter().collect());
    };
    let known = || listed.iter().filter_map(|name| GrantType::parse(name));
    let open: GrantTypes = known().filter(|one| !one.is_for_machines()).collect();
    if open.contains(GrantType::AuthorizationCode) || open.contains(GrantType::DeviceCode) {
        return Ok(open);
    }
    Err(invalid(match known().any(GrantType::is_for_machines) {
        true => "only an administrator can make clients for client_credentials, token exchange and jwt-bearer",
        false => "grant_types must have authorization_code or urn:ietf:params:oauth:grant-type:device_code",
    }))
}

/// The grant types of a client whose registration we keep.
pub(super) fn stored_grant_types(members: &Map<String, Value>) -> Result<GrantTypes, OauthError> {
    let listed = texts(members, "grant_types")?.unwrap_or_default();
    Ok(listed.iter().filter_map(|name| GrantType::parse(name)).collect())
}

/// `redirect_uris`; only a client that never sends a browser to us may do without.
pub(super) fn redirect_uris(members: &Map<String, Value>, needed: bool) -> Result<Vec<RedirectUri>, OauthError> {
    let uris = texts(members, "redirect_uris")
        .map_err(|_| bad_redirect("redirect_uris must be a list of strings"))?
        .unwrap_or_default();
    if uris.is_empty() && needed {
        return Err(bad_redirect("redirect_uris must have at least one URI"));
    }
    if uris.len() > MAX_REDIRECT_URIS {
        return Err(bad_redirect("redirect_uris must not have more than 20 URIs"));
    }
    uris.iter().map(|uri| RedirectUri::parse(uri).map_err(|error| bad_redirect(error.to_string()))).collect()
}

pub(super) fn client_name(members: &Map<String, Value>) -> Result<Option<String>, OauthError> {
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

pub(super) fn echoed(members: &Map<String, Value>) -> Map<String, Value> {
    let uris = ECHOED_URIS.into_iter().filter_map(|name| Some((name.to_owned(), json!(uri(members, name)?))));
    let texts = ECHOED_TEXTS.into_iter().filter_map(|name| {
        let value = members.get(name)?.as_str().filter(|value| value.len() <= MAX_NAME)?;
        Some((name.to_owned(), json!(value)))
    });
    uris.chain(texts).collect()
}

/// A member that is an http or https URL; anything else is dropped, since nothing depends on it.
pub(super) fn uri(members: &Map<String, Value>, name: &str) -> Option<String> {
    let value = members.get(name)?.as_str().filter(|value| value.len() <= MAX_TEXT)?;
    let url = url::Url::parse(value).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then(|| value.to_owned())
}

pub(super) fn text(members: &Map<String, Value>, name: &'static str) -> Result<Option<String>, OauthError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(format!("{name} must be a string"))),
    }
}

pub(super) fn flag(members: &Map<String, Value>, name: &'static str) -> Result<bool, OauthError> {
    match members.get(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(invalid(format!("{name} must be true or false"))),
    }
}

pub(super) fn texts(members: &Map<String, Value>, name: &'static str) -> Result<Option<Vec<String>>, OauthError> {
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

pub(super) fn invalid(description: impl Into<std::borrow::Cow<'static, str>>) -> OauthError {
    OauthError::new(Code::InvalidClientMetadata, description)
}

pub(super) fn bad_redirect(description: impl Into<std::borrow::Cow<'static, str>>) -> OauthError {
    OauthError::new(Code::InvalidRedirectUri, description)
}
