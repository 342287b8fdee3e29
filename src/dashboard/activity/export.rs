//! The log to take along: all lines that fit, the oldest first, as they are read. However long it is, a thousand lines at a time
//! are in memory.

use super::asked::Asked;
use super::seats::{Seat, Seats};
use super::{by_ourselves, crowded, unclear};
use crate::audit::{Walk, line_of};
use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::page::LOG;
use crate::request::Arrival;
use crate::session::SignedIn;
use crate::store::ChainedEvent;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, header};
use std::borrow::Cow;
use std::io;
use std::sync::Arc;

/// The first line of a table.
const COLUMNS: &str = "number,at,actor,action,subject,upstream,client,status,duration_ms,address\r\n";

/// How lines are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// RFC 4180.
    Csv,
    /// As in the file of the audit log, with the links of the chain.
    JsonLines,
}

/// `GET /activity/export`
pub(super) async fn take_along(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    Extension(seats): Extension<Arc<Seats>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let person = dashboard.person(&headers, LOG).await?;
    by_ourselves(&headers)?;
    let format = match asked.format.as_str() {
        "csv" => Format::Csv,
        "jsonl" => Format::JsonLines,
        _ => return Ok(unclear("The format is csv or jsonl.")),
    };
    let question = match asked.question(&person.user) {
        Ok(question) => question,
        Err(why) => return Ok(unclear(why)),
    };
    let Some(seat) = seats.take(person.user.id) else { return Ok(crowded()) };
    let (kind, ending) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        Format::JsonLines => ("application/jsonl; charset=utf-8", "jsonl"),
    };
    dashboard.audit.record(&person.user.name, "audit.exported", ending, Some(arrival.client));
    let today = dashboard.clock.now().to_rfc3339();
    let name = format!("attachment; filename=\"audit-{}.{ending}\"", today.get(..10).unwrap_or_default());
    let walk = question.wanted.all(dashboard.store.clone()).await?;
    let taking =
        Taking { dashboard, person, walk, format, head: (format == Format::Csv).then_some(COLUMNS), _seat: seat };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_DISPOSITION, name.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    Ok((headers, Body::from_stream(stream::try_unfold(taking, Taking::next))).into_response())
}

/// Somebody who takes the log along.
struct Taking {
    dashboard: Arc<Dashboard>,
    person: SignedIn,
    walk: Walk,
    format: Format,
    /// What comes before the first line.
    head: Option<&'static str>,
    _seat: Seat,
}

impl Taking {
    /// The next lines. What ends early breaks off, so that nobody takes a part for the whole.
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if let Some(head) = self.head.take() {
            return Ok(Some((head.into(), self)));
        }
        loop {
            let person = self.dashboard.sessions.person_of(&self.person).await.map_err(io::Error::other)?;
            if person.is_none_or(|user| user.role != self.person.user.role) {
                return Err(io::Error::other("the session is over"));
            }
            let Some(lines) = self.walk.step().await.map_err(io::Error::other)? else { return Ok(None) };
            if lines.is_empty() {
                continue;
            }
            let text: String = lines.iter().map(|line| self.format.write(line)).collect();
            return Ok(Some((text.into(), self)));
        }
    }
}

impl Format {
    fn write(self, line: &ChainedEvent) -> String {
        let (number, event) = (line.numbered.number, &line.numbered.event);
        if self == Format::JsonLines {
            return line_of(event, Some(number), line.link);
        }
        let status = event.status.map(|status| status.to_string()).unwrap_or_default();
        let duration = event.duration_ms.map(|taken| taken.to_string()).unwrap_or_default();
        let cells = [
            &number.to_string(),
            &event.at.to_rfc3339(),
            &event.actor,
            &event.action,
            &event.subject,
            event.upstream.as_deref().unwrap_or_default(),
            event.client.as_deref().unwrap_or_default(),
            &status,
            &duration,
            event.address.as_deref().unwrap_or_default(),
        ];
        format!("{}\r\n", cells.map(cell).join(","))
    }
}

/// A cell of RFC 4180. What a spreadsheet would take for a formula gets an apostrophe in front: names come from outside.
fn cell(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if !is_formula && !text.contains(['"', ',', '\r', '\n']) {
        return text.into();
    }
    let mark = if is_formula { "'" } else { "" };
    format!("\"{mark}{}\"", text.replace('"', "\"\"")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_no_formulas_and_stay_one_cell() {
        for (text, expected) in [
            ("", ""),
            ("search", "search"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"\n", "\"say \"\"hi\"\"\n\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("@sum", "\"'@sum\""),
            ("-1", "\"'-1\""),
        ] {
            assert_eq!(cell(text), expected, "{text}");
        }
    }
}
