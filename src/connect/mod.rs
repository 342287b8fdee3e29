//! Our client toward the upstreams' authorization servers: discovery, registration, authorization, refresh, and the
//! credentials that come of it.

pub mod authorize;
pub mod discovery;
pub mod refresh;
pub mod register;

use crate::error::Fault;
use crate::hostname::{Account, Authority};
use crate::ids::{ConnectionId, UserId};
use std::sync::Arc;
use std::time::Duration;

/// Whose authorization, where, and which account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// The person.
    pub user: UserId,
    /// The upstream.
    pub authority: Authority,
    /// The account, when the hostname names one.
    pub account: Option<Account>,
}

/// What is injected into a request to an upstream. It can only be made here, so that nothing is forwarded without one.
pub struct Credential {
    authority: Authority,
    connection: Option<ConnectionId>,
    version: i64,
    header: Option<(http::HeaderName, http::HeaderValue)>,
}

impl Credential {
    /// The upstream that it is for.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The connection behind it; none where everybody shares a configured header or nothing is needed.
    pub fn connection(&self) -> Option<ConnectionId> {
        self.connection
    }

    /// The header to set (marked sensitive); none for an upstream that is used without authorization.
    pub fn header(&self) -> Option<&(http::HeaderName, http::HeaderValue)> {
        self.header.as_ref()
    }
}

/// Why there is nothing to inject.
#[derive(Debug)]
pub enum NoCredential {
    /// The person never connected this upstream (or account), or the upstream ended the authorization: the client must
    /// run the flow again.
    NeedsConsent,
    /// The upstream's authorization server is in trouble; the connection stays.
    Trouble {
        /// When to try again.
        retry_after: Duration,
        /// What happened.
        fault: Fault,
    },
    /// We ourselves are in trouble.
    Failed(Fault),
}

/// All connections of all people. Shared behind an `Arc`.
pub struct Connections {}

/// How [`Connections::begin`] goes on.
pub enum Begin {
    /// There is a working connection with all scopes that were asked for.
    Connected,
    /// The browser must go there.
    Redirect(String),
}

/// What [`Connections::begin`] needs to know.
pub struct Request<'a> {
    /// Whose, where, which account.
    pub key: &'a ConnectionKey,
    /// The path of the MCP endpoint, when the caller's resource names one: discovery depends on it.
    pub path: Option<&'a str>,
    /// Scopes that the client asked for; empty for the upstream's own default.
    pub scopes: &'a crate::oauth::scope::Scopes,
    /// Digest of the session cookie: the answer must come back to the same browser.
    pub session: crate::ids::Digest,
    /// A path on the root domain, where the person goes on afterwards.
    pub return_to: &'a str,
    /// Ask for consent even when there is a working connection.
    pub renew: bool,
}

/// The query of the upstream's answer at `/oauth/callback`.
#[derive(Debug, Default, serde::Deserialize)]
#[allow(missing_docs)] // the names are those of RFC 6749 §4.1.2 and RFC 9207 §2
pub struct CallbackQuery {
    pub state: Option<String>,
    pub code: Option<String>,
    pub iss: Option<String>,
    pub error: Option<String>,
    pub error_description: Option<String>,
}

/// A failure on the way to a connection, told to the person on a page.
#[derive(Debug)]
pub struct ConnectError {
    /// What happened, and what to do about it.
    pub fault: Fault,
    /// The step that failed, such as `registration`.
    pub step: &'static str,
    /// Where the person was going, when that is known.
    pub return_to: Option<String>,
    /// The person said no at the upstream.
    pub denied: bool,
}

impl Connections {
    /// Makes sure of a connection, or says where to send the browser for one. Contacts the upstream.
    ///
    /// # Errors
    /// When discovery or registration fails, with the step that failed.
    pub async fn begin(self: &Arc<Self>, request: Request<'_>) -> Result<Begin, ConnectError> {
        let _ = request;
        todo!()
    }

    /// Completes what [`Connections::begin`] began; the path to go on to.
    ///
    /// # Errors
    /// When the answer is not for this browser, is too late, was tampered with, or the upstream refuses.
    pub async fn finish(
        self: &Arc<Self>,
        session: &crate::ids::Digest,
        query: CallbackQuery,
    ) -> Result<String, ConnectError> {
        let _ = (session, query);
        todo!()
    }

    /// What to inject for a request, if it is in memory and good: the way of nearly every request.
    pub fn cached(&self, key: &ConnectionKey) -> Option<Arc<Credential>> {
        let _ = key;
        todo!()
    }

    /// What to inject, from the store when it is not in memory, refreshed when it has expired.
    ///
    /// # Errors
    /// When there is nothing to inject.
    pub async fn credential(self: &Arc<Self>, key: &ConnectionKey) -> Result<Arc<Credential>, NoCredential> {
        let _ = key;
        todo!()
    }

    /// The upstream answered 401 to `rejected`: refreshes (one at a time; a credential that is newer than the rejected one
    /// is returned at once). `challenge` is the upstream's `WWW-Authenticate`.
    ///
    /// # Errors
    /// When there is nothing better to inject.
    pub async fn renew(
        self: &Arc<Self>,
        key: &ConnectionKey,
        rejected: &Credential,
        challenge: Option<&str>,
    ) -> Result<Arc<Credential>, NoCredential> {
        let _ = (key, rejected, challenge);
        todo!()
    }

    /// Forgets what is in memory about a connection, after [`crate::store::Change::ConnectionChanged`].
    pub fn forget(&self, id: ConnectionId) {
        let _ = id;
        todo!()
    }

    /// The scopes an upstream is known to have, from earlier discovery; never contacts it.
    pub async fn known_scopes(&self, authority: &Authority) -> crate::oauth::scope::Scopes {
        let _ = authority;
        todo!()
    }

    /// Refreshes connections shortly before they expire, with jitter, until `stop` changes.
    pub async fn keep_fresh(self: Arc<Self>, stop: tokio::sync::watch::Receiver<bool>) {
        let _ = stop;
        todo!()
    }
}
