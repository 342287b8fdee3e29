//! The first steps of the way of a request over plain types, for tests of who may go how far: no sockets, nothing forwarded.

use super::admit;
use super::route::{Route, Router};
use crate::connect::ConnectionKey;
use crate::hostname::Site;
use crate::ratelimit::RateLimits;
use crate::tokens::AccessTokens;
use crate::upstream::{HealthTable, Registry};
use http::{Method, StatusCode, header};
use pingora::http::RequestHeader;
use std::sync::Arc;

/// Where requests to upstreams are judged.
pub(crate) struct Trial {
    router: Router,
    tokens: Arc<AccessTokens>,
    limits: Arc<RateLimits>,
}

impl Trial {
    pub(crate) fn new(
        (site, registry, health): (Site, Arc<Registry>, HealthTable),
        tokens: Arc<AccessTokens>,
        limits: Arc<RateLimits>,
    ) -> Self {
        Self { router: Router::new(site, registry, health), tokens, limits }
    }

    /// Whose connection a request with this token to this host may use; otherwise the status that it is refused with.
    pub(crate) async fn admits(&self, host: &str, token: &str) -> Result<ConnectionKey, StatusCode> {
        let mut head = RequestHeader::build(Method::POST, b"/mcp", None).unwrap();
        head.insert_header(header::HOST, host).unwrap();
        head.insert_header(header::AUTHORIZATION, format!("Bearer {token}")).unwrap();
        let target = match self.router.route_head(&head) {
            Ok(Route::Upstream(target)) => target,
            Ok(_) => panic!("{host} leads to no upstream"),
            Err(refusal) => return Err(refusal.status()),
        };
        let permit = admit::admit(&self.tokens, &self.limits, &target, &head).await;
        permit.map(|permit| permit.key().clone()).map_err(|refusal| refusal.status())
    }
}
