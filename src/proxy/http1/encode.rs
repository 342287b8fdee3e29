//! Heads and chunks on their way out (RFC 9112 §3, §4, §7.1).

use http::{HeaderMap, HeaderName, Method, StatusCode, Version, header};
use pingora::protocols::http::date::get_cached_date;
use std::io::Write;

/// What ends a chunked body; there are no trailers.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// About how large the fields of a head become.
pub(crate) fn size_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    None,
    /// Its length is known, in bytes.
    Length(u64),
    /// It ends when it ends.
    Chunked,
    /// It is no body but a WebSocket to be.
    Upgrade,
}

/// The first line of a request, `target` in origin form.
pub(super) fn request_line(out: &mut Vec<u8>, method: &Method, target: &str) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// What an answer's head says beside the fields that it is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answering {
    pub(super) status: StatusCode,
    /// What the caller speaks.
    pub(super) version: Version,
    /// Whether the fields have a date.
    pub(super) dated: bool,
    /// Whether the connection ends with it.
    pub(super) close: bool,
}

/// The head of an answer. What it says of the connection is ours to say.
pub(super) fn answer(out: &mut Vec<u8>, answering: Answering, fields: impl FnOnce(&mut Vec<u8>)) {
    let Answering { status, version, dated, close } = answering;
    begin_answer(out, status);
    fields(out);
    if !status.is_informational() {
        if !dated {
            field(out, &header::DATE, get_cached_date().as_bytes());
        }
        if close {
            out.extend_from_slice(b"connection: close\r\n");
        } else if version == Version::HTTP_10 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn begin_answer(out: &mut Vec<u8>, status: StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// All fields.
pub(super) fn fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    headers.iter().for_each(|(name, value)| field(out, name, value.as_bytes()));
}

/// One field.
pub(crate) fn field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The line in front of a chunk of so many bytes.
pub(super) fn chunk_size(out: &mut Vec<u8>, length: usize) {
    // Writing into memory does not fail.
    let _ = write!(out, "{length:x}\r\n");
}
