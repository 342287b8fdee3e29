//! Messages on a program's pipes: one JSON value a line (MCP, stdio transport).

use super::lines::Lines;
use bytes::{Bytes, BytesMut};
use serde::de::IgnoredAny;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// How much is read at once, and how much memory a quiet program costs.
const CHUNK: usize = 8 << 10;
/// A buffer that has grown beyond this is given back once it is empty.
const KEPT: usize = 64 << 10;
/// How many lines that are no JSON a program may write without a message between them,
const GARBAGE_LINES: u32 = 1000;
/// and how many bytes of them.
const GARBAGE_BYTES: usize = 1 << 20;

/// Why reading ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// The program closed its output, or ended.
    Closed,
    /// Nobody wants its messages any longer.
    Unwanted,
    /// It does what no MCP server does; in words that follow "it".
    Misbehaved(String),
}

/// Why writing ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// The program closed its input, or ended.
    Closed,
    /// There is nobody any longer who could write.
    Released,
    /// It does not read; in words that follow "it".
    Stuck(String),
}

/// Takes messages out of a program's output until it ends. Lines that are no JSON go to `garbage`.
pub(super) async fn read(
    mut output: impl AsyncRead + Unpin,
    messages: mpsc::Sender<Bytes>,
    longest: usize,
    garbage: &mut Lines,
) -> Output {
    let mut buffer = BytesMut::new();
    let mut searched = 0;
    let (mut lines, mut bytes) = (0, 0);
    loop {
        while let Some(end) = memchr::memchr(b'\n', &buffer[searched..]).map(|at| searched + at) {
            let line = buffer.split_to(end + 1).freeze();
            searched = 0;
            let line = line.slice_ref(line.trim_ascii());
            if line.is_empty() {
                continue;
            }
            if is_json(&line) {
                (lines, bytes) = (0, 0);
                if messages.send(line).await.is_err() {
                    return Output::Unwanted;
                }
                continue;
            }
            (lines, bytes) = (lines + 1, bytes + line.len());
            garbage.take(&line);
            if lines > GARBAGE_LINES || bytes > GARBAGE_BYTES {
                return Output::Misbehaved(format!("wrote {lines} lines in a row that are not JSON"));
            }
        }
        searched = buffer.len();
        if searched > longest {
            return Output::Misbehaved(format!("wrote a line of more than {} KiB", longest >> 10));
        }
        if buffer.is_empty() && buffer.capacity() > KEPT {
            buffer = BytesMut::new();
        }
        buffer.reserve(CHUNK);
        let read = tokio::select! { biased;
            read = output.read_buf(&mut buffer) => read,
            // A program that says nothing would never find out that nobody listens.
            () = messages.closed() => return Output::Unwanted,
        };
        match read {
            // What has no newline at its end is not complete.
            Ok(0) | Err(_) => return Output::Closed,
            Ok(_) => {}
        }
    }
}

/// Writes messages to a program's input until one of both is gone. What takes longer than `patience` is not read at all.
pub(super) async fn write(
    mut input: impl AsyncWrite + Unpin,
    messages: &mut mpsc::Receiver<Bytes>,
    patience: Duration,
) -> Input {
    while let Some(message) = messages.recv().await {
        let mut line = BytesMut::with_capacity(message.len() + 1);
        line.extend_from_slice(&message);
        // Outside of strings, where they cannot be, newlines mean nothing.
        line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        line.extend_from_slice(b"\n");
        let mut rest = &line[..];
        while !rest.is_empty() {
            match tokio::time::timeout(patience, input.write(rest)).await {
                Ok(Ok(0) | Err(_)) => return Input::Closed,
                Ok(Ok(written)) => rest = &rest[written..],
                Err(_) => return Input::Stuck(format!("did not read its input for {} s", patience.as_secs())),
            }
        }
    }
    Input::Released
}

fn is_json(line: &[u8]) -> bool {
    matches!(line.first(), Some(b'{' | b'[')) && serde_json::from_slice::<IgnoredAny>(line).is_ok()
}
