//! The pages of the browser flow: consent to a client, approval of an upstream, and a message when it ends here.

use super::answer::{Frame, page};
use super::place::Account;
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
    /// Where the answer goes.
    pub destination: Destination<'a>,
    /// The resource (RFC 8707).
    pub resource: &'a str,
    /// The upstream, for people.
    pub upstream_name: &'a str,
    /// Which account, when the hostname names one.
    pub account: Option<&'a str>,
    /// What is asked for; empty for everything.
    pub scopes: Vec<&'a str>,
    /// Whether the person may choose not to be asked again.
    pub can_remember: bool,
    /// Who is signed in.
    pub user: &'a str,
    /// Where the form goes.
    pub action: &'a str,
    /// The handle of the flow.
    pub flow: &'a str,
    /// The session's token.
    pub csrf_token: &'a str,
}

/// Where the answer to a client goes.
pub enum Destination<'a> {
    /// To its redirect URI.
    Address {
        /// Its host, or what stands in its place.
        host: &'a str,
        /// What is special about it: an application on this computer, a scheme of its own.
        warning: Option<&'a str>,
    },
    /// To a device that shows this code.
    Device {
        /// `WDJB-MJHT`
        user_code: &'a str,
    },
}

/// The form for the code that a device shows.
pub struct DevicePage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Why the last code was not taken.
    pub error: Option<&'a str>,
    /// The code typed last, or the one of the link.
    pub user_code: &'a str,
    /// Who is signed in.
    pub user: &'a str,
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

/// What does the person give this upstream by hand?
pub struct CredentialPage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Who is signed in, with the session's token.
    pub account: Account<'a>,
    /// Why the last attempt was refused.
    pub error: Option<&'a str>,
    /// The upstream, for people.
    pub name: &'a str,
    /// Its domain; `None` for a program.
    pub domain: Option<&'a str>,
    /// Which of the person's accounts there; empty for the plain one.
    pub account_name: &'a str,
    /// Whether the values are for the environment of a program.
    pub environment: bool,
    /// What is asked for.
    pub fields: Vec<CredentialField<'a>>,
    /// Where the form goes, and comes back to.
    pub action: &'a str,
}

/// One value.
pub struct CredentialField<'a> {
    /// The header or the variable.
    pub name: &'a str,
    /// Whether the person has given it already, so that it may be left as it is.
    pub given: bool,
}

/// May this service be connected?
pub struct ConnectPage<'a> {
    /// The service, for people.
    pub service: &'a str,
    /// Where the person will be asked.
    pub host: &'a str,
    /// The program that sent the person here; `None` when they came by themselves.
    pub program: Option<&'a str>,
    /// What is asked for; empty for the service's default.
    pub scopes: Vec<&'a str>,
    /// Who is signed in.
    pub user: &'a str,
    /// Where the person goes on afterwards, when that is not here.
    pub return_host: Option<&'a str>,
    /// Where the form goes.
    pub action: &'a str,
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

/// The page on which a person types the code of a device.
pub fn device(page: &DevicePage<'_>) -> Response {
    self::page(page.status, &Device { frame: Frame::bare(), page })
}

/// The name of a client as pages show it, for a sentence around it.
pub fn plain_name(name: &str) -> String {
    plain::name(name)
}

/// The page on which an administrator lets an upstream in.
pub fn approval(page: &ApprovalPage<'_>) -> Response {
    let client_name = plain::name(page.client_name);
    self::page(StatusCode::OK, &Approval { frame: Frame::bare(), client_name, page })
}

/// The page on which a person decides whether a service of the broker is connected.
pub fn connect(page: &ConnectPage<'_>) -> Response {
    self::page(StatusCode::OK, &Connect { frame: Frame::bare(), page })
}

/// The page on which a person gives an upstream an API key or other secrets. None of them is ever shown.
pub fn credential(page: &CredentialPage<'_>) -> Response {
    self::page(page.status, &Credential { frame: Frame::of(Some(&page.account)), page })
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
#[template(path = "credential.html")]
struct Credential<'a> {
    frame: Frame<'a>,
    page: &'a CredentialPage<'a>,
}

#[derive(Template)]
#[template(path = "device.html")]
struct Device<'a> {
    frame: Frame<'static>,
    page: &'a DevicePage<'a>,
}

#[derive(Template)]
#[template(path = "approval.html")]
struct Approval<'a> {
    frame: Frame<'static>,
    client_name: String,
    page: &'a ApprovalPage<'a>,
}

#[derive(Template)]
#[template(path = "connect.html")]
struct Connect<'a> {
    frame: Frame<'static>,
    page: &'a ConnectPage<'a>,
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    frame: Frame<'static>,
    page: &'a MessagePage<'a>,
}
