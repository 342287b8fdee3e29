//! Sessions of signed-in browsers on the root domain, and the tokens that forms carry.

use crate::clock::Clock;
use crate::error::Fault;
use crate::hostname::Site;
use crate::ids::{Digest, Random};
use crate::store::{Store, User};
use std::sync::Arc;

/// A signed-in browser.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who.
    pub user: Arc<User>,
    /// Digest of the cookie: what flows are bound to.
    pub session: Digest,
    /// What every form of this session must carry as `csrf_token`.
    pub csrf_token: String,
}

/// A browser before sign-in.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The cookie to set, when the browser has none yet.
    pub set_cookie: Option<http::HeaderValue>,
    /// What the forms before sign-in must carry as `csrf_token`.
    pub csrf_token: String,
}

/// All sessions. Shared behind an `Arc`.
pub struct Sessions {}

impl Sessions {
    /// Cookies are `__Host-` ones unless the site is plain http on loopback.
    pub fn new(store: Store, clock: Clock, random: Random, site: &Site) -> Self {
        let _ = (store, clock, random, site);
        todo!()
    }

    /// The session of a request, by its `Cookie` headers; `None` when there is none, it has expired, or the person is
    /// disabled.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, headers: &http::HeaderMap) -> Result<Option<SignedIn>, Fault> {
        let _ = headers;
        todo!()
    }

    /// Begins a session for a person who has just proved who they are, ending the one that the browser had. The value
    /// of `Set-Cookie`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begin(&self, headers: &http::HeaderMap, user: &User) -> Result<http::HeaderValue, Fault> {
        let _ = (headers, user);
        todo!()
    }

    /// Ends the session of a request; the value of `Set-Cookie`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end(&self, headers: &http::HeaderMap) -> Result<http::HeaderValue, Fault> {
        let _ = headers;
        todo!()
    }

    /// What a form before sign-in needs: a token bound to a cookie of this browser.
    pub fn visitor(&self, headers: &http::HeaderMap) -> Visitor {
        let _ = headers;
        todo!()
    }
}
