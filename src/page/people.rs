//! The pages of the dashboard.

use super::answer::{Frame, page, page_with_passkeys};
use askama::Template;
use axum::response::Response;
use http::StatusCode;

/// Who is signed in, for the bar on top of a page.
pub struct Account<'a> {
    /// The user name.
    pub name: &'a str,
    /// The session's token, for the button that signs out.
    pub csrf_token: &'a str,
}

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
    /// The person's connections.
    pub connections: Vec<ConnectionRow>,
    /// All upstreams, for administrators.
    pub upstreams: Option<Vec<UpstreamRow>>,
    /// What administrators should do something about.
    pub alerts: Vec<String>,
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
    /// How long ago.
    pub since: String,
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
    page_with_passkeys(page.status, &Login { frame: Frame::bare(), page })
}

/// The page that claims an installation.
pub fn setup(page: &SetupPage<'_>) -> Response {
    self::page(page.status, &Setup { frame: Frame::bare(), page })
}

/// The dashboard.
pub fn home(page: &HomePage<'_>) -> Response {
    self::page(StatusCode::OK, &Home { frame: Frame::of(Some(&page.account)), page })
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
