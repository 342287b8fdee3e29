//! A request to an upstream in log, metrics and audit log, whatever becomes of it.

use super::admit::Permit;
use super::forward::Failure;
use super::peek::Asked;
use super::reply::Refusal;
use super::route::Target;
use super::session::ServerSession;
use crate::activity::OpenStream;
use crate::audit::{Audit, Fate, UpstreamRequest};
use crate::clock::Timestamp;
use crate::mcp::Method;
use crate::telemetry::SharedSpan;
use http::StatusCode;
use pingora::ErrorSource;
use std::net::IpAddr;
use std::time::Instant;

/// The longest name that is remembered, in bytes: MCP recommends 128 for tools.
const MAX_NAME: usize = 256;

/// What is known so far. Dropping it without [`Record::end`] says that the request was broken off.
pub(super) struct Record<'a> {
    audit: &'a Audit,
    begun: Instant,
    trace: Option<&'a SharedSpan>,
    request: Option<UpstreamRequest>,
}

impl<'a> Record<'a> {
    /// For a request that has been admitted.
    pub(super) fn begin(
        audit: &'a Audit,
        target: &Target,
        permit: &Permit,
        (address, trace): (IpAddr, Option<&'a SharedSpan>),
    ) -> Self {
        let request = UpstreamRequest {
            at: Timestamp(0),
            token: permit.token().clone(),
            upstream: target.upstream.clone(),
            address,
            method: Method::NONE,
            name: None,
            calls_a_tool: false,
            listens: false,
            fate: Fate::Failed,
            status: None,
            took: std::time::Duration::ZERO,
        };
        Self { audit, begun: Instant::now(), trace, request: Some(request) }
    }

    /// What it asks for is known.
    pub(super) fn asks(&mut self, asked: Asked<'_>) {
        if let Some(trace) = self.trace {
            trace.asks(asked.method.label(), asked.name.as_deref());
        }
        if let Some(request) = &mut self.request {
            request.method = asked.method;
            request.calls_a_tool = asked.calls_a_tool;
            request.name = asked.name.map(|name| name[..name.floor_char_boundary(MAX_NAME)].into());
        }
    }

    /// Whether the body could not be looked at.
    pub(super) fn is_unclear(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.calls_a_tool && request.method == Method::NONE)
    }

    /// Its answer is a stream, or nothing but one: counted until what comes back is dropped.
    pub(super) fn streams(&mut self) -> Option<OpenStream> {
        let request = self.request.as_mut()?;
        // The stream that answers a request ends with the answer.
        request.listens = matches!(request.method, Method::NONE | Method::LISTEN);
        Some(self.audit.opened(&request.token, Some(&request.upstream)))
    }

    /// It is over.
    pub(super) fn end(mut self, session: &ServerSession, outcome: &Result<StatusCode, Failure>) {
        let Some(request) = &mut self.request else { return };
        (request.fate, request.status) = match outcome {
            Ok(status) => (Fate::Answered, Some(status.as_u16())),
            Err(Failure::Refused(refusal @ Refusal::ByPolicy(_))) => (Fate::Refused, Some(refusal.status().as_u16())),
            Err(Failure::Refused(refusal)) => (Fate::Failed, Some(refusal.status().as_u16())),
            Err(Failure::Aborted(error)) => {
                let status = session.status_written().map(|status| status.as_u16());
                // Streams end when the caller has had enough of them.
                let enough = status.is_some() && *error.esource() == ErrorSource::Downstream;
                (if enough { Fate::Answered } else { Fate::Failed }, status)
            }
        };
        // Nobody has looked at what travels in a WebSocket.
        request.calls_a_tool |= request.status == Some(StatusCode::SWITCHING_PROTOCOLS.as_u16());
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if let Some(mut request) = self.request.take() {
            request.took = self.begun.elapsed();
            self.audit.request(request);
        }
    }
}
