//! Whose authorization a connection is, and at what.

use crate::config::ServiceName;
use crate::hostname::{Account, Authority};
use crate::ids::UserId;
use std::fmt;

/// What a connection authorizes us at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An MCP server that requests are forwarded to.
    Upstream(Authority),
    /// An OAuth provider whose tokens are handed out through the broker.
    Service(ServiceName),
}

impl Target {
    /// As the store has it: the authority, or `service:<name>`, which no authority can be.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Upstream(authority) => authority.as_str(),
            Self::Service(name) => name.as_stored(),
        }
    }

    /// From the store; `None` for what we never write there.
    pub fn parse(stored: &str) -> Option<Self> {
        match ServiceName::from_stored(stored) {
            Some(name) => Some(Self::Service(name)),
            None => Authority::parse(stored).ok().map(Self::Upstream),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose authorization, at what, and which account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// The person.
    pub user: UserId,
    /// The upstream or service.
    pub target: Target,
    /// The account, when the hostname names one.
    pub account: Option<Account>,
}

impl ConnectionKey {
    /// An authorization at an upstream.
    pub fn upstream(user: UserId, authority: Authority, account: Option<Account>) -> Self {
        Self { user, target: Target::Upstream(authority), account }
    }

    /// An authorization at a service. There is one per person.
    pub fn service(user: UserId, name: ServiceName) -> Self {
        Self { user, target: Target::Service(name), account: None }
    }

    /// From the columns of the store; `None` for what we never write there.
    pub(super) fn parse(user: UserId, target: &str, account: &str) -> Option<Self> {
        let account = (!account.is_empty()).then(|| Account::parse(account)).transpose().ok()?;
        Some(Self { user, target: Target::parse(target)?, account })
    }

    /// The account as the store has it: empty for the plain one.
    pub fn account_text(&self) -> &str {
        self.account.as_ref().map_or("", Account::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_comes_back_and_no_upstream_is_a_service() {
        let upstream = Target::Upstream(Authority::parse("mcp.example:8443").unwrap());
        let service = Target::Service(ServiceName::parse("google").unwrap());
        for target in [upstream, service] {
            assert_eq!(Target::parse(target.as_str()), Some(target));
        }
        for neither in ["service:Google", "service:", "service:a_b", ""] {
            assert_eq!(Target::parse(neither), None, "{neither}");
        }
        // A host that is called "service" stays an upstream: no service's name is a port.
        assert!(matches!(Target::parse("service:8080"), Some(Target::Upstream(_))));
    }
}
