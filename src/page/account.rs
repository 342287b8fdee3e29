//! The page of a person's own account, and those that belong to it.

use super::answer::{Frame, page, talking_page};
use super::connections::{ConnectionRow, GrantRow};
use super::parts::Moment;
use super::place::{Account, Place};
use super::plain;
use crate::factors::Enrolment;
use crate::secret::Secret;
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
    /// Whether the person has an authenticator app.
    pub authenticator: bool,
    /// Who the person is at providers.
    pub identities: IdentitiesSection,
    /// Passkeys.
    pub passkeys: Vec<PasskeyRow>,
    /// Whether one is asked for after the password.
    pub passkey_after_password: bool,
    /// How many recovery codes are left; `None` for somebody who needs none.
    pub recovery_codes: Option<u32>,
    /// Signed-in browsers.
    pub sessions: Vec<SessionRow>,
    /// Consents.
    pub grants: Vec<GrantRow>,
    /// Services of the token broker.
    pub services: Vec<ServiceRow>,
    /// The unified endpoint; `None` where there is none.
    pub endpoint: Option<EndpointSection>,
}

/// The unified endpoint, and what the person sees there.
pub struct EndpointSection {
    /// Its URL.
    pub url: String,
    /// What may appear there.
    pub members: Vec<MemberRow>,
}

/// Something that may appear at the unified endpoint.
pub struct MemberRow {
    /// Authority and account, as the form sends them back.
    pub value: String,
    /// The upstream, for people.
    pub name: String,
    /// Its domain; `None` for a program.
    pub domain: Option<String>,
    /// Which account; empty for the plain one.
    pub account: String,
    /// Whether the person wants to see it.
    pub shown: bool,
    /// `good`, `quiet` or `bad`: the colour of the state.
    pub tone: &'static str,
    /// Whether it is connected.
    pub state: &'static str,
    /// What the person gave by hand.
    pub given: Vec<String>,
    /// What leads to a connection, in words, and its address.
    pub connect: Option<(&'static str, String)>,
}

/// A service of the token broker, as a person has it.
pub struct ServiceRow {
    /// In addresses.
    pub name: String,
    /// For people.
    pub label: String,
    /// Whether one can sign in there.
    pub can_connect: bool,
    /// The person's authorization.
    pub connection: Option<ConnectionRow>,
    /// When the person left a personal access token here.
    pub pat: Option<Moment>,
    /// Whether the configuration has one for everybody.
    pub has_shared_pat: bool,
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
    /// When the person signed in.
    pub since: Moment,
    /// When it was used.
    pub last_seen: Moment,
    /// Whether it is the one that asks.
    pub this_one: bool,
}

/// Who a person is elsewhere, and where else they could link an identity.
pub struct IdentitiesSection {
    /// The identities.
    pub rows: Vec<IdentityRow>,
    /// Name and label of every provider.
    pub providers: Vec<(String, String)>,
}

/// An identity in words.
pub struct IdentityRow {
    /// With the subject: which one.
    pub issuer: String,
    /// With the issuer: which one.
    pub subject: String,
    /// The provider, for people.
    pub provider: String,
    /// What the person is called there.
    pub name: String,
    /// The verified address.
    pub email: Option<String>,
    /// When it was used.
    pub used: Moment,
}

impl IdentityRow {
    /// The name without what could deceive a reader: somebody else chose it.
    fn shown_name(&self) -> String {
        plain::name(&self.name)
    }
}

/// A passkey in words.
pub struct PasskeyRow {
    /// Its id.
    pub id: String,
    /// The name that its person gave it.
    pub name: String,
    /// When it was added.
    pub since: Moment,
    /// When it signed its person in.
    pub last_used: Option<Moment>,
}

/// The page that asks for the second factor.
pub struct CodePage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Why the last attempt failed.
    pub error: Option<&'a str>,
    /// The visitor's token.
    pub csrf_token: &'a str,
    /// Whether the person has an authenticator app,
    pub authenticator: bool,
    /// a passkey,
    pub passkey: bool,
    /// a recovery code.
    pub recovery: bool,
    /// Where to go afterwards.
    pub return_to: &'a str,
}

/// The page that shows the secret of an authenticator app and asks for its first code.
pub struct EnrolPage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Why the last attempt failed.
    pub error: Option<&'a str>,
    /// Who is signed in; nobody yet, when it is done during sign-in.
    pub account: Option<Account<'a>>,
    /// The session's or the visitor's token.
    pub csrf_token: &'a str,
    /// Where the form goes.
    pub action: &'a str,
    /// What to show.
    pub enrolment: &'a Enrolment,
}

/// Recovery codes, shown this one time.
pub struct CodesPage<'a> {
    /// Who is signed in.
    pub account: Option<Account<'a>>,
    /// The codes.
    pub codes: &'a [Secret],
    /// Where to go on.
    pub go_on: &'a str,
}

/// The page that asks for the second factor.
pub fn code(page: &CodePage<'_>) -> Response {
    talking_page(page.status, &CodeTemplate { frame: Frame::bare(), page })
}

/// The page that sets an authenticator app up.
pub fn enrol(page: &EnrolPage<'_>) -> Response {
    self::page(page.status, &EnrolTemplate { frame: Frame::of(page.account.as_ref()), page })
}

/// The page with recovery codes.
pub fn codes(page: &CodesPage<'_>) -> Response {
    self::page(StatusCode::OK, &CodesTemplate { frame: Frame::of(page.account.as_ref()), page })
}

/// The account page.
pub fn account(page: &AccountPage<'_>) -> Response {
    talking_page(page.status, &AccountTemplate { frame: Frame::at(Place::Account, &page.account), page })
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountTemplate<'a> {
    frame: Frame<'a>,
    page: &'a AccountPage<'a>,
}

#[derive(Template)]
#[template(path = "code.html")]
struct CodeTemplate<'a> {
    frame: Frame<'a>,
    page: &'a CodePage<'a>,
}

#[derive(Template)]
#[template(path = "enrol.html")]
struct EnrolTemplate<'a> {
    frame: Frame<'a>,
    page: &'a EnrolPage<'a>,
}

#[derive(Template)]
#[template(path = "codes.html")]
struct CodesTemplate<'a> {
    frame: Frame<'a>,
    page: &'a CodesPage<'a>,
}
