//! The way of a request to an MCP server of our own: the unified endpoint, or an MCP hostname whose server is a program that we run.

use super::{Outcome, Way};
use crate::proxy::admit;
use crate::proxy::conversation::Conversation;
use crate::proxy::forward::Failure;
use crate::proxy::reply::Refusal;
use crate::proxy::route::Target;
use crate::proxy::session::ServerSession;
use crate::telemetry::{Kind, SharedSpan};
use http::{HeaderMap, HeaderValue, Method, header};
use pingora::http::RequestHeader;
use std::net::IpAddr;

impl Way {
    /// From admission to the last event. `target`: the MCP hostname, if it is not the root domain.
    pub(super) async fn unified(
        &self,
        session: &mut ServerSession,
        target: Option<&Target>,
        (client, trace): (IpAddr, Option<&SharedSpan>),
    ) -> Outcome {
        let allowed_origin = match self.judge(session).await {
            Ok(allowed_origin) => allowed_origin,
            Err(outcome) => return outcome,
        };
        let root = self.site.root_origin();
        let head = session.req_header();
        let admitted = match (self.limits.check_ip(client), target) {
            (Ok(()), Some(target)) => admit::admit_to_one(&self.tokens, &self.limits, target, head).await,
            (Ok(()), None) => admit::admit_to_all(&self.tokens, &self.limits, &root, head).await,
            (Err(limited), _) => Err(Refusal::Limited(limited)),
        };
        let origin = target.map_or(root.as_str(), |target| target.origin.as_str());
        let entry = match admitted {
            Ok(entry) => entry,
            Err(refusal) => return Box::pin(self.refuse_at(session, &refusal, origin, allowed_origin)).await,
        };
        let conversation = Conversation {
            router: &self.unified,
            entry: &entry,
            upstream: target.map(|target| &target.upstream),
            client,
            allowed_origin: allowed_origin.as_ref(),
            bodies: &self.bodies,
            max_body: self.unified_body,
            stopping: self.stopping.stream(),
            max_duration: self.streams.max_duration,
            metrics: &self.metrics,
            audit: &self.audit,
            trace,
        };
        match conversation.serve(session).await {
            Ok(status) => Outcome::Answered(Kind::Local, status),
            Err(Failure::Refused(refusal)) => Box::pin(self.refuse_at(session, &refusal, origin, allowed_origin)).await,
            Err(Failure::Aborted(error)) => Outcome::Aborted(error),
        }
    }

    async fn refuse_at(
        &self,
        session: &mut ServerSession,
        refusal: &Refusal,
        origin: &str,
        allowed_origin: Option<HeaderValue>,
    ) -> Outcome {
        let asked = super::Asked { origin, scope: None, allowed_origin, reader: super::Reader::Mcp };
        super::reply::refuse(session, refusal, &asked).await.map(|()| refusal.status()).into()
    }
}

/// Whether a person has typed the address of the unified endpoint into a browser: told what it is for, in words.
pub(super) fn is_visit(request: &RequestHeader) -> bool {
    request.method == Method::GET
        && !request.headers.contains_key(header::AUTHORIZATION)
        && wants_a_page(&request.headers)
}

fn wants_a_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accepted.contains("text/html") && !accepted.contains("text/event-stream")
}
