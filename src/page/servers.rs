//! Upstreams, as administrators see them.

use super::answer::{Frame, page};
use super::place::{Account, Place};
use askama::Template;
use axum::response::Response;
use http::StatusCode;

/// All upstreams.
pub struct ServersPage<'a> {
    /// Who looks.
    pub account: Account<'a>,
    /// Those that wait for a decision come first.
    pub upstreams: Vec<UpstreamRow>,
}

/// An upstream in words.
pub struct UpstreamRow {
    /// For people.
    pub name: String,
    /// Its authority.
    pub authority: String,
    /// `good`, `quiet` or `bad`: the colour of the standing.
    pub tone: &'static str,
    /// The standing.
    pub standing: &'static str,
    /// Why it does not work at the moment, if it does not.
    pub trouble: Option<String>,
    /// Whether the button to approve makes sense.
    pub can_approve: bool,
    /// Whether the button to remove makes sense: not for configured ones.
    pub can_remove: bool,
}

/// All upstreams.
pub fn servers(page: &ServersPage<'_>) -> Response {
    self::page(StatusCode::OK, &Servers { frame: Frame::at(Place::Servers, &page.account), page })
}

#[derive(Template)]
#[template(path = "servers.html")]
struct Servers<'a> {
    frame: Frame<'a>,
    page: &'a ServersPage<'a>,
}
