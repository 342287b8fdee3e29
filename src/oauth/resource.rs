//! Resource indicators (RFC 8707 §2): absolute URLs, and which of them lie within others.

use url::Url;

/// A resource identifier: an absolute http or https URL without user and fragment, as it was written.
pub fn parse(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_graphic()))?;
    let plain = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && plain).then_some(url)
}

/// Whether `inner` is `outer` or lies below it: on the same origin, at its path or, after a slash, under it. Dots in paths
/// are resolved first. A query narrows a resource down and has nothing below it.
pub fn covers(outer: &str, inner: &str) -> bool {
    if outer == inner {
        return true;
    }
    let (Some(outer), Some(inner)) = (parse(outer), parse(inner)) else { return false };
    if outer.origin() != inner.origin() || outer.query().is_some() {
        return false;
    }
    let below = inner.path().strip_prefix(outer.path().trim_end_matches('/'));
    below.is_some_and(|rest| rest.starts_with('/') || (rest.is_empty() && inner.query().is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b46_what_lies_within_a_resource() {
        let origin = "https://a.example";
        for inner in ["https://a.example", "https://a.example/", "https://a.example/mcp", "https://A.example/?x"] {
            assert!(covers(origin, inner), "{inner}");
        }
        let outer = "https://a.example/mcp";
        for inner in [outer, "https://a.example/mcp/", "https://a.example/mcp/x", "https://a.example/mcp?tenant=1"] {
            assert!(covers(outer, inner), "{inner}");
        }
        for inner in [
            origin,
            "https://a.example/mcpx",
            "https://a.example/mcp/../files",
            "https://a.example/mcp/%2e%2e/files",
            "https://a.example:8443/mcp",
            "http://a.example/mcp",
            "https://b.example/mcp",
            "https://x@a.example/mcp",
            "https://a.example/mcp#x",
            "mcp",
            "",
        ] {
            assert!(!covers(outer, inner), "{inner}");
        }
        assert!(!covers("https://a.example/mcp?tenant=1", "https://a.example/mcp?tenant=2"));
        assert!(!covers("https://a.example/mcp?tenant=1", "https://a.example/mcp/x?tenant=1"));
    }

    #[test]
    fn what_is_a_resource() {
        assert!(parse("https://a.example/mcp?x").is_some());
        for text in
            ["ftp://a.example", "a.example", "https://a.example/#x", "https://u:p@a.example", "https://a.example/ x"]
        {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
