//! Header hygiene in both directions (decision 4): what never reaches an upstream, and what an upstream never tells a
//! browser that also knows the dashboard. Heads are described here and written where they go, without a map in between.

mod names;

use super::endpoint::path_at;
use super::http1::{BodyOfAnswer, Framing, size_of};
use crate::connect::Credential;
use crate::hostname::Authority;
use crate::telemetry::{TRACEPARENT, TRACESTATE, TraceContext};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use names::Names;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{OrErr, Result};
use std::io::Write;

/// Hop-by-hop fields (RFC 9110 §7.6.1, and the ones that only habit made so).
const HOP_BY_HOP: Names = Names::new(&[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
]);

/// What a caller may not tell an upstream: its own credentials for us, who and where it claims to be, and how its page
/// relates to our hostname. A server that guards itself against foreign pages by these would judge a page that it never
/// sees: we have judged it.
const FROM_CALLER: Names = Names::new(&[
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
    // CGI makes HTTP_PROXY of it, and libraries believe that (CVE-2016-5385 and its siblings).
    "proxy",
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
]);
const FROM_CALLER_BY_PREFIX: [&str; 5] =
    ["access-control-request-", "sec-fetch-", "x-forwarded-", "x-original-", "x-portcullis-"];

/// What an upstream may not tell a browser, or a proxy in front of us: state, routing and policy for a host that is ours,
/// and how to be authorized at it.
const FROM_UPSTREAM: Names = Names::new(&[
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
]);
const FROM_UPSTREAM_BY_PREFIX: [&str; 4] = ["access-control-", "sec-session-", "x-accel-", "x-portcullis-"];

const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");

/// What every answer of an upstream is given in the place of its own.
const ISOLATION: [(HeaderName, HeaderValue); 3] = [
    (header::CONTENT_SECURITY_POLICY, SANDBOX),
    (header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF),
    (header::REFERRER_POLICY, NO_REFERRER),
];
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "WWW-Authenticate, DPoP-Nonce, Mcp-Session-Id, MCP-Protocol-Version, Location, Retry-After, RateLimit, RateLimit-Policy",
);
/// Tells nginx and its like in front of us not to collect a stream.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The fields of a caller's request that go on to the upstream, in their order. The rest is ours to write.
pub(super) fn forwardable(request: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let nominated = Nominated::of(request);
    request.iter().filter(move |(name, _)| {
        let name = name.as_str();
        !is_ours(name) && !nominated.contains(name)
    })
}

/// The head of a request to an upstream: the caller's fields, then `Host`, the credential, and the framing.
pub(super) struct UpstreamHead<'a> {
    /// The caller's.
    pub(super) request: &'a RequestHeader,
    /// The upstream.
    pub(super) host: &'a str,
    pub(super) credential: &'a Credential,
    pub(super) framing: Framing,
    /// Our place in the trace, in the place of the caller's.
    pub(super) trace: Option<&'a TraceContext>,
    /// Whether the answer is to be read on its way back, and so must not be compressed.
    pub(super) uncompressed: bool,
}

impl UpstreamHead<'_> {
    pub(super) fn method(&self) -> &Method {
        &self.request.method
    }

    /// In origin form (RFC 9112 §3.2.1).
    pub(super) fn target(&self) -> &str {
        self.request.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// About how many bytes the fields take.
    pub(super) fn size(&self) -> usize {
        let credential = self.credential.header().map_or(0, |(name, value)| name.as_str().len() + value.len());
        size_of(&self.request.headers) + self.host.len() + credential + 64
    }

    /// Gives out every field, in their order.
    pub(super) fn each(&self, mut put: impl FnMut(&HeaderName, &[u8])) {
        let credential = self.credential.header();
        for (name, value) in forwardable(&self.request.headers) {
            let replaced = credential.is_some_and(|(ours, _)| ours == name)
                || self.uncompressed && name == header::ACCEPT_ENCODING
                || self.trace.is_some() && (*name == TRACEPARENT || *name == TRACESTATE);
            if !replaced {
                put(name, value.as_bytes());
            }
        }
        put(&header::HOST, self.host.as_bytes());
        if let Some((name, value)) = credential {
            put(name, value.as_bytes());
        }
        if self.uncompressed {
            put(&header::ACCEPT_ENCODING, b"identity");
        }
        if let Some((parent, state)) = self.trace.map(TraceContext::fields) {
            put(&TRACEPARENT, parent.as_bytes());
            if let Some(state) = state {
                put(&TRACESTATE, state.as_bytes());
            }
        }
        match self.framing {
            Framing::None => {}
            Framing::Length(length) => put(&header::CONTENT_LENGTH, decimal(length, &mut [0; 20])),
            Framing::Chunked => put(&header::TRANSFER_ENCODING, b"chunked"),
            Framing::Upgrade => {
                put(&header::CONNECTION, b"Upgrade");
                put(&header::UPGRADE, b"websocket");
            }
        }
    }

    /// The same for HTTP/2, where frames say how a body is delimited (RFC 9113 §8.2.2).
    ///
    /// # Errors
    /// When the target is not valid.
    pub(super) fn to_header(&self) -> Result<RequestHeader> {
        let size = self.request.headers.len() + 4;
        let mut head = RequestHeader::build_no_case(self.request.method.clone(), self.target().as_bytes(), Some(size))?;
        let mut appended = Ok(());
        self.each(|name, value| {
            if *name != header::TRANSFER_ENCODING && appended.is_ok() {
                appended = field(value).and_then(|value| head.append_header(name.clone(), value).map(drop));
            }
        });
        appended.map(|()| head)
    }
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

/// The head of an upstream's answer as a caller gets it: hop-by-hop and policy fields out, isolation in.
pub(super) struct CallerHead<'a> {
    /// The upstream's.
    pub(super) response: &'a ResponseHeader,
    pub(super) isolation: &'a Isolation<'a>,
    pub(super) delivery: Delivery,
}

/// How the body of an answer gets to the caller.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivery {
    /// It is a stream of events.
    pub(super) events: bool,
    /// Something is put into it or taken out, so that its length is no longer what was announced.
    pub(super) changes: bool,
    /// A caller that speaks HTTP/1.1 is to be told where the body ends.
    pub(super) chunked: bool,
}

impl CallerHead<'_> {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status
    }

    /// Whether the upstream says when it answered.
    pub(super) fn is_dated(&self) -> bool {
        self.response.headers.contains_key(header::DATE)
    }

    /// About how many bytes the fields take.
    pub(super) fn size(&self) -> usize {
        size_of(&self.response.headers) + 320
    }

    /// How the body tells its end.
    pub(super) fn body(&self) -> BodyOfAnswer {
        match BodyOfAnswer::of(&self.response.headers) {
            BodyOfAnswer::Length(length) if !self.delivery.changes => BodyOfAnswer::Length(length),
            _ if self.delivery.chunked => BodyOfAnswer::Chunked,
            _ => BodyOfAnswer::UntilClose,
        }
    }

    /// Gives out every field, in their order.
    pub(super) fn each(&self, mut put: impl FnMut(&HeaderName, &[u8])) {
        let Self { response, isolation, delivery } = self;
        let (nominated, body) = (Nominated::of(&response.headers), self.body());
        // One framing, said once: what is there several times over (RFC 9110 §8.6) could be read in several ways behind us.
        let mut length = if let BodyOfAnswer::Length(length) = body { Some(length) } else { None };
        for (name, value) in &response.headers {
            // Whatever an upstream nominates: without its length a caller waits for more.
            if name == header::CONTENT_LENGTH {
                if let Some(length) = length.take() {
                    put(name, decimal(length, &mut [0; 20]));
                }
                continue;
            }
            if !is_theirs(name) || nominated.contains(name.as_str()) {
                continue;
            }
            match isolation.path_here(name, value) {
                Some(path) => put(name, path.as_bytes()),
                None => put(name, value.as_bytes()),
            }
        }
        ISOLATION.iter().for_each(|(name, value)| put(name, value.as_bytes()));
        if let Some(challenge) = isolation.challenge {
            put(&header::WWW_AUTHENTICATE, challenge.as_bytes());
        }
        if let Some(origin) = isolation.allowed_origin {
            put(&header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.as_bytes());
            put(&header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED.as_bytes());
            put(&header::VARY, b"Origin");
        }
        if delivery.events {
            put(&ACCEL_BUFFERING, b"no");
        }
        if let BodyOfAnswer::Chunked = body {
            put(&header::TRANSFER_ENCODING, b"chunked");
        }
    }

    /// The same as a value. Nothing in it is a part of the buffer that the upstream's head was read into, which a stream would keep
    /// for as long as it lives.
    ///
    /// # Errors
    /// Never in practice: the values were values before.
    pub(super) fn to_header(&self) -> Result<Box<ResponseHeader>> {
        let mut head = ResponseHeader::build_no_case(self.response.status, Some(self.response.headers.len() + 6))?;
        let mut appended = Ok(());
        self.each(|name, value| {
            if appended.is_ok() {
                appended = field(value).and_then(|value| head.append_header(name.clone(), value).map(drop));
            }
        });
        appended.map(|()| Box::new(head))
    }
}

/// Upstream content must not act as a page of ours, whatever it is.
pub(super) fn isolate(head: &mut ResponseHeader) -> Result<()> {
    ISOLATION.into_iter().try_for_each(|(name, value)| head.insert_header(name, value))
}

/// Lets the page of an allowed origin read the answer, and the fields that MCP clients need (Fetch, CORS protocol).
pub(super) fn allow_origin(head: &mut ResponseHeader, origin: &HeaderValue) -> Result<()> {
    head.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())?;
    head.insert_header(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED)?;
    head.append_header(header::VARY, "Origin").map(drop).or_err(pingora::ErrorType::InternalError, "constant field")
}

/// Fields that only we may write, in a caller's request.
fn is_ours(name: &str) -> bool {
    // Servers that speak CGI read `X_Forwarded_For` as `X-Forwarded-For`; no standard field has an underscore.
    HOP_BY_HOP.contains(name)
        || FROM_CALLER.contains(name)
        || FROM_CALLER_BY_PREFIX.iter().any(|prefix| name.starts_with(prefix))
        || name.contains('_')
}

/// Fields that upstreams may write in an answer to a caller.
fn is_theirs(name: &HeaderName) -> bool {
    let text = name.as_str();
    let ours = HOP_BY_HOP.contains(text)
        || FROM_UPSTREAM.contains(text)
        || FROM_UPSTREAM_BY_PREFIX.iter().any(|prefix| text.starts_with(prefix))
        || ISOLATION.iter().any(|(ours, _)| ours == name);
    !ours
}

fn field(value: &[u8]) -> Result<HeaderValue> {
    HeaderValue::from_bytes(value).or_err(pingora::ErrorType::InvalidHTTPHeader, "a value that was one")
}

/// A number in digits, written into `room`.
fn decimal(number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut rest = &mut room[..];
    // Twenty digits are enough for the largest.
    let _ = write!(rest, "{number}");
    let left = rest.len();
    &room[..room.len() - left]
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
            ("proxy", "http://evil.example"),
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
        let isolation = Isolation { upstream: &upstream, allowed_origin, challenge: None };
        *CallerHead { response, isolation: &isolation, delivery: Delivery::default() }.to_header().unwrap()
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
    fn an_answer_has_one_framing() {
        let framed = |fields: &[(&'static str, &'static str)]| {
            let mut response = ResponseHeader::build(200, None).unwrap();
            for (name, value) in fields {
                response.append_header(*name, *value).unwrap();
            }
            let upstream = Authority::parse("mcp.example").unwrap();
            let isolation = Isolation { upstream: &upstream, allowed_origin: None, challenge: None };
            let delivery = Delivery { chunked: true, ..Delivery::default() };
            let head = *CallerHead { response: &response, isolation: &isolation, delivery }.to_header().unwrap();
            let of = |name| {
                let values: Vec<_> = head.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
                values.join("|")
            };
            (of(header::CONTENT_LENGTH), of(header::TRANSFER_ENCODING))
        };
        let (length, coding) = (("content-length", "5"), ("transfer-encoding", "chunked"));
        assert_eq!(framed(&[length]), ("5".to_owned(), String::new()));
        assert_eq!(framed(&[length, length]), ("5".to_owned(), String::new()));
        assert_eq!(framed(&[("content-length", "5, 05")]), ("5".to_owned(), String::new()));
        assert_eq!(framed(&[length, coding]), (String::new(), "chunked".to_owned()));
        assert_eq!(framed(&[length, ("content-length", "6")]), (String::new(), "chunked".to_owned()));
    }

    #[test]
    fn an_allowed_page_may_read_what_a_client_needs() {
        let origin = HeaderValue::from_static("http://localhost:6274");
        let head = passed(&ResponseHeader::build(200, None).unwrap(), Some(&origin));
        assert_eq!(head.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], origin);
        assert!(head.headers.get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS).is_none());
    }

    #[test]
    fn numbers_are_written_in_digits() {
        for number in [0, 7, 10, 1_234_567, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
