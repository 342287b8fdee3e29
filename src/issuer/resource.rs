//! Resource indicators (RFC 8707): which resource a client may name at a realm, and when two spellings are one.

use crate::oauth::error::{Code, OauthError};
use url::Url;

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
