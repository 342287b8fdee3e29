//! The audit log as lines of JSON: in a file that others collect, and in what `portcullis audit export` prints.

use crate::error::Fault;
use crate::store::{AuditEvent, AuditLine, AuditLink};
use data_encoding::HEXLOWER;
use serde::Serialize;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// A file that lines are added to.
pub(super) struct JsonLines {
    path: PathBuf,
    file: File,
    /// Whether the last line did not get there: said once.
    in_trouble: bool,
}

impl JsonLines {
    /// Opens the file behind its end, for its owner alone when it is new.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|error| {
            Fault::gateway(format!(
                "audit.file {}: {error}; name a file in a directory that the gateway may write to",
                path.display()
            ))
        })?;
        Ok(Self { path: path.to_owned(), file: File::from_std(file), in_trouble: false })
    }

    /// Adds lines; false when they did not get there.
    pub(super) async fn append(&mut self, lines: &[u8]) -> bool {
        let written = async {
            self.file.write_all(lines).await?;
            self.file.flush().await
        };
        let written = written.await;
        if let (Err(error), false) = (&written, self.in_trouble) {
            tracing::error!(%error, file = %self.path.display(), "lines are missing in the file of the audit log");
        }
        self.in_trouble = written.is_err();
        !self.in_trouble
    }
}

/// Adds a line of JSON, with its end. `place`: its number and its link in the chain; a line without is not in the database.
pub(super) fn put_line(text: &mut String, line: &AuditLine<'_>, place: Option<(i64, AuditLink)>) {
    text.push_str(&written(line, place.map(|(number, _)| number), place.map(|(_, link)| link)));
}

/// A line of JSON for one that may be from before the chain.
pub fn line_of(event: &AuditEvent, number: Option<i64>, link: Option<AuditLink>) -> String {
    written(&event.line(), number, link)
}

fn written(line: &AuditLine<'_>, number: Option<i64>, link: Option<AuditLink>) -> String {
    let line = Line {
        number,
        position: link.map(|link| link.position),
        hash: link.map(|link| HEXLOWER.encode(&link.hash.0)),
        at: line.at.to_rfc3339(),
        actor: line.actor,
        action: line.action,
        subject: &line.subject,
        address: line.address,
        upstream: line.upstream,
        client: line.client,
        status: line.status,
        duration_ms: line.duration_ms,
    };
    // Texts and numbers can always be written.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

/// The members in their order.
#[derive(Serialize)]
struct Line<'a> {
    number: Option<i64>,
    position: Option<i64>,
    hash: Option<String>,
    at: String,
    actor: &'a str,
    action: &'a str,
    subject: &'a str,
    address: Option<&'a str>,
    upstream: Option<&'a str>,
    client: Option<&'a str>,
    status: Option<u16>,
    duration_ms: Option<u32>,
}
