//! Lines of the audit log: who called which tool when, and everything else that was done.

use super::{Choice, Chosen, EXPORT, FIGURES, LOG, LONGEST, STREAM};
use crate::page::answer::{Frame, talking_page};
use crate::page::place::{Account, Place};
use crate::page::words::cut;
use crate::store::AuditEvent;
use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use std::collections::HashMap;

/// Actions that the form proposes.
const ACTIONS: [&str; 8] = [
    "tool.called",
    "tool.refused",
    "login.succeeded",
    "login.failed",
    "grant.created",
    "grant.revoked",
    "upstream.approved",
    "connection.removed",
];

/// Lines of the audit log.
pub struct LogPage<'a> {
    /// 200, or 400 with an error.
    pub status: StatusCode,
    /// Who looks. Members see their own lines only.
    pub account: Account<'a>,
    /// What the address says.
    pub choice: &'a Choice,
    /// Why that cannot be looked for.
    pub error: Option<&'a str>,
    /// The newest first.
    pub lines: Vec<LogLine>,
    /// Before which line to go on, if there may be more.
    pub older: Option<i64>,
    /// The line after which others come as they are written; none where nothing can come.
    pub follow_after: Option<i64>,
    /// Names of clients by id, where they are known.
    pub client_names: &'a HashMap<String, String>,
}

/// A line in words, with the ways to those like it.
#[derive(Default)]
pub struct LogLine {
    number: i64,
    at: String,
    time: String,
    actor: Part,
    action: Part,
    subject: Part,
    upstream: Part,
    client: Part,
    outcome: String,
    from: String,
}

/// A word of a line; without an address it is no link.
#[derive(Default, Serialize)]
struct Part {
    text: String,
    address: Option<String>,
}

impl LogLine {
    /// A line as it is shown on a page with this choice.
    pub fn new(number: i64, event: &AuditEvent, choice: &Choice, client_names: &HashMap<String, String>) -> Self {
        let at = event.at.to_rfc3339();
        let part = |text: &str, value: &str, narrow: fn(&mut Choice, String)| {
            let address = (!value.is_empty() && value.len() <= LONGEST).then(|| {
                let mut narrowed = choice.clone();
                narrow(&mut narrowed, value.to_owned());
                narrowed.address(LOG, &[])
            });
            Part { text: cut(text), address }
        };
        let (upstream, client) = (event.upstream.as_deref().unwrap_or(""), event.client.as_deref().unwrap_or(""));
        let client_name = client_names.get(client).map_or(client, String::as_str);
        let tool = if event.action.starts_with("tool.") { event.subject.as_str() } else { "" };
        let status = event.status.map(|status| status.to_string());
        let took = event.duration_ms.map(|taken| crate::page::words::milliseconds(u64::from(taken)));
        Self {
            number,
            time: at.get(..19).unwrap_or_default().replace('T', " "),
            at,
            actor: part(&event.actor, &event.actor, |choice, value| choice.person = value),
            action: part(&event.action, &event.action, |choice, value| choice.action = value),
            subject: part(&event.subject, tool, |choice, value| choice.tool = value),
            upstream: part(upstream, upstream, |choice, value| choice.upstream = value),
            client: part(client_name, client, |choice, value| choice.client = value),
            outcome: status.into_iter().chain(took).collect::<Vec<_>>().join(", "),
            from: event.address.as_deref().map(cut).unwrap_or_default(),
        }
    }
}

impl LogLine {
    /// The line as the page's script wants it, which shows it as if it had been on the page.
    pub fn told(&self) -> String {
        let plain = |text: &str| serde_json::json!({ "text": text });
        let line = serde_json::json!({
            "number": self.number,
            "at": self.at,
            "parts": {
                "actor": self.actor,
                "action": self.action,
                "subject": self.subject,
                "upstream": self.upstream,
                "client": self.client,
                "outcome": plain(&self.outcome),
                "from": plain(&self.from),
            },
        });
        line.to_string()
    }
}

/// Lines of the audit log.
pub fn log(page: &LogPage<'_>) -> Response {
    let choice = page.choice;
    let client_name = page.client_names.get(&choice.client).map(String::as_str);
    let stream = page.follow_after.map(|after| choice.address(STREAM, &[("after", &after.to_string())]));
    let figures = Choice { action: String::new(), since: String::new(), until: String::new(), ..choice.clone() };
    let field = |time: &str| time.get(..19).unwrap_or(time).to_owned();
    talking_page(
        page.status,
        &Log {
            frame: Frame::at(Place::Activity, &page.account),
            page,
            chosen: choice.chosen(LOG, client_name, !page.account.administrator),
            here: choice.address(LOG, &[]),
            figures: figures.address(FIGURES, &[]),
            all: Choice::default().address(LOG, &[]),
            older: page.older.map(|number| choice.address(LOG, &[("before", &number.to_string())])),
            stream,
            exports: ["csv", "jsonl"].map(|format| choice.address(EXPORT, &[("format", format)])),
            since: field(&choice.since),
            until: field(&choice.until),
            actions: &ACTIONS,
            blank: [LogLine::default()],
        },
    )
}

#[derive(Template)]
#[template(path = "activity_log.html")]
struct Log<'a> {
    frame: Frame<'a>,
    page: &'a LogPage<'a>,
    chosen: Vec<Chosen>,
    here: String,
    figures: String,
    all: String,
    older: Option<String>,
    stream: Option<String>,
    exports: [String; 2],
    since: String,
    until: String,
    actions: &'static [&'static str],
    /// What the script makes lines of.
    blank: [LogLine; 1],
}
