//! Sessions of signed-in browsers on the root domain, and the tokens that forms carry.

mod cookie;
mod device;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod notice;
#[cfg(test)]
mod tests;

use crate::clock::{Clock, Timestamp};
use crate::config::SessionLives;
use crate::error::Fault;
use crate::hostname::Site;
use crate::ids::{Digest, Random, SessionId};
use crate::store::{Session, Store, User};
use arc_swap::ArcSwap;
use cookie::Cookie;
use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use device::device;

/// A signed-in browser.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who.
    pub user: Arc<User>,
    /// Digest of the cookie: what flows are bound to.
    pub session: Digest,
    /// The same session in pages and addresses.
    pub id: SessionId,
    /// When the person proved who they are, last.
    pub since: Timestamp,
    /// What every form of this session must carry as `csrf_token`.
    pub csrf_token: String,
    /// What the person has just done, to be told once: see [`Sessions::notice`].
    pub notice: Option<String>,
}

/// How a person proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means<'a> {
    /// With a password: a second factor is asked for, where the person has one.
    Password,
    /// With a password, and then a code from an authenticator app or a recovery code.
    PasswordAndCode,
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
    /// Digest of the cookie: what a sign-in that is not complete is bound to.
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
    notice: Cookie,
    lives: ArcSwap<SessionLives>,
}

impl Sessions {
    /// Cookies are `__Host-` ones unless the site is plain http on loopback.
    pub fn new(store: Store, clock: Clock, random: Random, site: &Site, lives: SessionLives) -> Self {
        let session = Cookie::new("portcullis", site.scheme());
        let visitor = Cookie::new("portcullis-visitor", site.scheme());
        let notice = Cookie::new("portcullis-notice", site.scheme());
        Self { store, clock, random, session, visitor, notice, lives: ArcSwap::from_pointee(lives) }
    }

    /// Other lives from now on, for the sessions that there are as well: those that would have ended by now end at their
    /// next use, none gets longer than it was promised.
    pub fn live_for(&self, lives: SessionLives) {
        self.lives.store(Arc::new(lives));
    }

    /// The session of a request, by its `Cookie` headers; `None` when there is none, it has expired, or the person is
    /// disabled.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, headers: &http::HeaderMap) -> Result<Option<SignedIn>, Fault> {
        let Some(token) = self.session.read(headers) else { return Ok(None) };
        let (digest, now, lives) = (Digest::of(token), self.clock.now(), self.lives.load());
        let Some(session) = self.store.session(&digest, now).await? else { return Ok(None) };
        let idle = now.since(session.last_seen_at);
        let user = self.store.user(session.user).await?;
        let user = user.filter(|user| !user.disabled && is_alive(&session, &lives, now));
        let Some(user) = user else {
            // Deleted, so that it does not come back to life with a person who is let in again.
            self.store.delete_session(&digest).await?;
            return Ok(None);
        };
        if idle >= TOUCH_EVERY.min(lives.idle / 4) {
            self.store.touch_session(&digest, now).await?;
        }
        let csrf_token = csrf_token(token);
        Ok(Some(SignedIn {
            notice: self.notice.find(headers).and_then(|sealed| notice::open(sealed, &csrf_token)),
            user: Arc::new(user),
            session: digest,
            id: session.id,
            since: session.created_at,
            csrf_token,
        }))
    }

    /// The person of a session that was found earlier, as long as it goes on: for what is open for long. To ask is no use of it,
    /// so it ends when nobody uses it, whatever is open.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn person_of(&self, signed_in: &SignedIn) -> Result<Option<User>, Fault> {
        let (now, lives) = (self.clock.now(), self.lives.load());
        let session = self.store.session(&signed_in.session, now).await?;
        let Some(session) = session.filter(|session| is_alive(session, &lives, now)) else { return Ok(None) };
        Ok(self.store.user(session.user).await?.filter(|user| !user.disabled))
    }

    /// A person's sessions that are alive, the one that was used last first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn of(&self, user: &User) -> Result<Vec<Session>, Fault> {
        let (now, lives) = (self.clock.now(), self.lives.load());
        let mut sessions = self.store.sessions_of(user.id, now).await?;
        sessions.retain(|session| is_alive(session, &lives, now));
        Ok(sessions)
    }

    /// Begins a session for a person who has just proved who they are, ending the one that the browser had. The value
    /// of `Set-Cookie`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begin(
        &self,
        headers: &http::HeaderMap,
        user: &User,
        means: Means<'_>,
        address: Option<IpAddr>,
    ) -> Result<http::HeaderValue, Fault> {
        self.forget(headers).await?;
        let (token, now, ttl) = (self.random.token(), self.clock.now(), self.lives.load().ttl);
        let session = Session {
            token: Digest::of(token.as_bytes()),
            id: SessionId::random(&self.random),
            user: user.id,
            means: means.to_string(),
            address: address.map(|address| address.to_canonical().to_string()),
            user_agent: device::user_agent(headers),
            created_at: now,
            last_seen_at: now,
            expires_at: now.after(ttl),
        };
        self.store.insert_session(&session).await?;
        Ok(self.session.set(&token, Some(ttl)))
    }

    /// Gives a session another cookie, when what the person may do with it has changed. The value of `Set-Cookie`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rotate(&self, signed_in: &SignedIn) -> Result<http::HeaderValue, Fault> {
        let token = self.random.token();
        self.store.rotate_session(&signed_in.session, &Digest::of(token.as_bytes())).await?;
        let end = signed_in.since.after(self.lives.load().ttl);
        Ok(self.session.set(&token, Some(end.since(self.clock.now()))))
    }

    /// Whether the person has proved who they are a short while ago: asked before anything changes by which they could be
    /// locked out, or somebody else let in.
    pub fn is_recent(&self, signed_in: &SignedIn) -> bool {
        self.clock.now().since(signed_in.since) < RECENT
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
        match self.visitor.read(headers) {
            Some(token) => Visitor { set_cookie: None, csrf_token: csrf_token(token), browser: Digest::of(token) },
            None => self.new_visitor(),
        }
    }

    /// The same for a browser that has just shown the first of two proofs: whoever knew its cookie before knows the new
    /// one no more.
    pub fn new_visitor(&self) -> Visitor {
        let token = self.random.token();
        Visitor {
            set_cookie: Some(self.visitor.set(&token, None)),
            csrf_token: csrf_token(&token),
            browser: Digest::of(token.as_bytes()),
        }
    }

    /// The value of `Set-Cookie` by which the next page of this session tells what has just been done. It is kept by the
    /// browser, so that any node may show that page, and nobody else can write one.
    pub fn notice(&self, signed_in: &SignedIn, text: &str) -> http::HeaderValue {
        self.notice.set(&notice::seal(text, &signed_in.csrf_token), Some(notice::LIFE))
    }

    /// The value of `Set-Cookie` by which a notice that was told goes; none when the request came without one.
    pub fn told(&self, headers: &http::HeaderMap) -> Option<http::HeaderValue> {
        self.notice.find(headers).map(|_| self.notice.set("", Some(Duration::ZERO)))
    }

    /// Removes the sessions that were not used for too long; those that reached their absolute end go with
    /// [`Store::sweep`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweep(&self) -> Result<(), Fault> {
        let before = self.clock.now().before(self.lives.load().idle);
        Ok(self.store.sweep_idle_sessions(before).await?)
    }

    async fn forget(&self, headers: &http::HeaderMap) -> Result<(), Fault> {
        if let Some(token) = self.session.read(headers) {
            self.store.delete_session(&Digest::of(token)).await?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Means<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Means::Password => "password",
            Means::PasswordAndCode => "password and code",
            Means::Passkey => "passkey",
            Means::Provider(name) => name,
        })
    }
}

/// Uses closer together than this are not written down.
const TOUCH_EVERY: Duration = Duration::from_secs(60);
/// How long a sign-in counts as recent.
const RECENT: Duration = Duration::from_secs(15 * 60);

fn is_alive(session: &Session, lives: &SessionLives, now: Timestamp) -> bool {
    now.since(session.last_seen_at) < lives.idle && now.since(session.created_at) < lives.ttl
}

/// Derived from the cookie, so that it need not be stored, and one-way, so that a page that leaks it leaks no session.
fn csrf_token(cookie: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, cookie.as_bytes());
    BASE64URL_NOPAD.encode(hmac::sign(&key, b"csrf").as_ref())
}
