//! Whether two texts are the address of one request, apart from query and fragment (RFC 9449 §4.3).

use url::Url;

/// Compares after syntax- and scheme-based normalisation (RFC 3986 §6.2.2, §6.2.3). A WebSocket begins with an HTTP request, so
/// `wss` is as good as `https`.
pub(super) fn same(claimed: &str, ours: &str) -> bool {
    matches!((normal(claimed), normal(ours)), (Some(a), Some(b)) if a == b)
}

fn normal(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let (scheme, default_port) = match url.scheme() {
        "https" | "wss" => ("https", 443),
        "http" | "ws" => ("http", 80),
        _ => return None,
    };
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let port = url.port().unwrap_or(default_port);
    Some(format!("{scheme}://{}:{port}{}", url.host_str()?, unescaped(url.path())))
}

/// The path with the escapes of unreserved characters undone and all others in upper case.
fn unescaped(path: &str) -> String {
    let (mut normal, mut rest) = (String::with_capacity(path.len()), path);
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        normal.push_str(before);
        let octet = escape.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match octet.map(char::from) {
            Some(c) if c.is_ascii_alphanumeric() || "-._~".contains(c) => normal.push(c),
            Some(_) => normal.push_str(&escape[..3].to_ascii_uppercase()),
            None => normal.push('%'),
        }
        rest = &escape[if octet.is_some() { 3 } else { 1 }..];
    }
    normal.push_str(rest);
    normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: &str = "https://notes.gw.example/mcp";

    #[test]
    fn b47_htu_is_compared_as_an_address() {
        for same_address in [
            OURS,
            "HTTPS://Notes.GW.example:443/mcp",
            "https://notes.gw.example/mcp?a=b#c",
            "https://notes.gw.example/%6dcp",
            "https://notes.gw.example/x/../mcp",
            "wss://notes.gw.example/mcp",
        ] {
            assert!(same(same_address, OURS), "{same_address}");
        }
        for other in [
            "http://notes.gw.example/mcp",
            "https://notes.gw.example:8443/mcp",
            "https://files.gw.example/mcp",
            "https://notes.gw.example/MCP",
            "https://notes.gw.example/mcp/",
            "https://notes.gw.example/mcp%2F",
            "https://user@notes.gw.example/mcp",
            "/mcp",
            "",
        ] {
            assert!(!same(other, OURS), "{other}");
        }
        assert!(!same("https://a.example/b%2fc", "https://a.example/b/c"), "an escaped slash parts nothing");
        assert!(same("https://a.example/%e2%82%AC%zz", "https://a.example/%E2%82%ac%zz"));
    }

    proptest! {
        #[test]
        fn nothing_panics(a in "https?://[a-z.]{1,9}/.{0,40}", b in ".{0,40}") {
            prop_assert!(!same(&a, &b) || same(&b, &a));
        }
    }
}
