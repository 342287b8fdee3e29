//! The page of a person's own account, and those that belong to it.

use super::answer::{Frame, page};
use super::people::{Account, GrantRow};
use askama::Template;
use axum::response::Response;
use http::StatusCode;

/// Everything that a person may know and change about the own account.
pub struct AccountPage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Who.
    pub account: Account<'a>,
    /// Why the last change was not made, or that it was.
    pub notice: Option<&'a str>,
    /// Whether the person administers the gateway.
    pub administrator: bool,
    /// Only when known.
    pub email: Option<&'a str>,
    /// How long the account has been there.
    pub since: String,
    /// Whether the person can sign in with a password.
    pub has_password: bool,
    /// Signed-in browsers.
    pub sessions: Vec<SessionRow>,
    /// Consents.
    pub grants: Vec<GrantRow>,
}

/// A signed-in browser in words.
pub struct SessionRow {
    /// Its id.
    pub id: String,
    /// Browser and system.
    pub device: String,
    /// From where, if known.
    pub address: Option<String>,
    /// How the person signed in.
    pub means: String,
    /// How long ago.
    pub since: String,
    /// How long ago it was used.
    pub last_seen: String,
    /// Whether it is the one that asks.
    pub this_one: bool,
}

/// The account page.
pub fn account(page: &AccountPage<'_>) -> Response {
    self::page(page.status, &AccountTemplate { frame: Frame::of(Some(&page.account)), page })
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountTemplate<'a> {
    frame: Frame<'a>,
    page: &'a AccountPage<'a>,
}
