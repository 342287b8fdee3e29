//! Streams of HTTP/2 that would be something else in HTTP/1.1 (RFC 9113 §8.2, §8.3).

use super::one::Caller;
use crate::chaos_proxy::Numbers;
use crate::h2_attacks::{END_HEADERS, END_STREAM, HEADERS, frame, literal};

const DATA: u8 = 0;

/// What one stream sends.
pub struct Sent {
    pub frames: Vec<u8>,
    pub body: Vec<u8>,
    /// Whether there is nothing about it that anybody could refuse.
    pub plain: bool,
}

/// The request with this number.
pub fn stream(numbers: &mut Numbers, caller: &Caller, number: u64, id: u32) -> Sent {
    let smuggled = number + 500_000_000;
    let inner = format!(
        "GET /t/{smuggled} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nX-Canary: {smuggled}\r\n\r\n",
        caller.host, caller.token
    );
    let body = match numbers.below(4) {
        0 => Vec::new(),
        1 => format!("<body {number}>").into_bytes(),
        2 => format!("0\r\n\r\n{inner}").into_bytes(),
        _ => inner.clone().into_bytes(),
    };
    let mut fields: Vec<(String, String)> = vec![
        (":method".into(), "POST".into()),
        (":scheme".into(), "https".into()),
        (":path".into(), format!("/t/{number}")),
        (":authority".into(), caller.host.clone()),
        ("authorization".into(), format!("Bearer {}", caller.token)),
        ("x-canary".into(), number.to_string()),
    ];
    let mut set = |name: &str, value: String| {
        if let Some(field) = fields.iter_mut().find(|(known, _)| known == name) {
            field.1 = value;
        }
    };
    let mut plain = false;
    let mut more: Option<(String, String)> = None;
    let mut field = |name: &str, value: &str| more = Some((name.to_owned(), value.to_owned()));
    match numbers.below(40) {
        0 => set(":method", format!("GET /t/{smuggled} HTTP/1.1\r\nX: y")),
        1 => set(":path", format!("/t/{number} HTTP/1.1\r\nHost: {}\r\n\r\n{inner}", caller.host)),
        2 => set(":path", format!("/t/{number}\r\nX: y")),
        3 => set(":path", format!("/t/{number}#x")),
        4 => set(":path", format!("https://other/t/{number}")),
        5 => set(":path", String::new()),
        6 => set(":path", "*".into()),
        7 => set(":authority", format!("u@{}", caller.host)),
        8 => set(":authority", format!("{}\r\nX: y", caller.host)),
        9 => set(":scheme", format!("https://{}/t/{smuggled}?", caller.host)),
        10 => set("x-canary", format!("{number}\r\n\r\n{inner}")),
        11 => set("x-canary", format!("{number}\nx: y")),
        12 => set("x-canary", format!("{number}\0")),
        13 => field("transfer-encoding", "chunked"),
        14 => field("connection", "content-length"),
        15 => field("connection", "keep-alive"),
        16 => field("upgrade", "websocket"),
        17 => field("te", "gzip"),
        18 => field("te", "trailers"),
        19 => field("host", "other.gw.test"),
        20 => field("host", &caller.host),
        21 => field("X-Upper", "y"),
        22 => field("x-name\r\nx", "y"),
        23 => field("x name", "y"),
        24 => field("x:name", "y"),
        25 => field(":path", &format!("/t/{smuggled}")),
        26 => field(":protocol", "websocket"),
        27 => field(":unknown", "y"),
        28 => field("", "y"),
        29 => field("proxy-connection", "keep-alive"),
        30 => field("transfer_encoding", "chunked"),
        31 => field("content-length", &(body.len() + 5).to_string()),
        32 => field("content-length", &body.len().saturating_sub(1).to_string()),
        33 => field("content-length", "+3"),
        34 => field("expect", "100-continue"),
        _ => plain = true,
    }
    if let Some(field) = more {
        let at = if numbers.below(3) == 0 { 0 } else { fields.len() };
        fields.insert(at, field);
    }
    if numbers.below(3) == 0 {
        // The truth, a second time where there is another one.
        fields.push(("content-length".into(), body.len().to_string()));
    }
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    let trailers = match numbers.below(12) {
        0 => Some(literal("x-trailer", "y")),
        1 => Some(literal("content-length", "3")),
        2 => Some(literal(":path", &format!("/t/{smuggled}"))),
        3 => Some(literal("transfer-encoding", "chunked")),
        _ => None,
    };
    plain &= trailers.is_none();
    let end = |last: bool| if last { END_STREAM } else { 0 };
    let bodiless = body.is_empty() && trailers.is_none();
    let mut frames = frame(HEADERS, END_HEADERS | end(bodiless), id, &block);
    let step = 1 + numbers.below(body.len() as u64 + 1) as usize;
    let chunks: Vec<&[u8]> = body.chunks(step.max(body.len() / 4 + 1)).collect();
    for (position, chunk) in chunks.iter().enumerate() {
        let last = position + 1 == chunks.len() && trailers.is_none();
        frames.extend(frame(DATA, end(last), id, chunk));
    }
    if let Some(trailers) = &trailers {
        frames.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, trailers));
    }
    Sent { frames, body, plain }
}
