//! What is remembered of a routed request, in the audit log and the metrics, as on the transparent path.

use super::Aggregate;
use super::members::Member;
use crate::audit::{Audit, Fate, UpstreamRequest};
use crate::clock::Timestamp;
use crate::mcp::Method;
use crate::unified::Caller;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Records when it is dropped, also when the caller has gone.
pub(super) struct Record<'a> {
    audit: &'a Audit,
    caller: &'a Caller,
    member: &'a Member,
    method: Method,
    name: Option<Arc<str>>,
    began: Instant,
    pub(super) fate: Fate,
}

impl Aggregate {
    /// A request that failed, until its fate is known to be another.
    pub(super) fn record<'a>(
        &'a self,
        (caller, member): (&'a Caller, &'a Member),
        method: &str,
        name: Option<&str>,
    ) -> Record<'a> {
        Record {
            audit: &self.parts.audit,
            caller,
            member,
            method: Method::of(method),
            name: name.map(Into::into),
            began: Instant::now(),
            fate: Fate::Failed,
        }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let Some(token) = &self.caller.token else { return };
        let address: IpAddr = self.caller.address;
        self.audit.request(UpstreamRequest {
            at: Timestamp(0),
            token: Arc::clone(token),
            upstream: self.member.upstream.clone(),
            address,
            method: self.method,
            name: self.name.take(),
            calls_a_tool: self.method == Method::TOOLS_CALL,
            listens: self.method == Method::LISTEN,
            fate: self.fate,
            status: None,
            took: self.began.elapsed(),
        });
    }
}
