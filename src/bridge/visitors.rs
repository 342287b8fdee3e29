//! Who may connect to a bridge: programs of this machine, and pages of this machine. A page of anywhere else could make a browser
//! ask here (DNS rebinding; MCP, Transports, Security Warning), so names and origins are compared before anything else.

use crate::error::Fault;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where the server is. Everything else is nowhere, above all what clients try when they look for an authorization server.
const PATHS: [&str; 6] = ["/", "/mcp", "/mcp/sse", "/mcp/messages", "/sse", "/messages"];

/// Who may connect.
pub struct Visitors {
    /// Lower case, without ports.
    hosts: Vec<String>,
}

impl Visitors {
    /// Loopback names, and those that were named.
    ///
    /// # Errors
    /// When it listens to others and nobody said by which name they come.
    pub fn new(listen: SocketAddr, allowed_hosts: &[String]) -> Result<Self, Fault> {
        if !listen.ip().is_loopback() && allowed_hosts.is_empty() {
            let why = "lets others connect, without sign-in: say by which name they do with --allowed-host, or listen on \
                       127.0.0.1";
            return Err(Fault::caller(format!("{listen} {why}")));
        }
        let hosts = allowed_hosts.iter().map(|host| host_of(host).to_ascii_lowercase()).collect();
        Ok(Self { hosts })
    }

    /// The routes, for those who may connect.
    pub(super) fn admit(self, routes: Router) -> Router {
        routes.layer(middleware::from_fn_with_state(Arc::new(self), admit))
    }

    fn knows(&self, host: &str) -> bool {
        let host = host_of(host);
        is_loopback(host) || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    /// Whether a page of this origin may ask; one without an origin is no page.
    fn lets_in(&self, origin: &HeaderValue) -> bool {
        let host = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        host.is_some_and(|(scheme, host)| matches!(scheme, "http" | "https") && self.knows(host))
    }
}

async fn admit(State(visitors): State<Arc<Visitors>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let Some(host) = only(headers, header::HOST).and_then(|host| host.to_str().ok()) else {
        return refuse(StatusCode::BAD_REQUEST, "a request names one Host");
    };
    if !visitors.knows(host) {
        return refuse(StatusCode::FORBIDDEN, "this name is not known here: start the bridge with --allowed-host");
    }
    let origin = only(headers, header::ORIGIN).cloned();
    let forbidden = headers.contains_key(header::ORIGIN) && !origin.as_ref().is_some_and(|one| visitors.lets_in(one));
    if forbidden {
        return refuse(StatusCode::FORBIDDEN, "pages of this origin may not ask: start the bridge with --allowed-host");
    }
    if !PATHS.contains(&request.uri().path()) {
        return refuse(StatusCode::NOT_FOUND, "the MCP server is at /mcp");
    }
    let preflight = request.method() == Method::OPTIONS && headers.contains_key("access-control-request-method");
    let asked = headers.get("access-control-request-headers").cloned();
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    if let Some(origin) = origin {
        permit(response.headers_mut(), origin, asked);
    }
    response
}

/// Tells the browser of a page that may ask (Fetch, CORS protocol).
fn permit(headers: &mut HeaderMap, origin: HeaderValue, asked: Option<HeaderValue>) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Mcp-Session-Id"));
    if let Some(asked) = asked {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
        let methods = HeaderValue::from_static("GET, POST, DELETE, OPTIONS");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
}

fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

fn refuse(status: StatusCode, why: &'static str) -> Response {
    (status, format!("{why}\n")).into_response()
}

/// A host without its port.
fn host_of(text: &str) -> &str {
    match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => text,
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::any;
    use tower::ServiceExt;

    fn listen(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    async fn status(headers: &[(&str, &str)], path: &str) -> StatusCode {
        let visitors = Visitors::new(listen("127.0.0.1:0"), &["Box.example:8000".to_owned()]).unwrap();
        let routes = visitors.admit(Router::new().fallback(any(|| async { "in" })));
        let request =
            headers.iter().fold(Request::builder().uri(path), |request, (name, value)| request.header(*name, *value));
        routes.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
    }

    #[tokio::test]
    async fn names_of_this_machine_and_those_that_were_named_are_known() {
        for host in
            ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "127.9.9.9", "[::1]:8000", "box.example", "BOX.example:9"]
        {
            assert_eq!(status(&[("host", host)], "/mcp").await, StatusCode::OK, "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "", "box.example.evil.example", "[::2]"] {
            assert_eq!(status(&[("host", host)], "/mcp").await, StatusCode::FORBIDDEN, "{host}");
        }
        assert_eq!(status(&[], "/mcp").await, StatusCode::BAD_REQUEST);
        assert_eq!(status(&[("host", "localhost"), ("host", "localhost")], "/mcp").await, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn pages_of_elsewhere_may_not_ask() {
        let host = ("host", "localhost");
        for origin in ["http://localhost:6274", "http://127.0.0.1", "https://box.example"] {
            assert_eq!(status(&[host, ("origin", origin)], "/mcp").await, StatusCode::OK, "{origin}");
        }
        for origin in ["https://evil.example", "null", "", "file://localhost", "http://localhost.evil.example"] {
            assert_eq!(status(&[host, ("origin", origin)], "/mcp").await, StatusCode::FORBIDDEN, "{origin}");
        }
        let twice = [host, ("origin", "http://localhost"), ("origin", "http://localhost")];
        assert_eq!(status(&twice, "/mcp").await, StatusCode::FORBIDDEN);
    }

    #[tokio::test]
    async fn nothing_is_beside_the_server() {
        let host = [("host", "localhost")];
        for path in ["/.well-known/oauth-protected-resource", "/register", "/mcp/x"] {
            assert_eq!(status(&host, path).await, StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn a33_others_connect_only_if_that_was_said() {
        assert!(Visitors::new(listen("0.0.0.0:8000"), &[]).is_err());
        assert!(Visitors::new(listen("0.0.0.0:8000"), &["box".to_owned()]).is_ok());
        assert!(Visitors::new(listen("[::1]:0"), &[]).is_ok());
    }
}
