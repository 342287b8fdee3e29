//! What a person has connected.

use super::answer::{Frame, page};
use super::parts::Moment;
use super::place::{Account, Place};
use askama::Template;
use axum::response::Response;
use http::StatusCode;

/// The connections of a person.
pub struct ConnectionsPage<'a> {
    /// Who.
    pub account: Account<'a>,
    /// All of them.
    pub rows: Vec<ConnectionRow>,
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
    self::page(StatusCode::OK, &Connections { frame: Frame::at(Place::Connections, &page.account), page })
}

#[derive(Template)]
#[template(path = "connections.html")]
struct Connections<'a> {
    frame: Frame<'a>,
    page: &'a ConnectionsPage<'a>,
}
