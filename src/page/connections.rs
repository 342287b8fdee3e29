//! What a person has connected.

use super::answer::{Frame, page};
use super::parts::Moment;
use super::place::{Account, Place};
use askama::Template;
use axum::response::Response;
use http::StatusCode;

/// The connections of a person.
pub struct ConnectionsPage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Who.
    pub account: Account<'a>,
    /// Why the last change was not made.
    pub error: Option<&'a str>,
    /// One for each upstream.
    pub upstreams: Vec<HeldUpstream>,
}

/// An upstream and the accounts that a person has there.
pub struct HeldUpstream {
    /// For people.
    pub name: String,
    /// Its authority.
    pub authority: String,
    /// How it may be connected once more, with another account; not where there is nothing to sign in to.
    pub can_add: bool,
    /// The accounts.
    pub connections: Vec<HeldRow>,
}

/// An account at an upstream.
pub struct HeldRow {
    /// Its id.
    pub id: String,
    /// What the person calls it.
    pub title: Option<String>,
    /// Which account; empty for the plain one.
    pub account: String,
    /// `good`, `quiet` or `bad`: the colour of the state.
    pub tone: &'static str,
    /// The state.
    pub state: &'static str,
    /// What the upstream granted.
    pub scopes: Vec<String>,
    /// The names of what the person gave by hand, in place of a sign-in.
    pub given: Vec<String>,
    /// When it was connected for the first time.
    pub connected: Moment,
    /// When a request went out with it, to within a few minutes.
    pub used: Option<Moment>,
    /// When its tokens were changed last.
    pub renewed: Moment,
    /// What happens to its tokens next.
    pub next: Option<NextRefresh>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// What to give to a client for this account.
    pub url: Option<String>,
    /// `/oauth/start?…`; none for what the person may not use.
    pub reconnect: Option<String>,
}

impl HeldRow {
    /// What tells it from the others of its upstream.
    fn heading(&self) -> &str {
        match &self.title {
            Some(title) => title,
            None if self.account.is_empty() => "Usual account",
            None => &self.account,
        }
    }
}

/// What happens to the tokens of a connection next.
pub enum NextRefresh {
    /// They are being refreshed.
    Now,
    /// They will be, without anybody asking.
    At(Moment),
    /// They will be when somebody uses them, or the upstream says that they are not good any more.
    OnUse,
}

/// A connection in words.
pub struct ConnectionRow {
    /// Its id.
    pub id: String,
    /// The upstream, for people.
    pub name: String,
    /// Its authority.
    pub authority: String,
    /// Which account; empty for the plain one.
    pub account: String,
    /// `good`, `quiet` or `bad`: the colour of the state.
    pub tone: &'static str,
    /// The state.
    pub state: &'static str,
    /// What the upstream granted.
    pub scopes: Vec<String>,
    /// When the access token expires.
    pub expiry: Option<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// The names of what the person gave by hand, in place of a sign-in.
    pub given: Vec<String>,
    /// `/oauth/start?…`; none for what the person may not use.
    pub reconnect: Option<String>,
}

/// A consent in words.
pub struct GrantRow {
    /// Its id.
    pub id: String,
    /// The client's name as it was shown.
    pub client: String,
    /// For what.
    pub resource: String,
    /// How much.
    pub scopes: Vec<String>,
    /// When it was given.
    pub since: Moment,
}

/// The connections of a person.
pub fn connections(page: &ConnectionsPage<'_>) -> Response {
    self::page(page.status, &Connections { frame: Frame::at(Place::Connections, &page.account), page })
}

#[derive(Template)]
#[template(path = "connections.html")]
struct Connections<'a> {
    frame: Frame<'a>,
    page: &'a ConnectionsPage<'a>,
}
