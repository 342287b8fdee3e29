//! Browser origins on MCP hostnames: who may call (MCP transport security, DNS rebinding) and what a preflight is told.

use super::session::ServerSession;
use super::{headers, reply};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use url::Url;

const ASKS_FOR_PRIVATE_NETWORK: &str = "access-control-request-private-network";

/// What the `Origin` field of a request means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin<'a> {
    /// Not from a browser's page.
    Absent,
    /// From a page that may call.
    Allowed(&'a HeaderValue),
    /// From any other page: 403.
    Forbidden,
}

/// Which origins may call.
pub(super) struct OriginPolicy {
    allowed: Vec<String>,
}

impl OriginPolicy {
    /// `configured` origins and the root's own; loopback origins are always allowed, since a page there is a program on
    /// the person's own machine.
    pub(super) fn new(configured: &[String], root_origin: String) -> Self {
        let mut allowed = configured.to_vec();
        allowed.push(root_origin);
        Self { allowed }
    }

    /// Judges a request.
    pub(super) fn judge<'a>(&self, headers: &'a HeaderMap) -> Origin<'a> {
        let mut values = headers.get_all(header::ORIGIN).iter();
        let Some(value) = values.next() else { return Origin::Absent };
        match value.to_str() {
            Ok(text) if values.next().is_none() && self.allows(text) => Origin::Allowed(value),
            _ => Origin::Forbidden,
        }
    }

    fn allows(&self, origin: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == origin) || is_loopback(origin)
    }
}

/// Whether a browser fetches the script of a service worker, which would see every request to this hostname from then on
/// (Service Workers §Update: browsers never leave the field out; Fetch Metadata says it too).
pub(super) fn is_service_worker_script(headers: &HeaderMap) -> bool {
    headers.contains_key("service-worker")
        || headers.get("sec-fetch-dest").is_some_and(|destination| destination == "serviceworker")
}

/// Whether a browser asks, before the request itself, whether its page may send it (Fetch, CORS protocol).
pub(super) fn is_preflight(session: &ServerSession) -> bool {
    let head = session.req_header();
    head.method == Method::OPTIONS && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers a preflight of an allowed page; it never reaches the upstream, which has no say in who may call us.
pub(super) async fn preflight(session: &mut ServerSession, origin: &HeaderValue) -> pingora::Result<StatusCode> {
    let mut head = ResponseHeader::build_no_case(StatusCode::NO_CONTENT, Some(6))?;
    headers::allow_origin(&mut head, origin)?;
    head.insert_header(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, PATCH, DELETE, OPTIONS")?;
    let asked = session.get_header(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    head.insert_header(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        asked.unwrap_or_else(|| HeaderValue::from_static("Authorization, Content-Type, DPoP, MCP-Protocol-Version")),
    )?;
    // Chromium asks this way whether a public page may call an address of a private network (Private Network Access).
    if session.get_header(ASKS_FOR_PRIVATE_NETWORK).is_some_and(|asked| asked == "true") {
        head.insert_header("access-control-allow-private-network", "true")?;
    }
    head.insert_header(header::ACCESS_CONTROL_MAX_AGE, "600")?;
    reply::write_whole(session, head, Bytes::new()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn is_loopback(origin: &str) -> bool {
    let Ok(url) = Url::parse(origin) else { return false };
    let canonical = url.origin().ascii_serialization() == origin;
    canonical
        && matches!(url.scheme(), "http" | "https")
        && match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(origin: &'static str) -> bool {
        let policy = OriginPolicy::new(&["https://claude.ai".to_owned()], "https://gw.example".to_owned());
        let headers = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
        matches!(policy.judge(&headers), Origin::Allowed(_))
    }

    #[test]
    fn a34_only_known_origins_may_call() {
        for good in [
            "https://claude.ai",
            "https://gw.example",
            "http://localhost:6274",
            "http://127.0.0.1:6274",
            "http://[::1]:1",
        ] {
            assert!(allows(good), "{good}");
        }
        for bad in [
            "https://evil.example",
            "null",
            "https://claude.ai.evil.example",
            "http://claude.ai",
            "https://x.gw.example",
            "http://localhost.evil.example",
            "http://localhost:6274/",
            "http://user@localhost",
            "file://",
        ] {
            assert!(!allows(bad), "{bad}");
        }
    }

    #[test]
    fn two_origins_are_none() {
        let policy = OriginPolicy::new(&[], "https://gw.example".to_owned());
        let mut headers = HeaderMap::new();
        assert_eq!(policy.judge(&headers), Origin::Absent);
        headers.append(header::ORIGIN, HeaderValue::from_static("https://gw.example"));
        headers.append(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert_eq!(policy.judge(&headers), Origin::Forbidden);
    }
}
