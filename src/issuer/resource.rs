//! Resource indicators (RFC 8707): which resource a client may name at a realm, and when two spellings are one.

use super::parameters::Parameters;
use crate::hostname::Realm;
use crate::oauth::error::{Code, OauthError};
use crate::oauth::scope::{ADMIN, Scopes};
use crate::paths;
use crate::upstream::Upstream;
use url::Url;

/// What a request asks for.
pub(super) struct Asked {
    /// Space-separated.
    pub(super) scope: String,
    /// One of ours.
    pub(super) resource: String,
}

/// `scope` and `resource` of a request at a realm with its origin. The scope of the admin API means nothing elsewhere on
/// the root domain, and is left out there (RFC 6749 §3.3): clients ask for whatever the metadata lists.
///
/// # Errors
/// `invalid_scope`, `invalid_target`.
pub(super) fn asked(
    parameters: &Parameters,
    (realm, issuer): (&Realm, &str),
    default: String,
) -> Result<Asked, OauthError> {
    let scope = Scopes::parse(parameters.get("scope").unwrap_or_default())
        .map_err(|_| OauthError::new(Code::InvalidScope, "scope has characters that no scope may have"))?;
    let resource = requested(parameters.get("resource"), issuer, default)?;
    let is_elsewhere = *realm == Realm::Root && resource != format!("{issuer}{}", paths::API);
    let scope = if is_elsewhere { scope.without(ADMIN) } else { scope };
    Ok(Asked { scope: scope.to_string(), resource })
}

/// The resource of a client that names none (RFC 8707 §2 leaves it to us): the MCP endpoint, as far as we know it.
pub(super) fn default(origin: &str, upstream: Option<&Upstream>) -> String {
    let path = match upstream {
        None => Some("/mcp"),
        Some(upstream) => upstream.path.as_deref().filter(|path| path.starts_with('/')),
    };
    format!("{origin}{}", path.unwrap_or_default())
}

/// Whether tokens of this scope, issued in the realm of this key, open the admin API.
pub(super) fn is_administration(realm: &str, scope: &str) -> bool {
    realm.is_empty() && scope.split(' ').any(|one| one == ADMIN)
}

/// The resource of a request at the realm whose origin is `issuer`: exactly as the client wrote it, or `default`.
///
/// # Errors
/// `invalid_target` when it is not an address on that very origin, or has a fragment.
pub(super) fn requested(named: Option<&str>, issuer: &str, default: String) -> Result<String, OauthError> {
    let Some(named) = named else { return Ok(default) };
    let foreign = || OauthError::new(Code::InvalidTarget, "the resource does not belong to this authorization server");
    let (resource, own) = (Url::parse(named).map_err(|_| foreign())?, Url::parse(issuer).map_err(|_| foreign())?);
    let is_ours = resource.origin() == own.origin()
        && resource.fragment().is_none()
        && resource.username().is_empty()
        && resource.password().is_none()
        && named.bytes().all(|b| b.is_ascii_graphic());
    if is_ours { Ok(named.to_owned()) } else { Err(foreign()) }
}

/// Whether two texts name one resource: slashes at the root are compared loosely, everything else to the letter.
pub(super) fn same(a: &str, b: &str) -> bool {
    a == b || (is_root(a) && is_root(b) && a.trim_end_matches('/') == b.trim_end_matches('/'))
}

/// The path of a resource, unless it is the root.
pub(super) fn path(resource: &str) -> Option<String> {
    let url = Url::parse(resource).ok()?;
    (url.path() != "/").then(|| url.path().to_owned())
}

fn is_root(resource: &str) -> bool {
    Url::parse(resource).is_ok_and(|url| url.path() == "/" && url.query().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b31_b32_only_this_origin_and_exactly_as_written() {
        let issuer = "https://notes.gw.example";
        let named = |resource| requested(Some(resource), issuer, String::new());
        for good in ["https://notes.gw.example", "https://notes.gw.example/", "https://notes.gw.example/mcp/x"] {
            assert_eq!(named(good).unwrap(), good);
        }
        for bad in [
            "https://gw.example/mcp",
            "https://other.gw.example/mcp",
            "http://notes.gw.example/mcp",
            "https://notes.gw.example:8443/mcp",
            "https://notes.gw.example/mcp#x",
            "https://a@notes.gw.example/mcp",
            "https://notes.gw.example.evil.example/",
            "/mcp",
            "mcp",
        ] {
            assert_eq!(named(bad).unwrap_err().error, Code::InvalidTarget, "{bad}");
        }
        assert_eq!(requested(None, issuer, "default".into()).unwrap(), "default");
    }

    #[test]
    fn slashes_are_loose_at_the_root_only() {
        assert!(same("https://a.example", "https://a.example/"));
        assert!(!same("https://a.example/mcp", "https://a.example/mcp/"));
        assert_eq!((path("https://a.example/"), path("https://a.example/m")), (None, Some("/m".into())));
    }
}
