//! How the gateway itself does: its version, processes, certificates, keys, and what it goes by.

use super::answer::{Frame, page};
use super::parts::Moment;
use super::place::{Account, Place};
use crate::config::{InForce, Shown};
use askama::Template;
use axum::response::Response;
use http::StatusCode;

/// The overview.
pub struct SystemPage<'a> {
    /// Who looks.
    pub account: Account<'a>,
    /// Of the program that answers.
    pub version: &'static str,
    /// Processes that serve.
    pub nodes: Vec<NodeRow>,
    /// What the listeners present; none where somebody else ends TLS.
    pub certificates: Vec<CertificateRow>,
    /// Upstreams that requests were sent to, by the process that answers.
    pub upstreams: Vec<UpstreamHealthRow>,
    /// What signs access tokens.
    pub keys: Vec<SigningKeyRow>,
}

/// A process in words.
pub struct NodeRow {
    /// The machine.
    pub host: String,
    /// The process there.
    pub pid: u32,
    /// Of its program.
    pub version: String,
    /// Whether that is another one than the reader's.
    pub other_version: bool,
    /// Whether it made this page.
    pub this_one: bool,
    /// `good`, `quiet` or `bad`: the colour of the state.
    pub tone: &'static str,
    /// How it does.
    pub state: String,
    /// Since when it serves.
    pub since: Moment,
    /// How long ago it said so, in words.
    pub heard: String,
    /// Answers that it is streaming.
    pub streams: i64,
    /// What of its memory is in the machine's; empty where nobody knows.
    pub memory: String,
    /// How far it is behind the changes that others make, in words; none when it is not.
    pub behind: Option<String>,
}

/// A certificate in words.
pub struct CertificateRow {
    /// What it is for.
    pub names: Vec<String>,
    /// Where it comes from.
    pub origin: &'static str,
    /// `good` or `bad`.
    pub tone: &'static str,
    /// How it stands.
    pub state: &'static str,
    /// When it ends.
    pub ends: Option<Moment>,
    /// When the next one is ordered.
    pub renewal: Option<Moment>,
    /// Why the last order failed.
    pub last_error: Option<String>,
}

/// How an upstream does, in words.
pub struct UpstreamHealthRow {
    /// For people.
    pub name: String,
    /// Its authority.
    pub authority: String,
    /// `good`, `quiet` or `bad`.
    pub tone: &'static str,
    /// Whether requests are sent.
    pub state: &'static str,
    /// Since this process began.
    pub requests: u64,
    /// Of these.
    pub failures: u64,
    /// Those that were not sent.
    pub refused: u64,
    /// Without an answer yet.
    pub waiting: u32,
    /// When the last one failed, and why.
    pub last_failure: Option<(Moment, String)>,
}

/// A signing key in words.
pub struct SigningKeyRow {
    /// Its name in tokens.
    pub kid: String,
    /// What it signs with.
    pub algorithm: &'static str,
    /// `good` or `quiet`.
    pub tone: &'static str,
    /// What it does.
    pub state: &'static str,
    /// From when on it signs.
    pub signs: Moment,
    /// Until when it is believed.
    pub believed: Option<Moment>,
}

/// The configuration as it is in force.
pub struct ConfigurationPage<'a> {
    /// Who looks.
    pub account: Account<'a>,
    /// All of it.
    pub in_force: &'a InForce,
}

/// What has changed with this version.
pub struct NotesPage<'a> {
    /// Who looks.
    pub account: Account<'a>,
    /// Of the program.
    pub version: &'static str,
    /// What this is about: a version.
    pub title: &'a str,
    /// Each part with its heading.
    pub parts: &'a [(&'a str, Vec<String>)],
}

/// The overview.
pub fn system(page: &SystemPage<'_>) -> Response {
    self::page(StatusCode::OK, &System { frame: Frame::at(Place::System, &page.account), page })
}

/// The configuration.
pub fn configuration(page: &ConfigurationPage<'_>) -> Response {
    self::page(StatusCode::OK, &Configuration { frame: Frame::at(Place::System, &page.account), page })
}

/// What has changed.
pub fn notes(page: &NotesPage<'_>) -> Response {
    self::page(StatusCode::OK, &Notes { frame: Frame::at(Place::System, &page.account), page })
}

/// The parts of the room: name and address.
pub(super) const PARTS: [(&str, &str); 4] = [
    ("Overview", "/system"),
    ("Configuration", "/system/configuration"),
    ("Update notes", "/system/notes"),
    ("Doctor", "/doctor"),
];

#[derive(Template)]
#[template(path = "system/overview.html")]
struct System<'a> {
    frame: Frame<'a>,
    page: &'a SystemPage<'a>,
}

#[derive(Template)]
#[template(path = "system/configuration.html")]
struct Configuration<'a> {
    frame: Frame<'a>,
    page: &'a ConfigurationPage<'a>,
}

#[derive(Template)]
#[template(path = "system/notes.html")]
struct Notes<'a> {
    frame: Frame<'a>,
    page: &'a NotesPage<'a>,
}
