//! The first step: whose is this request? Decided from the raw host and path, without I/O.

use super::reply::Refusal;
use super::session::ServerSession;
use crate::hostname::{HostName, Realm, Site};
use crate::ids::UserId;
use crate::paths;
pub(super) use crate::upstream::Destination as Target;
use crate::upstream::{Destinations, HealthTable, Registry};
use http::header;
use pingora::http::RequestHeader;
use std::sync::Arc;

/// The largest head of a request, in bytes of names, values and target. Sessions read a little more.
const MAX_HEAD: usize = 64 * 1024;
/// Why a target is refused.
pub(super) const BAD_TARGET: &str = "the request target has a character that must be percent-encoded";

/// Where a request goes.
pub(super) enum Route {
    /// To the control plane, in process.
    Local(Realm),
    /// To the unified endpoint, in process.
    Unified,
    /// A person typed a loopback address where the gateway is called `localhost`.
    Rename,
    /// To an upstream.
    Upstream(Arc<Target>),
}

/// Turns hosts into targets.
pub(super) struct Router(Destinations);

impl Router {
    pub(super) fn new(site: Site, registry: Arc<Registry>, health: HealthTable) -> Self {
        Self(Destinations::new(site, registry, health))
    }

    /// Routes a request.
    ///
    /// # Errors
    /// The refusal to send.
    pub(super) fn route(&self, session: &ServerSession) -> Result<Route, Refusal> {
        self.route_head(session.req_header())
    }

    /// The same by the request's head, which is all that it goes by.
    pub(super) fn route_head(&self, head: &RequestHeader) -> Result<Route, Refusal> {
        check_head(head)?;
        check_target(head)?;
        let host = host_of(head)?;
        if let Some(target) = self.0.remembered(host) {
            return Ok(self.within(target, head));
        }
        match self.0.site().classify(host) {
            HostName::Root if paths::is_unified(head.uri.path()) => Ok(Route::Unified),
            HostName::Root => Ok(Route::Local(Realm::Root)),
            HostName::Loopback => Ok(Route::Rename),
            HostName::Foreign => Err(Refusal::NotFound),
            HostName::Mcp(label) => {
                let target = self.0.of(label).ok_or(Refusal::NotFound)?;
                Ok(self.within(target, head))
            }
        }
    }

    /// Whether a person who was admitted may still use the upstream.
    pub(super) fn still_admits(&self, user: UserId, target: &Target) -> bool {
        self.0.registry().find(&target.label).is_some_and(|upstream| upstream.access.admits(user))
    }

    fn within(&self, target: Arc<Target>, head: &RequestHeader) -> Route {
        if paths::is_reserved(head.uri.path()) {
            Route::Local(Realm::Mcp(target.label.clone()))
        } else {
            Route::Upstream(target)
        }
    }
}

/// The request's host: `Host` for HTTP/1.1, `:authority` for HTTP/2. Sessions have made sure that they do not
/// contradict each other.
pub(super) fn host_of(head: &RequestHeader) -> Result<&str, Refusal> {
    let host = match head.headers.get(header::HOST) {
        Some(value) => value.to_str().ok(),
        None => head.uri.authority().map(|authority| authority.as_str()),
    };
    let valid = |host: &&str| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
    };
    host.filter(valid).ok_or(Refusal::BadRequest("the Host header is missing or not a host name"))
}

pub(super) fn check_head(head: &RequestHeader) -> Result<(), Refusal> {
    let fields: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let target = head.raw_path();
    if fields + target.len() > MAX_HEAD {
        return Err(Refusal::HeadTooLarge);
    }
    if head.method == http::Method::CONNECT {
        return Err(Refusal::BadRequest("this is no forward proxy"));
    }
    Ok(())
}

/// The target: as it came in HTTP/2, where sessions of HTTP/1.1 have looked for themselves (RFC 9112 §3.2), and whether it can be
/// written in origin form, or is the asterisk of OPTIONS (RFC 9112 §3.2.1, §3.2.4). An upstream would take another one for no request,
/// or for something else.
pub(super) fn check_target(head: &RequestHeader) -> Result<(), Refusal> {
    if !head.raw_path_is_utf8() {
        return Err(Refusal::BadRequest(BAD_TARGET));
    }
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    if target.starts_with('/') || target == "*" && head.method == http::Method::OPTIONS {
        return Ok(());
    }
    Err(Refusal::BadRequest("the request target must begin with a slash"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn a_target_begins_with_a_slash() {
        let is_taken = |method: Method, target: &str| {
            check_target(&RequestHeader::build_no_case(method, target.as_bytes(), None).unwrap()).is_ok()
        };
        for (method, target) in
            [(Method::GET, "/"), (Method::POST, "/mcp?x"), (Method::POST, "//mcp"), (Method::OPTIONS, "*")]
        {
            assert!(is_taken(method, target), "{target}");
        }
        for (method, target) in [(Method::POST, "*"), (Method::GET, "*")] {
            assert!(!is_taken(method, target), "{target}");
        }
    }

    #[test]
    fn a_head_has_bounds_and_nobody_is_forwarded_by_name() {
        let head = |method: &str, fields: usize| {
            let mut head = RequestHeader::build_no_case(method, b"/mcp", None).unwrap();
            for number in 0..fields {
                head.append_header(format!("x-{number}"), "v".repeat(1000)).unwrap();
            }
            head
        };
        assert!(check_head(&head("GET", 64)).is_ok());
        assert!(matches!(check_head(&head("GET", 66)), Err(Refusal::HeadTooLarge)));
        assert!(matches!(check_head(&head("CONNECT", 0)), Err(Refusal::BadRequest(_))));
    }
}
