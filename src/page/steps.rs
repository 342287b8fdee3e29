//! The pages of the browser flow: consent to a client, approval of an upstream, and a message when it ends here.

use super::answer::{Frame, page};
use super::plain;
use askama::Template;
use axum::response::Response;
use http::StatusCode;

/// Who asks for what, and where the answer goes.
pub struct ConsentPage<'a> {
    /// The name that the client gave itself.
    pub client_name: &'a str,
    /// Its `client_id`.
    pub client_id: &'a str,
    /// Its own page, as it says.
    pub client_uri: Option<&'a str>,
    /// The host of its metadata document: who says that this is the client. `None`: nobody but itself.
    pub verified_host: Option<&'a str>,
    /// The host of the redirect URI, or what stands in its place.
    pub redirect_host: &'a str,
    /// What is special about the redirect URI: an application on this computer, a scheme of its own.
    pub redirect_warning: Option<&'a str>,
    /// The resource (RFC 8707).
    pub resource: &'a str,
    /// The upstream, for people.
    pub upstream_name: &'a str,
    /// Which account, when the hostname names one.
    pub account: Option<&'a str>,
    /// What is asked for; empty for everything.
    pub scopes: Vec<&'a str>,
    /// Who is signed in.
    pub user: &'a str,
    /// Where the form goes.
    pub action: &'a str,
    /// The handle of the flow.
    pub flow: &'a str,
    /// The session's token.
    pub csrf_token: &'a str,
}

/// May this upstream be used at all?
pub struct ApprovalPage<'a> {
    /// The decoded authority.
    pub domain: &'a str,
    /// Its label.
    pub label: &'a str,
    /// The client that led here; empty when the person came from the dashboard.
    pub client_name: &'a str,
    /// The host of that client's redirect URI; empty like the name.
    pub redirect_host: &'a str,
    /// Who is signed in.
    pub user: &'a str,
    /// Where the form goes.
    pub action: &'a str,
    /// The handle of the flow.
    pub flow: &'a str,
    /// The session's token.
    pub csrf_token: &'a str,
}

/// Something happened, or did not.
pub struct MessagePage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// A few words.
    pub title: &'a str,
    /// What happened.
    pub text: &'a str,
    /// What to do about it.
    pub hint: Option<&'a str>,
    /// Ways on: text and address. The first is the proposed one.
    pub actions: Vec<(&'a str, &'a str)>,
}

/// The consent page.
pub fn consent(page: &ConsentPage<'_>) -> Response {
    let client_name = plain::name(page.client_name);
    // Only a web address becomes a link: anything else could be a script.
    let client_uri = page.client_uri.filter(|uri| uri.starts_with("https://"));
    self::page(StatusCode::OK, &Consent { frame: Frame::bare(), client_name, client_uri, page })
}

/// The page on which an administrator lets an upstream in.
pub fn approval(page: &ApprovalPage<'_>) -> Response {
    let client_name = plain::name(page.client_name);
    self::page(StatusCode::OK, &Approval { frame: Frame::bare(), client_name, page })
}

/// A message, with ways on.
pub fn message(page: &MessagePage<'_>) -> Response {
    self::page(page.status, &Message { frame: Frame::bare(), page })
}

#[derive(Template)]
#[template(path = "consent.html")]
struct Consent<'a> {
    frame: Frame<'static>,
    client_name: String,
    client_uri: Option<&'a str>,
    page: &'a ConsentPage<'a>,
}

#[derive(Template)]
#[template(path = "approval.html")]
struct Approval<'a> {
    frame: Frame<'static>,
    client_name: String,
    page: &'a ApprovalPage<'a>,
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    frame: Frame<'static>,
    page: &'a MessagePage<'a>,
}
