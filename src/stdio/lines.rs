//! What a program writes and nobody understands, line by line for the log: bounded, rate-limited, without secrets.

use crate::secret::Secret;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

/// How much of a line is logged, in bytes.
const LINE: usize = 2048;
/// How many lines of one program are logged
const LINES: u32 = 100;
/// in that time; the others are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// How much is read at once.
const CHUNK: usize = 4 << 10;

/// Which program writes, and what must not be told of it.
pub(super) struct Writer {
    /// The authority of the upstream.
    pub(super) upstream: String,
    /// The number of the process.
    pub(super) process: u32,
    /// Values of its environment that are secret.
    pub(super) secrets: Vec<Secret>,
}

/// The log of one stream of a program.
pub(super) struct Lines {
    writer: Arc<Writer>,
    /// `"standard error"`
    stream: &'static str,
    since: Instant,
    logged: u32,
    left_out: u64,
    /// The last line, which often says why a program ended.
    pub(super) last: String,
}

impl Lines {
    pub(super) fn new(writer: Arc<Writer>, stream: &'static str) -> Self {
        Self { writer, stream, since: Instant::now(), logged: 0, left_out: 0, last: String::new() }
    }

    /// Logs a line, unless there were too many of late.
    pub(super) fn take(&mut self, line: &[u8]) {
        if self.since.elapsed() > WINDOW {
            self.tell_left_out();
            (self.since, self.logged) = (Instant::now(), 0);
        }
        if self.logged >= LINES {
            self.left_out += 1;
            return;
        }
        let text = self.clean(line);
        if text.is_empty() {
            return;
        }
        self.logged += 1;
        let Writer { upstream, process, .. } = &*self.writer;
        tracing::info!(target: "stdio", upstream, process, stream = self.stream, "{text}");
        self.last = text;
    }

    /// Logs everything that comes, until it ends.
    pub(super) async fn follow(&mut self, mut source: impl AsyncRead + Unpin) {
        let mut line = Vec::new();
        let mut chunk = Vec::with_capacity(CHUNK);
        while let Ok(1..) = source.read_buf(&mut chunk).await {
            let mut rest = &chunk[..];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                self.extend(&mut line, &rest[..end]);
                self.take(&line);
                line.clear();
                rest = &rest[end + 1..];
            }
            self.extend(&mut line, rest);
            chunk.clear();
        }
        self.take(&line);
        self.tell_left_out();
    }

    fn tell_left_out(&mut self) {
        if self.left_out > 0 {
            let Writer { upstream, process, .. } = &*self.writer;
            tracing::warn!(target: "stdio", upstream, process, lines = self.left_out, "it wrote more than is logged");
            self.left_out = 0;
        }
    }

    /// As one line of text that can be shown, without secrets. A secret that begins before the end of what is shown is looked at
    /// as a whole.
    fn clean(&self, line: &[u8]) -> String {
        let cut = &line[..line.len().min(self.room())];
        let mut text = String::from_utf8_lossy(cut).into_owned();
        for secret in self.writer.secrets.iter().map(Secret::expose).filter(|secret| !secret.is_empty()) {
            if text.contains(secret) {
                text = text.replace(secret, "[secret]");
            }
        }
        text.truncate(text.floor_char_boundary(LINE));
        text.replace(char::is_control, " ").trim().to_owned()
    }

    /// Keeps no more of a line than is looked at.
    fn extend(&self, line: &mut Vec<u8>, more: &[u8]) {
        let room = self.room().saturating_sub(line.len());
        line.extend_from_slice(&more[..more.len().min(room)]);
    }

    fn room(&self) -> usize {
        LINE + self.writer.secrets.iter().map(|secret| secret.expose().len()).max().unwrap_or(0)
    }
}
