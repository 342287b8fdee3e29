//! A request to an upstream, as it will be remembered.

use crate::activity::Tallied;
use crate::clock::Timestamp;
use crate::config::AuditedRequests;
use crate::mcp::Method;
use crate::store::AuditLine;
pub use crate::telemetry::Fate;
use crate::tokens::AccessToken;
use crate::upstream::Upstream;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What is known of a request to an upstream when it is over. Arguments and results never are.
pub struct UpstreamRequest {
    /// Set by [`super::Audit::request`].
    pub at: Timestamp,
    /// Who, and by which client.
    pub token: Arc<AccessToken>,
    /// Where to.
    pub upstream: Arc<Upstream>,
    /// Where from.
    pub address: IpAddr,
    /// What it asked for.
    pub method: Method,
    /// The tool, prompt or resource; of a batch, the tools.
    pub name: Option<Arc<str>>,
    /// Whether it called a tool, or might have: its body could not be looked at.
    pub calls_a_tool: bool,
    /// Whether it lasts as long as somebody listens: a stream of events that was asked for as such, or a WebSocket.
    pub listens: bool,
    /// What became of it.
    pub fate: Fate,
    /// The status of the answer, if one was begun.
    pub status: Option<u16>,
    /// How long it took to the end of the answer.
    pub took: Duration,
}

impl UpstreamRequest {
    pub(super) fn log(&self) {
        tracing::debug!(
            target: "mcp",
            method = self.method.label(),
            name = self.name.as_deref(),
            upstream = self.upstream.authority.as_str(),
            person = &*self.token.username,
            client = &*self.token.client_id,
            status = self.status,
            fate = self.fate.label(),
            took = ?self.took,
        );
    }

    /// What is counted of it.
    pub(super) fn tallied(&self) -> Tallied<'_> {
        Tallied {
            at: self.at,
            token: &self.token,
            upstream: &self.upstream,
            tool: self.name.as_ref().filter(|_| self.method == Method::TOOLS_CALL),
            fate: self.fate,
            status: self.status,
            took: (!self.listens).then_some(self.took),
        }
    }

    /// What it takes while it waits, in bytes.
    pub(super) fn size(&self) -> usize {
        // A shared text has two counters in front.
        size_of::<Self>() + self.name.as_ref().map_or(0, |name| name.len() + 2 * size_of::<usize>())
    }

    pub(super) fn is_wanted(&self, wanted: AuditedRequests) -> bool {
        match wanted {
            _ if self.fate == Fate::Refused => true,
            AuditedRequests::All => true,
            AuditedRequests::Calls => self.calls_a_tool,
            AuditedRequests::None => false,
        }
    }

    /// As it is written; `address` is its own as text.
    pub(super) fn line<'a>(&'a self, address: Option<&'a str>) -> AuditLine<'a> {
        let action = match self.method {
            _ if self.fate == Fate::Refused => "tool.refused",
            Method::TOOLS_CALL => "tool.called",
            Method::BATCH if self.calls_a_tool => "tool.called",
            // Too large to be looked at, not JSON, or a WebSocket.
            _ if self.calls_a_tool => "request.unclear",
            _ => "request.forwarded",
        };
        let subject = match (self.method, &self.name) {
            (Method::TOOLS_CALL | Method::BATCH, Some(name)) => Cow::Borrowed(&**name),
            (method, Some(name)) => Cow::Owned(format!("{} {name}", method.label())),
            (method, None) => Cow::Borrowed(method.label()),
        };
        AuditLine {
            at: self.at,
            actor: &self.token.username,
            action,
            subject,
            address,
            upstream: Some(self.upstream.authority.as_str()),
            client: Some(&self.token.client_id),
            status: self.status,
            duration_ms: Some(u32::try_from(self.took.as_millis()).unwrap_or(u32::MAX)),
        }
    }
}
