//! Sessions of signed-in browsers on the root domain, and the tokens that forms carry.

mod cookie;
#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::error::Fault;
use crate::hostname::Site;
use crate::ids::{Digest, Random};
use crate::store::{Session, Store, User};
use cookie::Cookie;
use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use std::sync::Arc;
use std::time::Duration;

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

/// How a person proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means<'a> {
    /// With a password: a second factor is asked for, where the person has one.
    Password,
    /// With a passkey, which is two factors by itself.
    Passkey,
    /// At an identity provider of this name, which asks for whatever it wants.
    Provider(&'a str),
}

/// A browser that is not signed in, on a page with a form. Nothing about it is stored.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// What the answer must set; none when the browser has its cookie already.
    pub set_cookie: Option<http::HeaderValue>,
    /// What the forms of login and set-up must carry as `csrf_token`.
    pub csrf_token: String,
    /// Digest of the cookie: what a sign-in elsewhere is bound to.
    pub browser: Digest,
}

impl Visitor {
    /// [`Visitor::browser`], if the browser came with its cookie.
    pub fn known(&self) -> Option<Digest> {
        self.set_cookie.is_none().then_some(self.browser)
    }
}

/// All sessions. Shared behind an `Arc`.
pub struct Sessions {
    store: Store,
    clock: Clock,
    random: Random,
    session: Cookie,
    visitor: Cookie,
}

impl Sessions {
    /// Cookies are `__Host-` ones unless the site is plain http on loopback.
    pub fn new(store: Store, clock: Clock, random: Random, site: &Site) -> Self {
        let session = Cookie::new("portcullis", site.scheme());
        let visitor = Cookie::new("portcullis-visitor", site.scheme());
        Self { store, clock, random, session, visitor }
    }

    /// The session of a request, by its `Cookie` headers; `None` when there is none, it has expired, or the person is
    /// disabled.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, headers: &http::HeaderMap) -> Result<Option<SignedIn>, Fault> {
        let Some(token) = self.session.read(headers) else { return Ok(None) };
        let (digest, now) = (Digest::of(token), self.clock.now());
        let Some(session) = self.store.session(&digest, now).await? else { return Ok(None) };
        let idle = now.since(session.last_seen_at);
        let user = self.store.user(session.user).await?.filter(|user| !user.disabled && idle < IDLE_LIFE);
        let Some(user) = user else {
            // Deleted, so that it does not come back to life with a person who is let in again.
            self.store.delete_session(&digest).await?;
            return Ok(None);
        };
        if idle >= TOUCH_EVERY {
            self.store.touch_session(&digest, now).await?;
        }
        Ok(Some(SignedIn { user: Arc::new(user), session: digest, csrf_token: csrf_token(token) }))
    }

    /// Begins a session for a person who has just proved who they are, ending the one that the browser had. The value
    /// of `Set-Cookie`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begin(&self, headers: &http::HeaderMap, user: &User) -> Result<http::HeaderValue, Fault> {
        self.forget(headers).await?;
        let (token, now) = (self.random.token(), self.clock.now());
        let session = Session {
            token: Digest::of(token.as_bytes()),
            user: user.id,
            created_at: now,
            last_seen_at: now,
            expires_at: now.after(LIFE),
        };
        self.store.insert_session(&session).await?;
        Ok(self.session.set(&token, Some(LIFE)))
    }

    /// Ends the session of a request; the value of `Set-Cookie`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end(&self, headers: &http::HeaderMap) -> Result<http::HeaderValue, Fault> {
        self.forget(headers).await?;
        Ok(self.session.set("", Some(Duration::ZERO)))
    }

    /// The form token of a browser that is not signed in: sign-in itself must not be forged either, or somebody could
    /// work in, and connect accounts to, an attacker's session (RFC 6749 §10.12).
    pub fn visitor(&self, headers: &http::HeaderMap) -> Visitor {
        if let Some(token) = self.visitor.read(headers) {
            return Visitor { set_cookie: None, csrf_token: csrf_token(token), browser: Digest::of(token) };
        }
        let token = self.random.token();
        let set_cookie = Some(self.visitor.set(&token, None));
        Visitor { set_cookie, csrf_token: csrf_token(&token), browser: Digest::of(token.as_bytes()) }
    }

    async fn forget(&self, headers: &http::HeaderMap) -> Result<(), Fault> {
        if let Some(token) = self.session.read(headers) {
            self.store.delete_session(&Digest::of(token)).await?;
        }
        Ok(())
    }
}

/// From sign-in to the end, whatever happens.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Without a request.
const IDLE_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Uses closer together than this are not written down.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// Derived from the cookie, so that it need not be stored, and one-way, so that a page that leaks it leaks no session.
fn csrf_token(cookie: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, cookie.as_bytes());
    BASE64URL_NOPAD.encode(hmac::sign(&key, b"csrf").as_ref())
}
