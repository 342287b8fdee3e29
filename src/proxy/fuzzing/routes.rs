//! What of a head decides.

use super::super::headers::UpstreamHead;
use super::super::http1::{Framing, fuzzing};
use super::super::route::{check_head, check_target, host_of};
use super::super::{address, endpoint};
use crate::connect::fuzzing::credential;
use crate::fuzzing::Input;
use crate::hostname::{Authority, HostName, Scheme, Site};
use crate::paths;
use http::{HeaderMap, HeaderValue, Method, header};
use std::net::IpAddr;
use std::sync::LazyLock;

static SITE: LazyLock<Site> = LazyLock::new(|| Site::new("gw.example", Scheme::Https, 443));
static UPSTREAM: LazyLock<Authority> = LazyLock::new(|| Authority::parse("mcp.example").unwrap());

/// A head leads where its one host says, by its raw path, and its target reaches the upstream as it was.
pub(crate) fn route(data: &[u8]) {
    let mut input = Input::new(data);
    let text = match input.below(3) {
        0 => input.rest().to_vec(),
        1 => {
            let target = input.bytes(60);
            let host =
                input.pick(&["notes.gw.example", "gw.example", "GW.example:443", "notes.gw.example.", "mcp.example"]);
            [b"GET /", target, b" HTTP/1.1\r\nHost: ", host.as_bytes(), b"\r\n\r\n"].concat()
        }
        _ => {
            let host = input.bytes(60);
            [b"GET http://notes.gw.example/x HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat()
        }
    };
    let Some(head) = fuzzing::request_head(&text) else { return };
    if check_head(&head).is_err() {
        return assert!(head.method == Method::CONNECT || text.len() > 60_000);
    }
    if check_target(&head).is_err() {
        return;
    }
    let Ok(host) = host_of(&head) else { return };
    assert!(!host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '\\', '%', ',']), "{host:?}");
    let named = |value: &HeaderValue| value.as_bytes() == host.as_bytes();
    assert!(head.headers.get(header::HOST).map_or(head.uri.authority().is_some(), named));
    if let (Some(authority), true) = (head.uri.authority(), head.method != Method::CONNECT) {
        assert_eq!(authority.as_str(), host, "two places in one head");
    }
    let path = head.uri.path();
    if let HostName::Mcp(label) = SITE.classify(host) {
        assert!(host.to_ascii_lowercase().starts_with(&format!("{label}.gw.example")));
        let ours = ["/authorize", "/token", "/revoke", "/introspect", "/jwks", "/device_authorization", "/register"]
            .contains(&path);
        assert!(!ours || paths::is_reserved(path));
        assert!(!path.starts_with("/.well-known/oauth-protected-resource/") || paths::is_reserved(path));
    }
    let credential = credential(&UPSTREAM, None);
    let sent = UpstreamHead {
        request: &head,
        host: "mcp.example",
        credential: &credential,
        framing: Framing::None,
        trace: None,
        uncompressed: false,
    };
    let target = sent.target();
    let origin_form = target.starts_with('/') || target == "*" && head.method == Method::OPTIONS;
    assert!(origin_form && !target.contains([' ', '\r', '\n', '#']), "{target:?}");
    let line = text.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap();
    assert!(line.windows(target.len()).any(|part| part == target.as_bytes()) || target == "/", "{target:?}");
}

/// Nobody but a proxy that is trusted says whose a request is.
pub(crate) fn forwarded(data: &[u8]) {
    let mut input = Input::new(data);
    let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    let peers = ["10.0.0.1", "192.0.2.1", "::ffff:10.0.0.1", "fd00::1", "2001:db8::1"];
    let peer: IpAddr = input.pick(&peers).parse().unwrap();
    let mut headers = HeaderMap::new();
    let mut entries: Vec<String> = Vec::new();
    for _ in 0..input.below(4) {
        let line = match input.below(3) {
            0 => input.text(40),
            1 => format!("{}, {}", input.pick(&peers), input.pick(&peers)),
            _ => format!("{},{}", input.text(16), input.pick(&["203.0.113.9", "10.1.1.1", "::1", "1.2.3.4:80", ""])),
        };
        if let Ok(value) = HeaderValue::from_str(&line) {
            entries.extend(value.to_str().map_or_else(
                |_| vec!["?".to_owned()],
                |text| text.split(',').map(|one| one.trim().to_owned()).collect(),
            ));
            headers.append("x-forwarded-for", value);
        }
    }
    let caller = address::of_caller(peer, &headers, &trusted);
    let is_trusted = |address: &IpAddr| {
        let address = address.to_canonical();
        matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10)
            || matches!(address, IpAddr::V6(v6) if v6.segments()[0] >> 8 == 0xfd)
    };
    assert_eq!(address::is_trusted(&peer, &trusted), is_trusted(&peer));
    if !is_trusted(&peer) {
        return assert_eq!(caller, peer.to_canonical());
    }
    // From the right, as far as trusted proxies speak.
    let mut expected = peer.to_canonical();
    for entry in entries.iter().rev() {
        let Ok(address) = entry.parse::<IpAddr>() else { break };
        expected = address.to_canonical();
        if !is_trusted(&expected) {
            break;
        }
    }
    assert_eq!(caller, expected);
    if let Some(path) = endpoint::path_at(&String::from_utf8_lossy(input.rest()), &UPSTREAM) {
        assert!(path.starts_with('/') && !path.starts_with("//"), "{path:?}");
    }
}
