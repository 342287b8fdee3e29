//! Header hygiene in both directions (decision 4): what never reaches an upstream, and what an upstream never tells a
//! browser that also knows the dashboard.

use super::endpoint::path_at;
use crate::connect::Credential;
use crate::hostname::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{OrErr, Result};

/// Hop-by-hop fields (RFC 9110 §7.6.1, and the ones that only habit made so).
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a caller may not tell an upstream: its own credentials for us, who and where it claims to be, and how its page
/// relates to our hostname. A server that guards itself against foreign pages by these would judge a page that it never
/// sees: we have judged it.
const FROM_CALLER: [&str; 22] = [
    "host",
    "authorization",
    "cf-connecting-ip",
    "client-ip",
    "content-length",
    "cookie",
    "cookie2",
    "dpop",
    "expect",
    "forwarded",
    "origin",
    "remote-user",
    "service-worker",
    "true-client-ip",
    "via",
    "x-client-id",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-real-ip",
    "x-remote-user",
    "x-user-id",
    "x-user-name",
];
const FROM_CALLER_BY_PREFIX: [&str; 5] =
    ["access-control-request-", "sec-fetch-", "x-forwarded-", "x-original-", "x-portcullis-"];

/// What an upstream may not tell a browser, or a proxy in front of us: state, routing and policy for a host that is ours,
/// and how to be authorized at it.
const FROM_UPSTREAM: [&str; 25] = [
    "accept-ch",
    "activate-storage-access",
    "alt-svc",
    "authentication-info",
    "clear-site-data",
    "content-security-policy",
    "content-security-policy-report-only",
    "dpop-nonce",
    "nel",
    "public-key-pins",
    "public-key-pins-report-only",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "secure-session-registration",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "set-login",
    "speculation-rules",
    "strict-transport-security",
    "www-authenticate",
    "x-lighttpd-send-file",
    "x-reproxy-url",
    "x-sendfile",
];
const FROM_UPSTREAM_BY_PREFIX: [&str; 4] = ["access-control-", "sec-session-", "x-accel-", "x-portcullis-"];

const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");

/// The fields of a caller's request that go on to the upstream, in their order. The rest is ours to write.
pub(super) fn forwardable(request: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let nominated = Nominated::of(request);
    request.iter().filter(move |(name, _)| {
        let name = name.as_str();
        !is_ours(name) && !nominated.contains(name)
    })
}

/// The head of the request to the upstream: the caller's fields, then `Host`, the credential, and the framing.
///
/// # Errors
/// When the path is not a valid request target.
pub(super) fn for_upstream(
    request: &RequestHeader,
    path: &[u8],
    host: &str,
    credential: &Credential,
    framing: Framing,
) -> Result<RequestHeader> {
    let size = request.headers.len() + 4;
    let mut head = RequestHeader::build_no_case(request.method.clone(), path, Some(size))?;
    for (name, value) in forwardable(&request.headers) {
        if credential.header().is_none_or(|(ours, _)| ours != name) {
            head.append_header(name.clone(), value.clone())?;
        }
    }
    head.insert_header(header::HOST, host)?;
    if let Some((name, value)) = credential.header() {
        head.insert_header(name.clone(), value.clone())?;
    }
    match framing {
        Framing::None => {}
        Framing::Length(length) => head.insert_header(header::CONTENT_LENGTH, length)?,
        Framing::Chunked => head.insert_header(header::TRANSFER_ENCODING, "chunked")?,
        Framing::Upgrade => {
            head.insert_header(header::CONNECTION, "Upgrade")?;
            head.insert_header(header::UPGRADE, "websocket")?;
        }
    }
    Ok(head)
}

/// How the body of a request to an upstream is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    None,
    /// Its length is known, in bytes.
    Length(u64),
    /// It ends when it ends.
    Chunked,
    /// It is no body but a WebSocket to be.
    Upgrade,
}

/// What an upstream's response is kept apart from, and who may read it all the same.
pub(super) struct Isolation<'a> {
    /// Whose response it is.
    pub(super) upstream: &'a Authority,
    /// The page that asked, if it may read the answer.
    pub(super) allowed_origin: Option<&'a HeaderValue>,
    /// Our own challenge in the place of the upstream's.
    pub(super) challenge: Option<&'a HeaderValue>,
}

impl Isolation<'_> {
    /// A redirection of the upstream to itself stays on our hostname: as a path, which the caller resolves (RFC 9110
    /// §10.2.2).
    fn path_here(&self, name: &HeaderName, value: &HeaderValue) -> Option<HeaderValue> {
        if name != header::LOCATION && name != header::CONTENT_LOCATION {
            return None;
        }
        HeaderValue::try_from(path_at(value.to_str().ok()?, self.upstream)?).ok()
    }
}

/// Turns an upstream's response head into ours: hop-by-hop and policy fields out, isolation in.
///
/// # Errors
/// Never in practice: only constant field values are added, and parts of such as came.
pub(super) fn for_caller(response: &ResponseHeader, isolation: &Isolation<'_>) -> Result<Box<ResponseHeader>> {
    let mut head = ResponseHeader::build_no_case(response.status, Some(response.headers.len() + 6))?;
    let nominated = Nominated::of(&response.headers);
    for (name, value) in &response.headers {
        let text = name.as_str();
        let theirs = HOP_BY_HOP.contains(&text)
            || FROM_UPSTREAM.contains(&text)
            || FROM_UPSTREAM_BY_PREFIX.iter().any(|prefix| text.starts_with(prefix));
        if theirs || nominated.contains(text) {
            continue;
        }
        let here = isolation.path_here(name, value);
        head.append_header(name.clone(), here.unwrap_or_else(|| value.clone()))?;
    }
    isolate(&mut head)?;
    if let Some(challenge) = isolation.challenge {
        head.insert_header(header::WWW_AUTHENTICATE, challenge.clone())?;
    }
    if let Some(origin) = isolation.allowed_origin {
        allow_origin(&mut head, origin)?;
    }
    Ok(head.into())
}

/// The same head in memory of its own. Values of [`for_caller`] are parts of the buffer that the upstream's head was read
/// into; a stream would keep all of it for as long as it lives.
///
/// # Errors
/// Never: what is copied was a head before.
pub(super) fn detached(head: &ResponseHeader) -> Result<Box<ResponseHeader>> {
    let mut copy = ResponseHeader::build_no_case(head.status, Some(head.headers.len()))?;
    for (name, value) in &head.headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).or_err(pingora::ErrorType::InternalError, "a copy")?;
        copy.append_header(name.clone(), value)?;
    }
    Ok(Box::new(copy))
}

/// Upstream content must not act as a page of ours, whatever it is.
pub(super) fn isolate(head: &mut ResponseHeader) -> Result<()> {
    head.insert_header(header::CONTENT_SECURITY_POLICY, SANDBOX)?;
    head.insert_header(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF)?;
    head.insert_header(header::REFERRER_POLICY, NO_REFERRER)
}

/// Lets the page of an allowed origin read the answer, and the fields that MCP clients need (Fetch, CORS protocol).
pub(super) fn allow_origin(head: &mut ResponseHeader, origin: &HeaderValue) -> Result<()> {
    head.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())?;
    head.insert_header(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        "WWW-Authenticate, DPoP-Nonce, Mcp-Session-Id, MCP-Protocol-Version, Location, Retry-After, RateLimit, RateLimit-Policy",
    )?;
    head.append_header(header::VARY, "Origin").map(drop).or_err(pingora::ErrorType::InternalError, "constant field")
}

/// Fields that only we may write, in a caller's request.
fn is_ours(name: &str) -> bool {
    // Servers that speak CGI read `X_Forwarded_For` as `X-Forwarded-For`; no standard field has an underscore.
    HOP_BY_HOP.contains(&name)
        || FROM_CALLER.contains(&name)
        || FROM_CALLER_BY_PREFIX.iter().any(|prefix| name.starts_with(prefix))
        || name.contains('_')
}

/// The fields that `Connection` nominates as hop-by-hop (RFC 9110 §7.6.1).
struct Nominated<'a>(Option<Vec<&'a str>>);

impl<'a> Nominated<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut values = headers.get_all(header::CONNECTION).iter().peekable();
        if values.peek().is_none() {
            return Self(None);
        }
        let names = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim);
        Self(Some(names.filter(|name| !name.is_empty()).collect()))
    }

    fn contains(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|names| names.iter().any(|nominated| nominated.eq_ignore_ascii_case(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        forwardable(headers).map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a17_a24_a26_callers_cannot_speak_for_us() {
        let headers = request(&[
            ("accept", "*/*"),
            ("authorization", "Bearer theirs"),
            ("cookie", "portcullis=x"),
            ("host", "notes.localhost"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x_forwarded_user", "root"),
            ("x-user-id", "root"),
            ("dpop", "theirs"),
            ("origin", "http://localhost:6274"),
            ("sec-fetch-site", "cross-site"),
            ("true-client-ip", "1.2.3.4"),
            ("x-original-url", "/admin"),
            ("forwarded", "for=1.2.3.4"),
            ("proxy-authorization", "Basic x"),
            ("connection", "keep-alive, X-Trace"),
            ("x-trace", "1"),
            ("mcp-session-id", "s"),
            ("mcp-param-x", "1"),
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
        ]);
        assert_eq!(names(&headers), ["accept", "mcp-session-id", "mcp-param-x"]);
    }

    fn passed(response: &ResponseHeader, allowed_origin: Option<&HeaderValue>) -> ResponseHeader {
        let upstream = Authority::parse("mcp.example").unwrap();
        *for_caller(response, &Isolation { upstream: &upstream, allowed_origin, challenge: None }).unwrap()
    }

    #[test]
    fn upstreams_cannot_speak_for_us_either() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("content-type", "text/html"),
            ("set-cookie", "portcullis=evil"),
            ("clear-site-data", "*"),
            ("access-control-allow-origin", "*"),
            ("content-security-policy", "default-src *"),
            ("strict-transport-security", "max-age=1"),
            ("alt-svc", "h3"),
            ("www-authenticate", "Bearer resource_metadata=\"https://evil.example/\""),
            ("access-control-allow-private-network", "true"),
            ("x-accel-redirect", "/etc/passwd"),
            ("x-accel-buffering", "yes"),
            ("dpop-nonce", "theirs"),
            ("refresh", "0; url=https://evil.example/"),
            ("connection", "close, x-internal"),
            ("x-internal", "1"),
            ("mcp-session-id", "s"),
        ] {
            response.append_header(name, value).unwrap();
        }
        let head = passed(&response, None);
        let mut names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["content-security-policy", "content-type", "mcp-session-id", "referrer-policy", "x-content-type-options"]
        );
        assert_eq!(head.headers["content-security-policy"], SANDBOX);
    }

    #[test]
    fn an_allowed_page_may_read_what_a_client_needs() {
        let origin = HeaderValue::from_static("http://localhost:6274");
        let head = passed(&ResponseHeader::build(200, None).unwrap(), Some(&origin));
        assert_eq!(head.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], origin);
        assert!(head.headers.get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS).is_none());
    }
}
