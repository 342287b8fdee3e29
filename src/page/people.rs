//! People, as administrators see them: all, one, and what is asked before something ends.

use super::answer::{Frame, page};
use super::connections::GrantRow;
use super::parts::Moment;
use super::place::{Account, Place};
use super::plain;
use askama::Template;
use axum::response::Response;
use http::StatusCode;

/// All people.
pub struct PeoplePage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Who looks.
    pub account: Account<'a>,
    /// Why nobody was added.
    pub error: Option<&'a str>,
    /// Whom somebody searches for.
    pub searched: &'a str,
    /// What was typed into the form for somebody new: name and address.
    pub typed: (&'a str, &'a str),
    /// A part of the list.
    pub people: Vec<PersonRow>,
    /// Where the rest is.
    pub more: Option<String>,
}

/// A person in a list.
pub struct PersonRow {
    /// The person's page.
    pub address: String,
    /// The name.
    pub name: String,
    /// Whether the person administers the gateway.
    pub administrator: bool,
    /// Whether sign-in is refused.
    pub disabled: bool,
    /// Only when known.
    pub email: Option<String>,
    /// The first few.
    pub groups: Vec<String>,
    /// Since when there is an account.
    pub since: Moment,
}

/// One person.
pub struct PersonPage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Who looks.
    pub account: Account<'a>,
    /// Why the last deed was not done.
    pub error: Option<&'a str>,
    /// As in the list.
    pub row: PersonRow,
    /// Whether it is whoever looks.
    pub oneself: bool,
    /// Whether there is a password.
    pub has_password: bool,
    /// Whether there is an authenticator app.
    pub authenticator: bool,
    /// How many recovery codes are left.
    pub recovery_codes: u32,
    /// Passkeys.
    pub passkeys: Vec<KeyRow>,
    /// Who the person is at providers.
    pub identities: Vec<ElsewhereRow>,
    /// Signed-in browsers.
    pub sessions: Vec<BrowserRow>,
    /// Groups: the name, and the providers that say so; with none an administrator did.
    pub groups: Vec<GroupRow>,
    /// A part of the connections.
    pub connections: Vec<LinkRow>,
    /// A part of the grants.
    pub grants: Vec<GrantRow>,
    /// Where the rest of each is.
    pub more: (Option<String>, Option<String>),
    /// What the person has.
    pub extent: PersonExtent,
}

/// A passkey.
pub struct KeyRow {
    /// Its id.
    pub id: String,
    /// As the person calls it.
    pub name: String,
    /// When it was added.
    pub since: Moment,
    /// When it was used last.
    pub used: Option<Moment>,
}

/// Who a person is at a provider.
pub struct ElsewhereRow {
    /// The provider.
    pub provider: String,
    /// The person there.
    pub name: String,
    /// When it was used last.
    pub used: Moment,
}

/// A signed-in browser.
pub struct BrowserRow {
    /// Its id.
    pub id: String,
    /// In words.
    pub device: String,
    /// From which address.
    pub address: Option<String>,
    /// How the person signed in.
    pub means: String,
    /// When.
    pub since: Moment,
    /// The last request.
    pub seen: Moment,
}

/// A group of a person.
pub struct GroupRow {
    /// Its name.
    pub name: String,
    /// Whether an administrator said so, and can take it back.
    pub by_administrator: bool,
    /// The providers that say so.
    pub providers: Vec<String>,
}

/// A connection of a person.
pub struct LinkRow {
    /// Its id.
    pub id: String,
    /// Where, for people.
    pub name: String,
    /// Where.
    pub authority: String,
    /// Which account; empty for the plain one.
    pub account: String,
    /// `good`, `quiet` or `bad`: the colour of the state.
    pub tone: &'static str,
    /// The state.
    pub state: &'static str,
    /// When it was made.
    pub since: Moment,
}

/// What a person has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PersonExtent {
    /// Signed-in browsers.
    pub sessions: i64,
    /// Connections to servers and services.
    pub connections: i64,
    /// Consents to clients.
    pub grants: i64,
    /// Streams that are open now.
    pub streams: u64,
}

/// Asks before something ends.
pub struct SurePage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Who is asked.
    pub account: Account<'a>,
    /// Why it was not done.
    pub error: Option<&'a str>,
    /// The question.
    pub title: &'a str,
    /// Whether it is about whoever is asked.
    pub oneself: bool,
    /// What follows from it.
    pub consequences: Vec<String>,
    /// Something that may be chosen: its name, its value, its words.
    pub choice: Option<(&'a str, &'a str, &'a str)>,
    /// Where the answer goes.
    pub action: &'a str,
    /// What the button says.
    pub button: &'a str,
    /// Where the way back leads.
    pub back: &'a str,
}

/// All people.
pub fn people(page: &PeoplePage<'_>) -> Response {
    self::page(page.status, &People { frame: Frame::at(Place::People, &page.account), page })
}

/// One person.
pub fn person(page: &PersonPage<'_>) -> Response {
    self::page(page.status, &Person { frame: Frame::at(Place::People, &page.account), page })
}

/// Asks before something ends.
pub fn sure(page: &SurePage<'_>) -> Response {
    self::page(page.status, &Sure { frame: Frame::at(Place::People, &page.account), page })
}

#[derive(Template)]
#[template(path = "people/all.html")]
struct People<'a> {
    frame: Frame<'a>,
    page: &'a PeoplePage<'a>,
}

#[derive(Template)]
#[template(path = "people/one.html")]
struct Person<'a> {
    frame: Frame<'a>,
    page: &'a PersonPage<'a>,
}

#[derive(Template)]
#[template(path = "people/sure.html")]
struct Sure<'a> {
    frame: Frame<'a>,
    page: &'a SurePage<'a>,
}

impl Person<'_> {
    /// A name that a stranger chose, without what deceives.
    fn plain(text: &str) -> String {
        plain::name(text)
    }
}
