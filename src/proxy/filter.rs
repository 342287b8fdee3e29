//! Lists of tools on their way to the caller, without the tools that an administrator denies. Only answers of upstreams
//! with a policy come through here.

use super::peer::Connected;
use super::reply::Refusal;
use super::session::ClientSession;
use crate::mcp::{ToolPolicy, without_denied};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType};

/// The largest answer, or event, that is looked through, in bytes. What is larger is not passed on unseen.
pub(super) const MAX_LIST: usize = 8 * 1024 * 1024;

/// Fields that describe a body byte by byte, and are wrong when it is changed.
pub(super) const OF_THE_BYTES: [&str; 6] =
    ["accept-ranges", "content-digest", "content-md5", "digest", "etag", "repr-digest"];

/// Takes a stream of server-sent events (WHATWG HTML §9.2) apart, and lets go of an event when all of it has been seen.
pub(super) struct EventFilter<'a> {
    policy: &'a ToolPolicy,
    lines: Lines,
    /// The beginning of an event.
    held: BytesMut,
    /// No event was complete yet: a byte order mark may be there.
    at_start: bool,
}

impl<'a> EventFilter<'a> {
    pub(super) fn new(policy: &'a ToolPolicy) -> Self {
        Self { policy, lines: Lines::default(), held: BytesMut::new(), at_start: true }
    }

    /// Takes the next bytes of the stream; what may go on to the caller: whole events, or nothing yet. An event that need
    /// not change is passed as it came, whatever is in it.
    ///
    /// # Errors
    /// When an event is larger than [`MAX_LIST`].
    pub(super) fn feed(&mut self, mut chunk: Bytes) -> pingora::Result<Bytes> {
        let (mut only, mut more) = (Bytes::new(), BytesMut::new());
        while let Some(end) = self.lines.end_of_event(&chunk) {
            let piece = chunk.split_to(end);
            let event = if self.held.is_empty() { piece } else { self.complete(&piece) };
            let event = self.filtered(event);
            if only.is_empty() {
                only = event;
            } else {
                more.extend_from_slice(&event);
            }
        }
        if self.held.len() + chunk.len() > MAX_LIST {
            return Error::e_explain(
                ErrorType::ReadError,
                "an event is too large to be looked through for denied tools",
            );
        }
        self.held.extend_from_slice(&chunk);
        if more.is_empty() { Ok(only) } else { Ok([only, more.freeze()].concat().into()) }
    }

    /// What is left when the stream has ended: an event that lacks its end, which some parsers take nevertheless.
    pub(super) fn finish(&mut self) -> Bytes {
        let event = self.complete(&[]);
        self.filtered(event)
    }

    fn complete(&mut self, piece: &[u8]) -> Bytes {
        self.held.extend_from_slice(piece);
        // Not `split`, which would keep the room of the largest event for the life of the stream.
        std::mem::take(&mut self.held).freeze()
    }

    fn filtered(&mut self, event: Bytes) -> Bytes {
        // Further in, it makes a line one that says nothing: who took its value for data would read something else than the
        // caller does.
        let begins = std::mem::take(&mut self.at_start);
        let unmarked = event.strip_prefix(b"\xef\xbb\xbf").filter(|_| begins).unwrap_or(&event);
        let data: Vec<&[u8]> = lines(unmarked).filter_map(|(line, _)| data_of(line)).collect();
        let data = data.join(&b'\n');
        match without_denied(&String::from_utf8_lossy(&data), self.policy) {
            Some(changed) => with_data(unmarked, &changed),
            None => event,
        }
    }
}

/// The event with other data, in the place of the first line of the old.
fn with_data(event: &[u8], data: &str) -> Bytes {
    let mut changed = BytesMut::with_capacity(event.len());
    let mut data = Some(data);
    for (line, end) in lines(event) {
        if data_of(line).is_some() {
            for part in data.take().into_iter().flat_map(|data| data.split('\n')) {
                changed.extend_from_slice(b"data: ");
                changed.extend_from_slice(part.as_bytes());
                changed.extend_from_slice(end);
            }
            continue;
        }
        if changed.ends_with(b"\r") && line.is_empty() && end == b"\n" {
            // What stood between this blank line and a CR is gone: without it they would be one line end, and the event would
            // have none.
            changed.extend_from_slice(b"\n");
        }
        changed.extend_from_slice(line);
        changed.extend_from_slice(end);
    }
    changed.freeze()
}

/// The value of a line that is a `data` field.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"data")?;
    match rest.strip_prefix(b":") {
        Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        None => rest.is_empty().then_some(rest),
    }
}

/// The lines of an event, each with what ends it: LF, CR LF, CR, or nothing.
fn lines(mut event: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        if event.is_empty() {
            return None;
        }
        let length = event.iter().position(|byte| is_line_end(*byte)).unwrap_or(event.len());
        let (line, rest) = event.split_at(length);
        let (end, rest) = rest.split_at(if rest.starts_with(b"\r\n") { 2 } else { rest.len().min(1) });
        event = rest;
        Some((line, end))
    })
}

/// Where in the lines of a stream its bytes so far have ended.
struct Lines {
    line_is_empty: bool,
    after_cr: bool,
}

impl Default for Lines {
    fn default() -> Self {
        Self { line_is_empty: true, after_cr: false }
    }
}

impl Lines {
    /// How many of these bytes end the event that has begun; `None` when it goes on after them.
    fn end_of_event(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            at += 1;
            if !is_line_end(*byte) {
                let more = bytes[at..].iter().position(|byte| is_line_end(*byte));
                at = more.map_or(bytes.len(), |more| at + more);
                (self.line_is_empty, self.after_cr) = (false, false);
                continue;
            }
            let second_half = self.after_cr && *byte == b'\n';
            self.after_cr = *byte == b'\r';
            if second_half {
                continue;
            }
            if self.line_is_empty {
                // The other half of a CR LF goes with it, if it is here.
                let whole = *byte == b'\r' && bytes.get(at) == Some(&b'\n');
                self.after_cr &= !whole;
                return Some(at + usize::from(whole));
            }
            self.line_is_empty = true;
        }
        None
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Only what is not compressed can be looked through.
///
/// # Errors
/// When the upstream compresses, although it was asked not to.
pub(super) fn check_coding(response: &ResponseHeader) -> Result<(), Refusal> {
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if response.headers.get_all(header::CONTENT_ENCODING).iter().all(identity) {
        return Ok(());
    }
    let why = "the upstream compresses its answers although it was asked not to: denied tools cannot be taken out";
    Err(Refusal::BadGateway(why.to_owned()))
}

/// Reads an answer that may be a list of tools to its end, and takes out what is denied. `true`: something was.
///
/// # Errors
/// When it is larger than [`MAX_LIST`], or breaks off.
pub(super) async fn whole_list(upstream: &mut Connected, policy: &ToolPolicy) -> Result<(Bytes, bool), Refusal> {
    let body = read_whole(&mut upstream.session).await?;
    match without_denied(&String::from_utf8_lossy(&body), policy) {
        Some(changed) => Ok((changed.into(), true)),
        None => Ok((body, false)),
    }
}

async fn read_whole(upstream: &mut ClientSession) -> Result<Bytes, Refusal> {
    let mut body = BytesMut::new();
    loop {
        match upstream.read_response_body().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_LIST => {
                let why = "the upstream's list of tools is too large to be looked through for denied tools";
                return Err(Refusal::BadGateway(why.to_owned()));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(_) => return Err(Refusal::BadGateway("the upstream broke its list of tools off".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::Pattern;
    use proptest::prelude::*;

    fn policy() -> ToolPolicy {
        ToolPolicy::new(None, vec![Pattern::parse("no").unwrap()]).unwrap()
    }

    fn through(stream: &[u8], step: usize) -> Vec<u8> {
        let policy = policy();
        let mut filter = EventFilter::new(&policy);
        let chunks = stream.chunks(step).map(Bytes::copy_from_slice);
        let mut out: Vec<u8> = chunks.flat_map(|chunk| filter.feed(chunk).unwrap()).collect();
        out.extend_from_slice(&filter.finish());
        out
    }

    const LIST: &str = r#"{"id":1,"result":{"tools":[{"name":"a"},{"name":"no"}],"x":1}}"#;
    const KEPT: &str = r#"{"id":1,"result":{"tools":[{"name":"a"}],"x":1}}"#;

    #[test]
    fn denied_tools_leave_the_stream_however_it_is_cut() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = |list: &str| {
                format!(": hi\n\nevent: endpoint\ndata: /m?s=1\n\nid: 1\ndata: {list}\nretry: 5\n\ndata:{{}}\n\n")
                    .replace('\n', end)
            };
            for step in 1..80 {
                let out = through(stream(LIST).as_bytes(), step);
                assert_eq!(String::from_utf8(out).unwrap(), stream(KEPT), "{end:?} by {step}");
            }
        }
    }

    #[test]
    fn odd_spellings_are_understood_too() {
        let split = LIST.replace(",{", "\ndata:,{").replace("result", "res\\u0075lt");
        let out = String::from_utf8(through(format!("\u{feff}data:{split}\n").as_bytes(), 7)).unwrap();
        assert_eq!(out, format!("data: {}\n", KEPT.replace("result", "res\\u0075lt")));
        let lossy = [b"data: ", LIST.replace('x', "\u{0}").as_bytes(), b"\n\n"].concat();
        let lossy: Vec<u8> = lossy.iter().map(|byte| if *byte == 0 { 0xff } else { *byte }).collect();
        assert!(!String::from_utf8_lossy(&through(&lossy, 9)).contains("\"no\""));
    }

    #[test]
    fn a_byte_order_mark_counts_at_the_beginning_only() {
        let hiding = LIST.replace(",{", "\n\u{feff}data: ]]\ndata: ,{");
        for before in ["", "data: 1\n\n", "\u{feff}", ": \n\n"] {
            let out = through(format!("{before}data: {hiding}\n\n").as_bytes(), 5);
            assert!(!String::from_utf8(out).unwrap().contains("\"no\""), "{before:?}");
        }
    }

    #[test]
    fn a_changed_event_ends_where_it_ended_whatever_its_lines_end_with() {
        let (half, other) = LIST.split_at(LIST.find('[').unwrap());
        let lines = |text: &str| {
            let lines = [("H", half), ("O", other), ("K", &KEPT[half.len()..])];
            let text =
                lines.iter().fold(text.to_owned(), |text, (name, data)| text.replace(name, &format!("data: {data}")));
            format!("{text}data: 1\n\n")
        };
        for (before, after) in [
            ("H\rO\n\n", "H\rK\r\n\n"),
            ("H\rid: 1\rO\n\n", "H\rK\rid: 1\r\n\n"),
            ("H\nid: 1\rO\n\n", "H\nK\nid: 1\r\n\n"),
            ("H\nid: 1\rO\r\n\r\n", "H\nK\nid: 1\r\r\n"),
            ("H\rO\n\r", "H\rK\r\r"),
        ] {
            for step in 1..90 {
                let out = String::from_utf8(through(lines(before).as_bytes(), step)).unwrap();
                assert_eq!(out, lines(after), "{before:?} by {step}");
            }
        }
    }

    #[test]
    fn whole_events_are_let_go_at_once_and_halves_are_held() {
        let policy = policy();
        let mut filter = EventFilter::new(&policy);
        assert_eq!(filter.feed(Bytes::from_static(b"data: 1\n\ndata: 2\n\ndata: ")).unwrap(), "data: 1\n\ndata: 2\n\n");
        assert_eq!(filter.feed(Bytes::from_static(b"3\r\n\r\n: x\n")).unwrap(), "data: 3\r\n\r\n");
        assert_eq!(filter.finish(), ": x\n");
    }

    #[test]
    fn an_event_beyond_the_limit_is_an_error() {
        let policy = policy();
        let mut filter = EventFilter::new(&policy);
        let chunk = Bytes::from(vec![b'x'; MAX_LIST / 2]);
        assert!(filter.feed(chunk.clone()).unwrap().is_empty());
        assert!(filter.feed(chunk.clone()).unwrap().is_empty());
        assert!(filter.feed(Bytes::from_static(b"x")).is_err());
    }

    proptest! {
        #[test]
        fn what_has_no_list_is_not_touched(stream in "([a-z: {}\"\\[\\]]|data:|\n|\r){0,60}", step in 1_usize..9) {
            prop_assert_eq!(through(stream.as_bytes(), step), stream.as_bytes());
        }
    }
}
