//! The paths that are ours, in one place: what an MCP hostname reserves (DESIGN 1.2) and how well-known documents
//! carry the path of a resource (RFC 8414 §3.1, RFC 9728 §3.1).

/// `/.well-known/oauth-protected-resource`, RFC 9728.
pub const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";
/// `/.well-known/oauth-authorization-server`, RFC 8414.
pub const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
/// `/.well-known/openid-configuration`, OpenID Connect Discovery 1.0.
pub const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";

/// Whether the gateway is up, on the root domain: for whoever watches over it.
pub const HEALTH: &str = "/health";

/// The unified endpoint, on the root domain; with the root's origin in front the resource of its tokens (RFC 8707).
pub const UNIFIED: &str = "/mcp";

/// The admin API, on the root domain; with the root's origin in front the resource of its tokens (RFC 8707).
pub const API: &str = "/api/v1";

const ENDPOINTS: [&str; 6] = ["/authorize", "/token", "/revoke", "/introspect", "/jwks", "/device_authorization"];

/// Whether a path on an MCP hostname is answered by us and never forwarded. `path` is the raw path of the request
/// target, undecoded: a percent-encoded spelling of a reserved path is the upstream's, and reaches it as it was sent.
pub fn is_reserved(path: &str) -> bool {
    if !path.starts_with("/.well-known/") {
        return ENDPOINTS.contains(&path) || is_or_below(path, "/register") || path.ends_with(OPENID_CONFIGURATION);
    }
    [PROTECTED_RESOURCE, AUTHORIZATION_SERVER, OPENID_CONFIGURATION].iter().any(|base| is_or_below(path, base))
}

/// Whether a path on the root domain is the unified endpoint's: its own, or one of the transport of 2024 below it.
pub fn is_unified(path: &str) -> bool {
    is_or_below(path, UNIFIED)
}

fn is_or_below(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The well-known address of `kind` for an identifier with `path`: the kind is put in front of the path. A bare slash
/// is removed first, as both RFCs ask.
pub fn inserted(kind: &str, path: &str) -> String {
    format!("{kind}{}", if path == "/" { "" } else { path })
}

/// Where a person goes on to: `text` when it is a path on the root domain in plain ASCII, else the start page. Browsers
/// read `\` as `/` and drop tabs and line breaks, so that `/\evil.example` and `/<tab>/evil.example` lead elsewhere.
pub fn local_path(text: &str) -> &str {
    let local = text.starts_with('/')
        && !text.starts_with("//")
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if local { text } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_paths_are_exactly_those_of_the_contract() {
        for path in [
            "/authorize",
            "/token",
            "/register",
            "/register/abc",
            "/revoke",
            "/introspect",
            "/jwks",
            "/device_authorization",
            "/.well-known/oauth-protected-resource",
            "/.well-known/oauth-protected-resource/mcp",
            "/.well-known/oauth-authorization-server/a/b",
            "/.well-known/openid-configuration",
            "/mcp/.well-known/openid-configuration",
        ] {
            assert!(is_reserved(path), "{path}");
        }
        for path in [
            "/",
            "/mcp",
            "/authorize/x",
            "/tokens",
            "/token/",
            "/registered",
            "/.well-known/oauth-protected-resources",
            "/.well-known/mcp",
            "/%74oken",
            "/mcp/.well-known/oauth-authorization-server",
        ] {
            assert!(!is_reserved(path), "{path}");
        }
    }

    #[test]
    fn the_unified_endpoint_is_one_path_and_what_is_below_it() {
        for path in ["/mcp", "/mcp/", "/mcp/sse", "/mcp/messages"] {
            assert!(is_unified(path), "{path}");
        }
        for path in ["", "/", "/mcps", "/MCP", "/%6dcp", "/api/v1/mcp", "//mcp"] {
            assert!(!is_unified(path), "{path}");
        }
    }

    #[test]
    fn the_path_goes_behind_the_kind() {
        assert_eq!(inserted(PROTECTED_RESOURCE, "/mcp"), "/.well-known/oauth-protected-resource/mcp");
        assert_eq!(inserted(PROTECTED_RESOURCE, "/"), PROTECTED_RESOURCE);
    }

    #[test]
    fn nobody_is_sent_elsewhere() {
        for good in ["/", "/authorize/abc?x=1&y=%2F", "/oauth/start?server=mcp.example", "/.//x"] {
            assert_eq!(local_path(good), good);
        }
        for bad in [
            "",
            "evil.example",
            "https://evil.example/",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/a\\b",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r\nLocation: x",
            " /",
            "/a b",
            "javascript:alert(1)",
            "/\u{2215}evil",
            "/\u{0}",
        ] {
            assert_eq!(local_path(bad), "/", "{bad:?}");
        }
    }
}
