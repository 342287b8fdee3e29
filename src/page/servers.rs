//! Upstreams, as administrators see them: all, one, and the tools of one.

use super::answer::{Frame, page};
use super::parts::Moment;
use super::place::{Account, Place};
use super::plain;
use crate::doctor::{Outcome, Report, Step};
use askama::Template;
use axum::response::Response;
use http::StatusCode;

/// All upstreams.
pub struct ServersPage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Who looks.
    pub account: Account<'a>,
    /// Why the last deed was not done.
    pub error: Option<&'a str>,
    /// What was typed into the form for a server.
    pub typed: &'a str,
    /// Those that wait for a decision.
    pub waiting: Vec<WaitingRow>,
    /// The others.
    pub upstreams: Vec<UpstreamRow>,
}

/// An upstream that waits for a decision.
pub struct WaitingRow {
    /// Its authority.
    pub authority: String,
    /// Its page.
    pub address: String,
    /// Who wants it; the last few.
    pub asked: Vec<AskedRow>,
}

/// Who wants an upstream.
pub struct AskedRow {
    /// The person; none for a client that registered before anybody signed in.
    pub user: Option<String>,
    /// The client, as it calls itself.
    pub client: Option<String>,
    /// When.
    pub when: Moment,
}

/// An upstream in words.
pub struct UpstreamRow {
    /// For people.
    pub name: String,
    /// Its authority, or the program.
    pub authority: String,
    /// Its page.
    pub address: String,
    /// `good`, `quiet` or `bad`: the colour of the standing.
    pub tone: &'static str,
    /// The standing.
    pub standing: &'static str,
    /// What is limited about it.
    pub limits: Vec<&'static str>,
    /// Why it does not work at the moment, if it does not.
    pub trouble: Option<String>,
}

/// One upstream.
pub struct ServerPage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Who looks.
    pub account: Account<'a>,
    /// Why the last deed was not done.
    pub error: Option<&'a str>,
    /// As in the list.
    pub row: UpstreamRow,
    /// What forms send back.
    pub id: &'a str,
    /// What may be done about it.
    pub deeds: ServerDeeds,
    /// Its URLs here.
    pub urls: Vec<String>,
    /// A name for people, where an administrator gave one.
    pub given_name: &'a str,
    /// A readable label, where an administrator gave one.
    pub alias: &'a str,
    /// Who wants it.
    pub asked: Vec<AskedRow>,
    /// When somebody decided.
    pub decided: Option<Moment>,
    /// What a look at it found.
    pub found: Option<&'a Report>,
    /// Who may use it.
    pub permission: PermissionSection,
    /// What administrators and the configuration say about its tools, in a sentence.
    pub tools: String,
    /// How much hangs on it.
    pub extent: UpstreamExtent,
}

/// What may be done about an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerDeeds {
    /// Let it in.
    pub approve: bool,
    /// Keep it out.
    pub deny: bool,
    /// Forget the decision.
    pub remove: bool,
    /// Look at it before deciding.
    pub look: bool,
}

/// How much hangs on an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamExtent {
    /// Connections of people.
    pub connections: i64,
    /// Of so many people.
    pub people: i64,
    /// Consents to clients.
    pub grants: i64,
    /// Streams that are open now.
    pub streams: u64,
}

/// Who may use an upstream.
pub struct PermissionSection {
    /// Whether the configuration says so, and nobody else can.
    pub configured: bool,
    /// Whether everybody may.
    pub everybody: bool,
    /// These people,
    pub users: Vec<String>,
    /// and the members of these groups, with how many those are.
    pub groups: Vec<(String, i64)>,
    /// Groups that there are, to choose from.
    pub known_groups: Vec<String>,
}

/// The tools of an upstream.
pub struct ToolsPage<'a> {
    /// Of the answer.
    pub status: StatusCode,
    /// Who looks.
    pub account: Account<'a>,
    /// Why the rules were not kept.
    pub error: Option<&'a str>,
    /// The upstream, for people.
    pub name: &'a str,
    /// Its page.
    pub address: &'a str,
    /// When the list was read; none without a list.
    pub read: Option<Moment>,
    /// Why it could not be read now, and where the person connects, if that is why.
    pub trouble: Option<(String, Option<String>)>,
    /// A part of the list.
    pub tools: Vec<ToolRow>,
    /// How many there are.
    pub total: usize,
    /// Where the part before and the part after are.
    pub parts: (Option<String>, Option<String>),
    /// Whether only what is ticked may be used, so that tools which appear later may not.
    pub only_ticked: bool,
    /// Other patterns that allow, a line each.
    pub allowed: String,
    /// Other patterns that deny, a line each.
    pub denied: String,
    /// What the configuration says, in a sentence.
    pub configured: Option<String>,
}

/// A tool.
pub struct ToolRow {
    /// Its name.
    pub name: String,
    /// Its title, where it is another word.
    pub title: Option<String>,
    /// What it does, as the upstream says, in one line.
    pub description: String,
    /// What the upstream says about its effects.
    pub hints: Vec<&'static str>,
    /// Whether administrators permit it.
    pub ticked: bool,
    /// Whether a tick can change that.
    pub fixed: bool,
    /// Why it is as it is, where that does not show.
    pub why: Option<String>,
}

/// All upstreams.
pub fn servers(page: &ServersPage<'_>) -> Response {
    self::page(page.status, &Servers { frame: Frame::at(Place::Servers, &page.account), page })
}

/// One upstream.
pub fn server(page: &ServerPage<'_>) -> Response {
    self::page(page.status, &Server { frame: Frame::at(Place::Servers, &page.account), page })
}

/// The tools of an upstream.
pub fn tools(page: &ToolsPage<'_>) -> Response {
    self::page(page.status, &Tools { frame: Frame::at(Place::Servers, &page.account), page })
}

#[derive(Template)]
#[template(path = "servers/all.html")]
struct Servers<'a> {
    frame: Frame<'a>,
    page: &'a ServersPage<'a>,
}

#[derive(Template)]
#[template(path = "servers/one.html")]
struct Server<'a> {
    frame: Frame<'a>,
    page: &'a ServerPage<'a>,
}

#[derive(Template)]
#[template(path = "servers/tools.html")]
struct Tools<'a> {
    frame: Frame<'a>,
    page: &'a ToolsPage<'a>,
}

impl AskedRow {
    /// The client's name without what deceives.
    fn shown_client(&self) -> Option<String> {
        self.client.as_deref().map(plain::name)
    }
}

impl ToolRow {
    fn shown_name(&self) -> String {
        plain::name(&self.name)
    }

    fn shown_title(&self) -> Option<String> {
        self.title.as_deref().map(plain::name)
    }

    fn shown_description(&self) -> String {
        plain::name(&self.description)
    }
}

impl Server<'_> {
    /// The steps of the look that say something about the server.
    fn steps(report: &Report) -> Vec<&Step> {
        let own = report.clients.iter().flat_map(|client| &client.steps);
        report.common.iter().chain(own).filter(|step| step.is_reached() && step.outcome != Outcome::Skipped).collect()
    }

    fn tone(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Passed => "good",
            Outcome::Warned | Outcome::Skipped => "quiet",
            Outcome::Failed => "bad",
        }
    }

    fn word(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Passed => "good",
            Outcome::Warned => "works, but",
            Outcome::Skipped => "skipped",
            Outcome::Failed => "fails",
        }
    }
}

impl UpstreamExtent {
    /// In words, for whoever is about to end it.
    pub fn in_words(self) -> String {
        let Self { connections, people, grants, streams } = self;
        let connections = match (connections, people) {
            (0, _) => "Nobody has connected it".to_owned(),
            (connections, people) => {
                format!("{} of {}", counted(connections, "connection"), counted_people(people))
            }
        };
        let streams = i64::try_from(streams).unwrap_or(i64::MAX);
        format!("{connections}, {} and {} open now", counted(grants, "grant"), counted(streams, "stream"))
    }
}

/// `no grants`, `one grant`, `5 grants`
pub fn counted(number: i64, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("one {what}"),
        number => format!("{number} {what}s"),
    }
}

fn counted_people(number: i64) -> String {
    if number == 1 { "one person".to_owned() } else { format!("{number} people") }
}
