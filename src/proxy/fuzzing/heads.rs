//! What of a head goes on.

use super::super::headers::{CallerHead, Delivery, Isolation, UpstreamHead};
use super::super::http1::Framing;
use crate::connect::fuzzing::credential;
use crate::fuzzing::Input;
use crate::hostname::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::sync::LazyLock;
use url::Url;

static UPSTREAM: LazyLock<Authority> = LazyLock::new(|| Authority::parse("mcp.example").unwrap());

/// What is injected, which no caller may say.
const SECRET: &str = "Bearer of-the-upstream";

/// Names that mean something to somebody, beside those that a fuzzer makes up.
const NAMES: [&str; 56] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "forwarded",
    "host",
    "keep-alive",
    "mcp-session-id",
    "mcp-name",
    "origin",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-api-key",
    "x-forwarded-for",
    "x-forwarded-host",
    "x_forwarded_user",
    "x-real-ip",
    "x-original-url",
    "x-portcullis-user",
    "dpop",
    "expect",
    "sec-fetch-site",
    "service-worker",
    "true-client-ip",
    "remote-user",
    "traceparent",
    "tracestate",
    "set-cookie",
    "set-cookie2",
    "clear-site-data",
    "alt-svc",
    "content-security-policy",
    "strict-transport-security",
    "location",
    "content-location",
    "refresh",
    "report-to",
    "nel",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "service-worker-allowed",
    "www-authenticate",
    "x-accel-redirect",
    "x-sendfile",
    "link",
    "retry-after",
    "x-frame-options",
    "referrer-policy",
    "x-content-type-options",
];

/// A head out of names that matter and names that do not.
fn fields(input: &mut Input<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for _ in 0..input.below(12) {
        let name = match input.below(5) {
            0 => HeaderName::from_bytes(input.bytes(20)),
            1 => HeaderName::from_bytes(
                format!("{}{}", input.pick(&["x-forwarded-", "sec-fetch-", "x-", "access-control-"]), input.text(8))
                    .as_bytes(),
            ),
            _ => HeaderName::from_bytes(input.pick(&NAMES).as_bytes()),
        };
        let value = match input.below(4) {
            // Nominations.
            0 => HeaderValue::from_str(&format!("{}, {}", input.pick(&NAMES), input.pick(&NAMES).to_ascii_uppercase())),
            1 => Ok(HeaderValue::from_static("close")),
            _ => HeaderValue::from_bytes(input.bytes(40)),
        };
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// The fields that `Connection` nominates, in lower case.
fn nominated(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

fn is_one_line(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// What reaches the upstream: our credential once, one host, one framing, nothing that somebody could take for ours or that was
/// meant for us, and everything else untouched.
pub(crate) fn hygiene_request(data: &[u8]) {
    const THEIRS: [&str; 3] = ["authorization", "x-api-key", "mcp-session-id"];
    let mut input = Input::new(data);
    let headers = fields(&mut input);
    let name = input.coin().then(|| HeaderName::from_static(input.pick(&THEIRS[..2])));
    let credential = credential(&UPSTREAM, name.map(|name| (name, HeaderValue::from_static(SECRET))));
    let framing = input.pick(&[Framing::None, Framing::Length(7), Framing::Chunked, Framing::Upgrade]);
    let uncompressed = input.coin();
    let mut head = pingora::http::RequestHeader::build_no_case(Method::POST, b"/mcp", None).unwrap();
    for (name, value) in &headers {
        head.append_header(name.clone(), value.clone()).unwrap();
    }
    let sent = UpstreamHead {
        request: &head,
        host: "mcp.example",
        credential: &credential,
        framing,
        trace: None,
        uncompressed,
    };
    let mut out: Vec<(String, Vec<u8>)> = Vec::new();
    sent.each(|name, value| out.push((name.as_str().to_owned(), value.to_vec())));
    let all =
        |name: &str| out.iter().filter(|(known, _)| known == name).map(|(_, value)| &value[..]).collect::<Vec<_>>();

    assert!(out.iter().all(|(name, value)| is_one_line(value) && !name.contains(['_', ' ', ':'])));
    assert_eq!(all("host"), [b"mcp.example"]);
    match credential.header() {
        Some((name, _)) => assert_eq!(all(name.as_str()), [SECRET.as_bytes()]),
        None => assert!(all("authorization").is_empty()),
    }
    if credential.header().is_none_or(|(name, _)| name != "authorization") {
        assert!(all("authorization").is_empty(), "the caller's credential goes on");
    }
    let (length, coding) = (all("content-length"), all("transfer-encoding"));
    match framing {
        Framing::None => assert!(length.is_empty() && coding.is_empty()),
        Framing::Length(_) => assert!(length == [b"7"] && coding.is_empty()),
        Framing::Chunked => assert!(length.is_empty() && coding == [b"chunked"]),
        Framing::Upgrade => assert!(length.is_empty() && coding.is_empty() && all("upgrade") == [b"websocket"]),
    }
    if framing != Framing::Upgrade {
        assert!(all("connection").is_empty() && all("upgrade").is_empty());
    }
    let nominated = nominated(&headers);
    for (name, value) in &out {
        let ours = ["host", "content-length", "transfer-encoding", "connection", "upgrade"].contains(&name.as_str())
            || credential.header().is_some_and(|(injected, _)| injected == name.as_str())
            || uncompressed && name == "accept-encoding";
        let never = [
            "cookie",
            "forwarded",
            "x-real-ip",
            "x-remote-user",
            "remote-user",
            "origin",
            "dpop",
            "te",
            "trailer",
            "keep-alive",
            "proxy",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
        ];
        let by_prefix = ["x-forwarded-", "x-portcullis-", "sec-fetch-", "x-original-"];
        assert!(ours || !never.contains(&name.as_str()), "{name} goes on");
        assert!(ours || !by_prefix.iter().any(|prefix| name.starts_with(prefix)), "{name} goes on");
        assert!(ours || !nominated.contains(name), "{name} was for the next hop only");
        assert!(
            ours || headers.get_all(name.as_str()).iter().any(|sent| sent.as_bytes() == value),
            "{name} was not sent"
        );
    }
    if uncompressed {
        assert_eq!(all("accept-encoding"), [b"identity"]);
    }
    // What is nobody's business goes through, in its order.
    for name in ["accept", "content-type", "mcp-name", "mcp-session-id", "link", "retry-after"] {
        if !nominated.contains(&name.to_owned()) && credential.header().is_none_or(|(injected, _)| injected != name) {
            let sent: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            assert_eq!(all(name), sent, "{name} was changed");
        }
    }
    // HTTP/2 gets the same, framed otherwise.
    let two = sent.to_header().unwrap();
    assert!(!two.headers.contains_key(header::TRANSFER_ENCODING));
    assert_eq!(two.headers.len(), out.len() - coding.len());
}

/// What reaches the caller's browser: nothing that changes how it treats our hostname, and no way out of it.
pub(crate) fn hygiene_answer(data: &[u8]) {
    let mut input = Input::new(data);
    let headers = fields(&mut input);
    let location = input.coin().then(|| {
        let beginning = input.pick(&[
            "",
            "https://mcp.example",
            "https://mcp.example/",
            "//mcp.example",
            "https://mcp.example:443//",
            "https://mcp.example@",
            "HTTPS://MCP.example/",
        ]);
        format!("{beginning}{}", input.text(40))
    });
    let delivery = Delivery { events: input.coin(), changes: input.coin(), chunked: input.coin() };
    let mut head = pingora::http::ResponseHeader::build_no_case(200, None).unwrap();
    for (name, value) in &headers {
        head.append_header(name.clone(), value.clone()).unwrap();
    }
    let location = location.and_then(|location| HeaderValue::from_str(&location).ok());
    if let Some(location) = &location {
        head.append_header(header::LOCATION, location.clone()).unwrap();
    }
    let origin = HeaderValue::from_static("https://app.example");
    let allowed_origin = input.coin().then_some(&origin);
    let isolation = Isolation { upstream: &UPSTREAM, allowed_origin, challenge: None };
    let sent = CallerHead { response: &head, isolation: &isolation, delivery };
    let mut out: Vec<(String, Vec<u8>)> = Vec::new();
    sent.each(|name, value| out.push((name.as_str().to_owned(), value.to_vec())));
    let all =
        |name: &str| out.iter().filter(|(known, _)| known == name).map(|(_, value)| &value[..]).collect::<Vec<_>>();

    assert!(out.iter().all(|(_, value)| is_one_line(value)));
    assert_eq!(all("content-security-policy"), [b"sandbox; default-src 'none'; frame-ancestors 'none'"]);
    assert_eq!(
        (all("x-content-type-options"), all("referrer-policy")),
        (vec![&b"nosniff"[..]], vec![&b"no-referrer"[..]])
    );
    for never in [
        "set-cookie",
        "set-cookie2",
        "clear-site-data",
        "alt-svc",
        "strict-transport-security",
        "refresh",
        "report-to",
        "nel",
        "service-worker-allowed",
        "www-authenticate",
        "x-accel-redirect",
        "x-sendfile",
        "access-control-allow-credentials",
        "keep-alive",
        "connection",
        "upgrade",
        "te",
        "trailer",
        "proxy-authorization",
        "x-portcullis-user",
    ] {
        assert!(all(never).is_empty(), "{never} reaches the browser");
    }
    match allowed_origin {
        Some(_) => assert_eq!(all("access-control-allow-origin"), [b"https://app.example"]),
        None => assert!(all("access-control-allow-origin").is_empty()),
    }
    let (length, coding) = (all("content-length"), all("transfer-encoding"));
    assert!(
        length.len() + coding.len() < 2 && coding.iter().all(|coding| *coding == b"chunked"),
        "{length:?} {coding:?}"
    );
    assert!(!delivery.changes || length.is_empty(), "a length that is no longer true");
    let nominated = nominated(&head.headers);
    for name in ["mcp-session-id", "content-type", "retry-after", "link"] {
        if !nominated.contains(&name.to_owned()) {
            let said: Vec<&[u8]> = head.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            assert_eq!(all(name), said, "{name} was changed");
        }
    }
    // Redirections of the upstream to itself stay here, all others are what they were.
    let here = Url::parse("https://label.gw.example/mcp").unwrap();
    let was: Vec<&[u8]> = head.headers.get_all("location").iter().map(HeaderValue::as_bytes).collect();
    for value in all("location") {
        if !was.contains(&value) {
            let path = std::str::from_utf8(value).unwrap();
            assert!(path.starts_with('/') && !path.starts_with("//"), "{path:?}");
            assert_eq!(
                here.join(path).map(|url| url.origin()).unwrap_or(here.origin()),
                here.origin(),
                "{path:?} leads away"
            );
        }
    }
    assert_eq!(sent.to_header().unwrap().headers.len(), out.len());
}
