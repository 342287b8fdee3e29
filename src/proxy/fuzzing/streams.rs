//! Where in a stream something of our own fits, and what leaves it changed.

use super::super::endpoint::EndpointEvent;
use super::super::events::EventTracker;
use super::super::filter::EventFilter;
use super::super::frames::FrameTracker;
use super::naive::{self, Event};
use crate::fuzzing::{Input, pieces};
use crate::hostname::Authority;
use crate::mcp::sse::EventStream;
use crate::mcp::{Pattern, ToolPolicy, without_denied};
use bytes::Bytes;
use std::sync::LazyLock;
use url::{Position, Url};

/// What the gateway puts in between.
const HEARTBEAT: &[u8] = b": keep-alive\n\n";

static POLICY: LazyLock<ToolPolicy> =
    LazyLock::new(|| ToolPolicy::new(None, vec![Pattern::parse("no").unwrap()]).unwrap());
static UPSTREAM: LazyLock<Authority> = LazyLock::new(|| Authority::parse("mcp.example").unwrap());

/// The events of a stream are the same however it is cut, with heartbeats wherever we would put one, and after what we take out of
/// it or shorten in it.
pub(crate) fn sse(data: &[u8]) {
    let mut input = Input::new(data);
    let cuts = input.cuts();
    let stream = if input.coin() { made_up(&mut input) } else { input.rest().to_vec() };
    let whole = naive::events(&stream);

    // Taken apart.
    let mut parser = EventStream::new(1 << 20);
    let mut found = Vec::new();
    for mut piece in pieces(&stream, &cuts) {
        while let Some(event) = parser.next(&mut piece).unwrap() {
            found.push(Event { kind: event.kind, data: event.data });
        }
    }
    // An event that says nothing is none to us.
    let expected: Vec<Event> = whole.events.iter().filter(|event| !event.data.is_empty()).cloned().collect();
    assert_eq!(found, expected);
    assert_eq!((parser.last_id(), parser.retry()), (whole.id.as_deref().filter(|id| !id.is_empty()), whole.retry));

    // With heartbeats.
    let (mut tracker, mut beating) = (EventTracker::default(), Vec::new());
    let mut at = 0;
    for piece in pieces(&stream, &cuts) {
        tracker.feed(piece);
        beating.extend_from_slice(piece);
        at += piece.len();
        let mut at_once = EventTracker::default();
        at_once.feed(&stream[..at]);
        assert_eq!(tracker.at_boundary(), at_once.at_boundary());
        if tracker.at_boundary() {
            beating.extend_from_slice(HEARTBEAT);
        } else {
            let plain = [&b"\n\n"[..], b"\r\n\r\n"].iter().any(|end| stream[..at].ends_with(end));
            assert!(!plain, "no place for a heartbeat behind a blank line");
        }
    }
    assert_eq!(naive::events(&beating), whole, "a heartbeat changed what is said");

    // Without denied tools.
    let through = |cuts: &[usize]| {
        let mut filter = EventFilter::new(&POLICY);
        let chunks = pieces(&stream, cuts).into_iter().map(Bytes::copy_from_slice);
        let mut out: Vec<u8> = chunks.flat_map(|chunk| filter.feed(chunk).unwrap()).collect();
        out.extend_from_slice(&filter.finish());
        out
    };
    let (filtered, at_once) = (through(&cuts), through(&[]));
    assert_eq!(naive::events(&filtered), naive::events(&at_once));
    let allowed = |event: &Event| Event {
        data: without_denied(&event.data, &POLICY).unwrap_or_else(|| event.data.clone()),
        ..event.clone()
    };
    let expected: Vec<Event> = whole.events.iter().map(allowed).collect();
    assert_eq!(naive::events(&filtered).events, expected);
    if expected == whole.events && !stream.windows(5).any(|part| part == b"tools") {
        assert_eq!(filtered, stream, "nothing was to be taken out");
    }

    // With the address of the older transport.
    let shortened = |cuts: &[usize]| {
        let mut endpoint = EndpointEvent::of(&UPSTREAM);
        let chunks = pieces(&stream, cuts).into_iter().map(Bytes::copy_from_slice);
        let mut out: Vec<u8> = chunks.flat_map(|chunk| endpoint.feed(chunk)).collect();
        out.extend_from_slice(&endpoint.finish());
        out
    };
    let (short, at_once) = (shortened(&cuts), shortened(&[]));
    assert_eq!(short, at_once, "pieces matter");
    let mut after = naive::events(&short).events;
    if short != stream {
        let (was, is) = (&whole.events[0], after.remove(0));
        assert_eq!((was.kind.as_str(), is.kind.as_str()), ("endpoint", "endpoint"));
        assert!(is.data.starts_with('/') && !is.data.starts_with("//"), "{:?}", is.data);
        let scheme = if was.data.starts_with("//") { "https:" } else { "" };
        let upstream_s = Url::parse(&format!("{scheme}{}", was.data)).unwrap();
        let ours = Url::parse("https://label-enc.gw.example/sse").unwrap().join(&is.data).unwrap();
        assert_eq!((upstream_s.host_str(), ours.host_str()), (Some("mcp.example"), Some("label-enc.gw.example")));
        assert_eq!(ours[Position::BeforePath..], upstream_s[Position::BeforePath..], "it leads elsewhere");
        assert_eq!(after, whole.events[1..]);
    } else {
        assert_eq!(after, whole.events);
    }
}

/// A stream out of lines that mean something.
fn made_up(input: &mut Input<'_>) -> Vec<u8> {
    const LINES: [&str; 16] = [
        "",
        "",
        "data: x",
        "data",
        "data:",
        "event: endpoint",
        "event: message",
        "id: 7",
        "retry: 10",
        ": comment",
        "data: https://mcp.example/m?s=1",
        "data: {\"id\":1,\"result\":{\"tools\":[{\"name\":\"no\"},{\"name\":\"a\"}]}}",
        "data: {\"id\":1,\"result\":{\"tools\":[",
        "data: {\"name\":\"no\"}]}}",
        "\u{feff}data: y",
        "x: y",
    ];
    let mut stream = Vec::new();
    while !input.is_over() && stream.len() < 2000 {
        let line = input.pick(&LINES).as_bytes();
        stream.extend_from_slice(line);
        stream.extend_from_slice(input.pick(&[&b"\n"[..], b"\r\n", b"\r", b""]));
    }
    stream
}

/// A place between two frames is one for whoever counts them one by one, however the bytes arrive.
pub(crate) fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    let cuts = input.cuts();
    let stream = input.rest();
    let boundaries = boundaries(stream);
    let mut tracker = FrameTracker::default();
    assert!(tracker.at_boundary());
    let mut seen = 0;
    for piece in pieces(stream, &cuts) {
        tracker.feed(piece);
        seen += piece.len();
        assert_eq!(tracker.at_boundary(), boundaries.contains(&seen), "after {seen} of {stream:?}");
    }
}

/// The ends of frames (RFC 6455 §5.2).
fn boundaries(stream: &[u8]) -> Vec<usize> {
    let mut ends = vec![0];
    let mut at: usize = 0;
    while let Some([_, second]) = stream.get(at..at + 2) {
        let number = |length: usize| {
            let bytes = stream.get(at + 2..at + 2 + length)?;
            Some(bytes.iter().fold(0_u128, |number, byte| number * 256 + u128::from(*byte)))
        };
        let (extended, payload) = match second & 0x7f {
            126 => (2, number(2)),
            127 => (8, number(8)),
            short => (0, Some(u128::from(short))),
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let Some(payload) = payload else { return ends };
        let end = at as u128 + 2 + extended as u128 + mask + payload;
        match usize::try_from(end) {
            Ok(end) if end <= stream.len() => at = end,
            _ => return ends,
        }
        ends.push(at);
    }
    ends
}
