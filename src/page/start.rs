//! The start, the address of a server, and the pages on which people come in.

use super::answer::{Frame, page, talking_page};
use super::place::{Account, Place};
use crate::factors::QrImage;
use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

/// What strangers see at `/`.
pub struct LandingPage<'a> {
    /// The root domain.
    pub domain: &'a str,
    /// Whether somebody must claim the installation first.
    pub unclaimed: bool,
}

/// The ways to sign in.
pub struct LoginPage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Whether there is a form for name and password.
    pub passwords: bool,
    /// Name and label of every provider: a button each.
    pub providers: Vec<(&'a str, &'a str)>,
    /// Why the last attempt failed.
    pub error: Option<&'a str>,
    /// The name typed last.
    pub username: &'a str,
    /// Where to go afterwards.
    pub return_to: &'a str,
    /// The visitor's token.
    pub csrf_token: &'a str,
}

/// The form that claims an installation.
pub struct SetupPage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Why the last attempt failed.
    pub error: Option<&'a str>,
    /// The name typed last.
    pub username: &'a str,
    /// The one-time token.
    pub token: &'a str,
    /// The visitor's token.
    pub csrf_token: &'a str,
}

/// The dashboard of a person.
pub struct HomePage<'a> {
    /// Who.
    pub account: Account<'a>,
    /// What administrators should do something about.
    pub alerts: Vec<String>,
    /// What a new gateway still needs, for administrators.
    pub checklist: Option<Vec<ChecklistItem>>,
    /// How many upstreams the person has connected.
    pub connections: usize,
    /// How many of them do not work until the person does something.
    pub troubled: usize,
}

/// Something that a new gateway needs.
pub struct ChecklistItem {
    /// What.
    pub title: &'static str,
    /// Whether nothing is left to do.
    pub done: bool,
    /// `good`, `quiet` or `bad`: the colour of the word.
    pub tone: &'static str,
    /// How it stands.
    pub word: String,
    /// Why, and what to do.
    pub texts: Vec<String>,
    /// Where to go for it: words, and an address.
    pub way: Option<(&'static str, String)>,
}

/// The gateway's URL of an upstream.
pub struct EncodedPage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Who is signed in, if anybody.
    pub account: Option<Account<'a>>,
    /// What was typed.
    pub typed: &'a str,
    /// Why it cannot be encoded.
    pub error: Option<String>,
    /// The authority, once it is one.
    pub domain: &'a str,
    /// The URL to give to a client.
    pub url: Option<&'a str>,
    /// A readable label to configure instead, when the domain is too long.
    pub alias: Option<&'a str>,
    /// How to give the URL to each client.
    pub commands: Vec<Command>,
    /// `/oauth/start?…`, for somebody who is signed in.
    pub connect: Option<String>,
    /// The server as our forms send it.
    pub server: &'a str,
    /// The URL, for a camera.
    pub qr: Option<QrImage>,
}

impl EncodedPage<'_> {
    fn csrf_token(&self) -> &str {
        self.account.as_ref().map_or("", |account| account.csrf_token)
    }
}

/// How to add a server to one client.
pub struct Command {
    /// The client.
    pub client: &'static str,
    /// What opens the client, and its address.
    pub link: Option<(&'static str, String)>,
    /// What to do.
    pub how: &'static str,
    /// What to copy.
    pub text: String,
}

/// What sign-in a server is going to want.
pub struct OutlookPage<'a> {
    /// Who.
    pub account: Account<'a>,
    /// The server.
    pub domain: &'a str,
    /// What was seen.
    pub steps: Vec<OutlookStep>,
    /// `/oauth/start?…`
    pub connect: Option<String>,
    /// The query of `/encode` for the server.
    pub back: String,
}

/// Something that was seen on the way.
#[derive(Serialize)]
pub struct OutlookStep {
    /// What was looked at.
    pub title: &'static str,
    /// `good`, `quiet` or `bad`: the colour of the word.
    pub tone: &'static str,
    /// What came out.
    pub word: &'static str,
    /// In a sentence.
    pub text: String,
}

/// The landing page.
pub fn landing(page: &LandingPage<'_>) -> Response {
    talking_page(StatusCode::OK, &Landing { frame: Frame::bare(), page })
}

/// The sign-in page.
pub fn login(page: &LoginPage<'_>) -> Response {
    talking_page(page.status, &Login { frame: Frame::bare(), page })
}

/// The page that claims an installation.
pub fn setup(page: &SetupPage<'_>) -> Response {
    self::page(page.status, &Setup { frame: Frame::bare(), page })
}

/// The dashboard.
pub fn home(page: &HomePage<'_>) -> Response {
    talking_page(StatusCode::OK, &Home { frame: Frame::at(Place::Start, &page.account), page })
}

/// The page of an encoded domain.
pub fn encoded(page: &EncodedPage<'_>) -> Response {
    let frame = match &page.account {
        Some(account) => Frame::at(Place::Start, account),
        None => Frame::bare(),
    };
    talking_page(page.status, &Encoded { frame, page })
}

/// What sign-in a server is going to want.
pub fn outlook(page: &OutlookPage<'_>) -> Response {
    self::page(StatusCode::OK, &OutlookTemplate { frame: Frame::at(Place::Start, &page.account), page })
}

#[derive(Template)]
#[template(path = "landing.html")]
struct Landing<'a> {
    frame: Frame<'a>,
    page: &'a LandingPage<'a>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login<'a> {
    frame: Frame<'a>,
    page: &'a LoginPage<'a>,
}

#[derive(Template)]
#[template(path = "setup.html")]
struct Setup<'a> {
    frame: Frame<'a>,
    page: &'a SetupPage<'a>,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    frame: Frame<'a>,
    page: &'a HomePage<'a>,
}

#[derive(Template)]
#[template(path = "outlook.html")]
struct OutlookTemplate<'a> {
    frame: Frame<'a>,
    page: &'a OutlookPage<'a>,
}

#[derive(Template)]
#[template(path = "encoded.html")]
struct Encoded<'a> {
    frame: Frame<'a>,
    page: &'a EncodedPage<'a>,
}
