//! Our own HTTP/1.1 beside a reader that knows one strict form of it only.

// A target that fails says so, and is one list of what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cognitive_complexity)]

use super::body::Body;
use super::chunks::Chunks;
use super::head::{self, EndOfHead};
use super::{NextHead, ServerSession, Wire, encode};
use crate::fuzzing::{Input, pieces};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::{HeaderMap, Version, header};
use pingora::http::RequestHeader;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};

/// Nobody waits for so long.
const LONG: Duration = Duration::from_secs(3600);

/// What is read of a head that a session would take.
pub(in crate::proxy) fn request_head(bytes: &[u8]) -> Option<RequestHeader> {
    head::request(&Bytes::copy_from_slice(bytes)).ok().map(|request| request.head)
}

/// A message as the strict reader understands it.
#[derive(Debug, PartialEq, Eq)]
struct Strict {
    method: String,
    target: String,
    framing: Length,
    /// Of the head, in bytes, with blank lines before it.
    length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(u64),
    Chunked,
}

/// The fields behind a first line, by lower-case names. `None` for whatever is not plainly a head.
fn strict_fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Vec<(String, &'a [u8])>> {
    lines
        .map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
            let plain = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
            let good = !name.is_empty() && name.iter().all(token) && value.iter().all(plain);
            good.then(|| (String::from_utf8_lossy(name).to_ascii_lowercase(), value))
        })
        .collect()
}

/// The head that `bytes` begins with; `None` when nothing is there that everybody would understand in the same way.
fn strict_request(bytes: &[u8]) -> Option<Strict> {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let mut lines = Vec::new();
    let mut at = blank;
    loop {
        let end = at + bytes[at..].iter().position(|byte| *byte == b'\n')?;
        let line = bytes[at..end].strip_suffix(b"\r").unwrap_or(&bytes[at..end]);
        at = end + 1;
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut first = lines.first()?.split(|byte| *byte == b' ');
    let (method, target, version) = (first.next()?, first.next()?, first.next()?);
    let is_1_1 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return None,
    };
    if first.next().is_some() || method.is_empty() || target.is_empty() {
        return None;
    }
    let fields = strict_fields(lines[1..].iter().copied())?;
    let all =
        |name: &str| fields.iter().filter(|(known, _)| known == name).map(|(_, value)| *value).collect::<Vec<_>>();
    if all("host").len() > 1 {
        return None;
    }
    let number = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let lengths: Option<Vec<u64>> =
        all("content-length").iter().flat_map(|value| value.split(|byte| *byte == b',')).map(number).collect();
    let lengths = lengths?;
    let framing = match (all("transfer-encoding")[..].first(), lengths.first()) {
        (None, None) => Length::Known(0),
        (None, Some(first)) if lengths.iter().all(|length| length == first) => Length::Known(*first),
        (Some(coding), None)
            if is_1_1 && coding.eq_ignore_ascii_case(b"chunked") && all("transfer-encoding").len() == 1 =>
        {
            Length::Chunked
        }
        _ => return None,
    };
    let text = |part: &[u8]| String::from_utf8(part.to_vec()).ok();
    Some(Strict { method: text(method)?, target: text(target)?, framing, length: at })
}

/// A chunked body at the beginning of `bytes`: its payload, and how many bytes it takes.
fn strict_chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut payload, mut at) = (Vec::new(), 0);
    let line = |at: usize| {
        let end = at + bytes.get(at..)?.iter().position(|byte| *byte == b'\n')?;
        Some((bytes[at..end].strip_suffix(b"\r").filter(|line| !line.contains(&b'\r'))?, end + 1))
    };
    loop {
        let (size, next) = line(at)?;
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits == 0 || !matches!(size.get(digits), None | Some(b';' | b' ' | b'\t')) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(&size[..digits]).ok()?, 16).ok()?;
        at = next;
        if size == 0 {
            loop {
                let (trailer, next) = line(at)?;
                at = next;
                if trailer.is_empty() {
                    return Some((payload, at));
                }
            }
        }
        let size = usize::try_from(size).ok()?;
        payload.extend_from_slice(bytes.get(at..at.checked_add(size)?)?);
        at += size;
        if bytes.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
}

/// A head that is taken is one to the strict reader too, with the same target and the same framing.
pub(in crate::proxy) fn request(data: &[u8]) {
    let mut bytes = BytesMut::from(data);
    let Some(length) = EndOfHead::default().find(&mut bytes) else { return };
    let whole = bytes.split_to(length).freeze();
    let Ok(request) = head::request(&whole) else { return };
    let strict = strict_request(data).unwrap_or_else(|| panic!("taken: {:?}", whole));
    assert_eq!(strict.method, request.head.method.as_str());
    let framing = match request.body {
        Body::Done => Length::Known(0),
        Body::Length(length) => Length::Known(length),
        Body::Chunked(_) => Length::Chunked,
        Body::UntilClose => panic!("a request until the end of the connection"),
    };
    assert_eq!(strict.framing, framing);
    let target = request.head.uri.path_and_query().map_or("", |target| target.as_str());
    assert!(strict.target.ends_with(target) || target == "/", "{} became {target}", strict.target);
    assert!(!strict.target.contains(['#', ' ']));
    // Written again it is the same: nothing in it opens a line.
    let mut written = Vec::new();
    encode::request_line(&mut written, &request.head.method, target);
    encode::fields(&mut written, &request.head.headers);
    written.extend_from_slice(b"\r\n");
    if request.head.uri.authority().is_none() && !target.is_empty() {
        let again = head::request(&Bytes::from(written)).unwrap_or_else(|_| panic!("not taken again: {whole:?}"));
        assert_eq!(again.head.headers, request.head.headers);
        assert_eq!(again.head.uri, request.head.uri);
        assert!(request.head.version != Version::HTTP_11 || again.persistent == request.persistent);
    }
}

thread_local! {
    // Its clock is asked for deadlines, and nothing waits for them.
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
}

/// What one request of a connection was.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Request(String, String, Vec<u8>),
    /// The head was taken, its body broke off or was none.
    Broken(String, String),
    Malformed,
}

/// The requests of a connection on which this arrives piece by piece.
fn served(stream: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let mut session = ServerSession::new(Wire::Pingora(Box::new(ours)), ([127, 0, 0, 1], 1).into(), LONG);
    let serving = async {
        let mut seen = Vec::new();
        loop {
            match session.read_head((LONG, LONG), |_| true).await {
                NextHead::Ready => {}
                NextHead::Nothing | NextHead::NoRoom => return seen,
                NextHead::Malformed(_) => {
                    seen.push(Seen::Malformed);
                    return seen;
                }
            }
            let (method, target) = (session.head().method.to_string(), session.head().uri.to_string());
            let mut body = Vec::new();
            loop {
                match session.read_body().await {
                    Ok(Some(piece)) => body.extend_from_slice(&piece),
                    Ok(None) => break,
                    Err(_) => {
                        seen.push(Seen::Broken(method, target));
                        return seen;
                    }
                }
            }
            assert!(session.is_body_done());
            seen.push(Seen::Request(method, target, body));
        }
    };
    // A piece is written when the one before it has been read. Everything happens here and at once, so that a session which waits
    // at the end of a connection waits for ever.
    RUNTIME.with(|runtime| {
        let _entered = runtime.enter();
        let (mut serving, mut context) = (pin!(serving), Context::from_waker(Waker::noop()));
        for piece in pieces(stream, cuts) {
            theirs.write_all(piece).now_or_never().expect("there is room for all of it").unwrap();
            if let Poll::Ready(seen) = serving.as_mut().poll(&mut context) {
                return seen;
            }
        }
        let _ = theirs.shutdown().now_or_never();
        match serving.as_mut().poll(&mut context) {
            Poll::Ready(seen) => seen,
            Poll::Pending => panic!("the end of a connection is waited for"),
        }
    })
}

/// However a connection's bytes arrive, the same requests are in them, and they are those that the strict reader finds.
pub(in crate::proxy) fn pipeline(data: &[u8]) {
    let mut input = Input::new(data);
    let cuts = input.cuts();
    let stream = input.rest();
    // No more than the connection in memory takes at once.
    let stream = &stream[..stream.len().min(32 * 1024)];
    let seen = served(stream, &cuts);
    // What is plainly no HTTP is refused when its first piece is there; no other decision depends on pieces.
    let whole = served(stream, &[]);
    let refused = |seen: &[Seen]| matches!(seen, [.., Seen::Malformed]);
    if refused(&seen) || refused(&whole) {
        let heads = |seen: &[Seen]| seen.iter().filter(|one| **one != Seen::Malformed).count();
        assert_eq!(heads(&seen), heads(&whole), "{seen:?} and {whole:?}");
        assert!(seen.iter().zip(&whole).take(heads(&seen)).all(|(one, other)| one == other));
    } else {
        assert_eq!(seen, whole);
    }
    let mut rest = stream;
    for one in whole {
        let Some(strict) = strict_request(rest) else {
            assert_eq!(one, Seen::Malformed, "nobody else would read this: {rest:?}");
            return;
        };
        rest = &rest[strict.length..];
        match one {
            Seen::Malformed => return,
            Seen::Broken(method, _) => return assert_eq!(method, strict.method),
            Seen::Request(method, _, body) => {
                assert_eq!(method, strict.method);
                let (expected, length) = match strict.framing {
                    Length::Known(length) => {
                        let length = usize::try_from(length).unwrap();
                        (rest[..length].to_vec(), length)
                    }
                    Length::Chunked => strict_chunks(rest).unwrap_or_else(|| panic!("no chunks: {rest:?}")),
                };
                assert_eq!(body, expected);
                rest = &rest[length..];
            }
        }
    }
}

/// An answer's framing is one that has one meaning, or its connection is not used again.
pub(in crate::proxy) fn answer(data: &[u8]) {
    let mut input = Input::new(data);
    let (to_head, upgrades) = (input.coin(), input.coin());
    let mut bytes = BytesMut::from(input.rest());
    let Some(length) = EndOfHead::default().find(&mut bytes) else { return };
    let whole = bytes.split_to(length).freeze();
    let Ok(answer) = head::answer(&whole, to_head, upgrades) else { return };
    let status = answer.head.status;
    let headers: &HeaderMap = &answer.head.headers;
    for value in headers.values() {
        assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{value:?}");
    }
    let coded = headers.contains_key(header::TRANSFER_ENCODING);
    let lengths: Vec<_> = headers.get_all(header::CONTENT_LENGTH).iter().collect();
    assert!(!coded || lengths.is_empty(), "two framings are passed on");
    let lower = whole.to_ascii_lowercase();
    let has = |name: &[u8]| lower.windows(name.len()).any(|part| part == name);
    if coded && has(b"\ncontent-length:") {
        assert!(!answer.persistent);
    }
    let bodiless = to_head || status.is_informational() || matches!(status.as_u16(), 204 | 304);
    match answer.body {
        Body::UntilClose => assert!(!answer.persistent || upgrades && status.as_u16() == 101),
        Body::Done => {
            assert!(bodiless || lengths.iter().all(|value| value.as_bytes().iter().all(|byte| b"0, \t".contains(byte))))
        }
        Body::Length(length) => {
            let text = format!("{length}");
            assert!(!bodiless && lengths.iter().all(|value| value.to_str().unwrap().contains(&text)));
        }
        Body::Chunked(_) => assert!(!bodiless && coded),
    }
    // What a caller gets is one head.
    let mut written = Vec::new();
    encode::fields(&mut written, headers);
    let lines = written
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| line.strip_suffix(b"\r").unwrap());
    assert_eq!(strict_fields(lines).unwrap().len(), headers.len());
}

/// Chunks are what the strict reader finds, however they arrive; what is written is read.
pub(in crate::proxy) fn chunks(data: &[u8]) {
    let mut input = Input::new(data);
    let cuts = input.cuts();
    let stream = input.rest();
    let (whole, used) =
        decoded(stream, &[]).map_or((None, 0), |(payload, used, complete)| (complete.then_some(payload), used));
    let in_pieces = decoded(stream, &cuts);
    match (&whole, &in_pieces) {
        (Some(payload), Some((other, also_used, complete))) => {
            assert_eq!((payload, used, true), (other, *also_used, *complete))
        }
        (Some(_), None) => panic!("taken as a whole only: {stream:?}"),
        (None, one) => assert!(!one.as_ref().is_some_and(|(_, _, complete)| *complete)),
    }
    let strict = strict_chunks(stream);
    if let Some(payload) = &whole {
        assert_eq!(strict, Some((payload.clone(), used)), "nobody else would read this: {stream:?}");
    }

    let mut written = Vec::new();
    for piece in pieces(stream, &cuts) {
        encode::chunk_size(&mut written, piece.len());
        written.extend_from_slice(piece);
        written.extend_from_slice(b"\r\n");
    }
    written.extend_from_slice(encode::LAST_CHUNK);
    let end = written.len();
    written.extend_from_slice(b"GET / HTTP/1.1");
    assert_eq!(decoded(&written, &cuts), Some((stream.to_vec(), end, true)));
    assert_eq!(strict_chunks(&written), Some((stream.to_vec(), end)));
}

/// Payload, bytes that were used, and whether the end was seen; `None`: it is no chunked body.
fn decoded(stream: &[u8], cuts: &[usize]) -> Option<(Vec<u8>, usize, bool)> {
    let (mut chunks, mut payload, mut used) = (Chunks::default(), Vec::new(), 0);
    for piece in pieces(stream, cuts) {
        let mut piece = piece.to_vec();
        let (length, taken) = chunks.decode(&mut piece).ok()?;
        assert!(length <= taken && (taken == piece.len() || chunks.is_complete()));
        payload.extend_from_slice(&piece[..length]);
        used += taken;
    }
    Some((payload, used, chunks.is_complete()))
}
