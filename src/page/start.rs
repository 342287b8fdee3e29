//! The start, the address of a server, and the pages on which people come in.

use super::answer::{Frame, page, talking_page};
use super::place::{Account, Place};
use askama::Template;
use axum::response::Response;
use http::StatusCode;

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
    /// `/oauth/start?…`
    pub connect: Option<String>,
}

/// How to add a server to one client.
pub struct Command {
    /// The client.
    pub client: &'static str,
    /// What to do.
    pub how: &'static str,
    /// What to copy.
    pub text: String,
}

/// The landing page.
pub fn landing(page: &LandingPage<'_>) -> Response {
    self::page(StatusCode::OK, &Landing { frame: Frame::bare(), page })
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
    self::page(StatusCode::OK, &Home { frame: Frame::at(Place::Start, &page.account), page })
}

/// The page of an encoded domain.
pub fn encoded(page: &EncodedPage<'_>) -> Response {
    self::page(page.status, &Encoded { frame: Frame::of(page.account.as_ref()), page })
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
#[template(path = "encoded.html")]
struct Encoded<'a> {
    frame: Frame<'a>,
    page: &'a EncodedPage<'a>,
}
