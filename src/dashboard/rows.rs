//! Rows of the database in words.

use super::start::address::start_address;
use crate::clock::Timestamp;
use crate::ids::SessionId;
pub(super) use crate::page::span;
use crate::page::{self, ConnectionRow, GrantRow, Moment, PasskeyRow, SessionRow};
use crate::session::{SignedIn, device};
use crate::store::{Connection, ConnectionState, Grant, Passkey, Role, Session};

/// A person for the bar on top.
pub(super) fn account(person: &SignedIn) -> page::Account<'_> {
    page::Account {
        name: &person.user.name,
        csrf_token: &person.csrf_token,
        administrator: person.user.role == Role::Administrator,
        notice: person.notice.as_deref(),
    }
}

/// A connection as its person sees it; `name` is the upstream's.
pub(super) fn connection(connection: Connection, name: String, permitted: bool, now: Timestamp) -> ConnectionRow {
    let (tone, state) = match connection.state {
        _ if !permitted => ("bad", "You may not use it any more"),
        ConnectionState::Active if connection.refreshing_since.is_some() && connection.last_error.is_none() => {
            ("good", "Connected, being renewed")
        }
        ConnectionState::NeedsConsent if connection.personal.is_some() => ("bad", "Needs another value from you"),
        ConnectionState::Active => ("good", "Connected"),
        ConnectionState::Open => ("quiet", "Needs no sign-in"),
        ConnectionState::NeedsConsent => ("bad", "Needs your consent again"),
    };
    let active = connection.state == ConnectionState::Active;
    ConnectionRow {
        id: connection.id.to_string(),
        name,
        tone,
        state,
        scopes: words(&connection.scope),
        expiry: connection.expires_at.filter(|_| active).map(|at| expiry(at, now)),
        given: words(connection.personal.as_deref().unwrap_or_default()),
        last_error: connection.last_error,
        reconnect: permitted.then(|| start_address(&connection.authority, &connection.account, true)),
        authority: connection.authority,
        account: connection.account,
    }
}

/// A consent as its person sees it.
pub(super) fn grant(grant: Grant, now: Timestamp) -> GrantRow {
    GrantRow {
        id: grant.id.to_string(),
        client: grant.client_name,
        resource: grant.resource,
        scopes: words(&grant.scope),
        since: Moment::new(grant.created_at, now),
    }
}

/// A signed-in browser as its person sees it; `this_one` is the session of the page.
pub(super) fn session(session: Session, this_one: SessionId, now: Timestamp) -> SessionRow {
    SessionRow {
        id: session.id.to_string(),
        device: device(&session.user_agent),
        address: session.address,
        means: session.means,
        since: Moment::new(session.created_at, now),
        last_seen: Moment::new(session.last_seen_at, now),
        this_one: session.id == this_one,
    }
}

/// A passkey as its person sees it.
pub(super) fn passkey(passkey: Passkey, now: Timestamp) -> PasskeyRow {
    PasskeyRow {
        id: passkey.id.to_string(),
        name: passkey.name,
        since: Moment::new(passkey.created_at, now),
        last_used: passkey.last_used_at.map(|at| Moment::new(at, now)),
    }
}

fn expiry(at: Timestamp, now: Timestamp) -> String {
    if at > now { format!("token good for {}", span(at.since(now))) } else { "token expired".to_owned() }
}

fn words(scope: &str) -> Vec<String> {
    scope.split_ascii_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_words() {
        assert_eq!(expiry(Timestamp(100), Timestamp(40)), "token good for 60 seconds");
        assert_eq!(expiry(Timestamp(40), Timestamp(40)), "token expired");
    }
}
