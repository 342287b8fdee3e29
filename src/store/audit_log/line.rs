//! A line on its way into the log.

use crate::clock::Timestamp;
use crate::store::AuditEvent;
use std::borrow::Cow;

/// An [`AuditEvent`] whose texts are somewhere else: nothing is copied before it is written.
#[derive(Clone, Debug)]
pub struct AuditLine<'a> {
    /// As [`AuditEvent::at`].
    pub at: Timestamp,
    /// As [`AuditEvent::actor`].
    pub actor: &'a str,
    /// As [`AuditEvent::action`].
    pub action: &'a str,
    /// As [`AuditEvent::subject`].
    pub subject: Cow<'a, str>,
    /// As [`AuditEvent::address`].
    pub address: Option<&'a str>,
    /// As [`AuditEvent::upstream`].
    pub upstream: Option<&'a str>,
    /// As [`AuditEvent::client`].
    pub client: Option<&'a str>,
    /// As [`AuditEvent::status`].
    pub status: Option<u16>,
    /// As [`AuditEvent::duration_ms`].
    pub duration_ms: Option<u32>,
}

impl AuditLine<'_> {
    /// What each text is, in the order of the columns.
    pub(super) fn texts(&self) -> [Option<&str>; 6] {
        [Some(self.actor), Some(self.action), Some(&self.subject), self.address, self.upstream, self.client]
    }
}

impl AuditEvent {
    /// As it is written.
    pub fn line(&self) -> AuditLine<'_> {
        AuditLine {
            at: self.at,
            actor: &self.actor,
            action: &self.action,
            subject: Cow::Borrowed(&self.subject),
            address: self.address.as_deref(),
            upstream: self.upstream.as_deref(),
            client: self.client.as_deref(),
            status: self.status,
            duration_ms: self.duration_ms,
        }
    }
}
