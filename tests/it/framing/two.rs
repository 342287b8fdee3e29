//! Streams of HTTP/2 that would be something else in HTTP/1.1 (RFC 9113 §8.2, §8.3).

use super::one::Caller;
use crate::chaos_proxy::Numbers;
use crate::h2_attacks::{END_HEADERS, END_STREAM, HEADERS, frame, literal};

const DATA: u8 = 0;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
/// No type that anybody has defined (§4.1).
const UNKNOWN: u8 = 0x42;
const PADDED: u8 = 0x8;

/// What one stream sends.
pub struct Sent {
    pub frames: Vec<u8>,
    pub body: Vec<u8>,
    /// Whether there is nothing about it that anybody could refuse.
    pub plain: bool,
}

/// Which request it is, and the one that nobody may find in it.
struct Numbered<'a> {
    caller: &'a Caller,
    number: u64,
    smuggled: u64,
}

impl Numbered<'_> {
    fn inner(&self) -> String {
        let Self { caller: Caller { host, token }, smuggled, .. } = self;
        format!(
            "GET /t/{smuggled} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nX-Canary: {smuggled}\r\n\r\n"
        )
    }

    /// Bytes that mean something in HTTP/1.1, and nothing here.
    fn body(&self, numbers: &mut Numbers) -> Vec<u8> {
        let inner = self.inner();
        match numbers.below(8) {
            0 => Vec::new(),
            1 => format!("<body {}>", self.number).into_bytes(),
            2 => format!("0\r\n\r\n{inner}").into_bytes(),
            3 => format!("\r\n0\r\n\r\n{inner}").into_bytes(),
            4 => format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()).into_bytes(),
            5 => format!("{}{inner}", "x".repeat(numbers.below(9000) as usize)).into_bytes(),
            6 => format!("0\r\nContent-Length: 3\r\n\r\n\n\r{inner}").into_bytes(),
            _ => inner.into_bytes(),
        }
    }

    fn fields(&self) -> Vec<(String, String)> {
        let Caller { host, token } = self.caller;
        vec![
            (":method".into(), "POST".into()),
            (":scheme".into(), "https".into()),
            (":path".into(), format!("/t/{}", self.number)),
            (":authority".into(), host.clone()),
            ("authorization".into(), format!("Bearer {token}")),
            ("x-canary".into(), self.number.to_string()),
        ]
    }

    /// Makes them hold what could be taken for something else, in a form that nobody can refuse.
    fn load(&self, numbers: &mut Numbers, fields: &mut Vec<(String, String)>) {
        let Self { number, smuggled, .. } = self;
        fields[0].1 = numbers.pick(&["POST", "PUT", "PATCH"]).to_owned();
        fields[2].1 = match numbers.below(10) {
            0 => format!("/t/{number}?x=/t/{smuggled}"),
            1 => format!("/t/{number}/%0d%0aX:%20y"),
            2 => format!("/t/{number}?x=%20HTTP/1.1%0d%0aHost:%20other%0d%0a%0d%0a"),
            3 => format!("/t/{number}/..%2f{smuggled}"),
            4 => format!("/t/{number}/%2e%2e/{smuggled}"),
            5 => format!("/t/{number}//other/t/{smuggled}"),
            6 => format!("/t/{number}/%00%0a"),
            _ => format!("/t/{number}"),
        };
        for _ in 0..numbers.below(3) {
            let name =
                numbers.pick(&["x-note", "accept-language", "x-request-id", "x-content-length", "mcp-name", "x-a"]);
            let value = match numbers.below(10) {
                0 => format!("GET /t/{smuggled} HTTP/1.1"),
                1 => "Transfer-Encoding: chunked".to_owned(),
                2 => format!("{number}, {smuggled}"),
                3 => "a\tb".to_owned(),
                4 => "\u{10d}\u{10a}X: y".to_owned(),
                5 => "%0d%0aContent-Length: 3".to_owned(),
                6 => "\\r\\n\\r\\n".to_owned(),
                7 => String::new(),
                8 => ":chunked;0".to_owned(),
                _ => "x".repeat(1 + numbers.below(3000) as usize),
            };
            fields.push((name.to_owned(), value));
        }
        for _ in 0..numbers.below(3) {
            let (name, value) =
                (numbers.pick(&["te", "cookie", "user-agent"]), numbers.pick(&["a=b", "c=\"d\"", "x/1"]));
            fields.push((name.to_owned(), if name == "te" { "trailers" } else { value }.to_owned()));
        }
    }

    /// Makes them something that nobody may make a message of HTTP/1.1 of, in most cases.
    fn spoil(&self, numbers: &mut Numbers, fields: &mut Vec<(String, String)>, body: &[u8]) {
        let Self { caller, number, smuggled } = self;
        let inner = self.inner();
        let mut set = |name: &str, value: String| {
            if let Some(field) = fields.iter_mut().find(|(known, _)| known == name) {
                field.1 = value;
            }
        };
        let mut more: Option<(String, String)> = None;
        let mut field = |name: &str, value: &str| more = Some((name.to_owned(), value.to_owned()));
        match numbers.below(35) {
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
            // The first of them counts when h2 overlooks that there are two: docs/security/fuzzing.md.
            25 => field(":path", &format!("/t/{number}/again")),
            26 => field(":protocol", "websocket"),
            27 => field(":unknown", "y"),
            28 => field("", "y"),
            29 => field("proxy-connection", "keep-alive"),
            30 => field("transfer_encoding", "chunked"),
            31 => field("content-length", &(body.len() + 5).to_string()),
            32 => field("content-length", &body.len().saturating_sub(1).to_string()),
            33 => field("content-length", "+3"),
            _ => field("expect", "100-continue"),
        }
        if let Some(field) = more {
            let at = if numbers.once_in(3) { 0 } else { fields.len() };
            fields.insert(at, field);
        }
    }
}

/// The request with this number; `plain`: one that must arrive.
pub fn stream(numbers: &mut Numbers, caller: &Caller, number: u64, id: u32, plain: bool) -> Sent {
    let numbered = Numbered { caller, number, smuggled: number + 500_000_000 };
    let (body, mut fields) = (numbered.body(numbers), numbered.fields());
    if plain || numbers.once_in(2) {
        numbered.load(numbers, &mut fields);
    }
    if !plain {
        numbered.spoil(numbers, &mut fields, &body);
    }
    if numbers.once_in(3) {
        // The truth, a second time where there is another one.
        fields.push(("content-length".into(), body.len().to_string()));
    }
    let trailers = match numbers.below(12) {
        0 => Some(literal("x-trailer", "y")),
        1 if !plain => Some(literal("content-length", "3")),
        2 if !plain => Some(literal(":path", &format!("/t/{}", numbered.smuggled))),
        3 if !plain => Some(literal("transfer-encoding", "chunked")),
        _ => None,
    };
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    let bodiless = body.is_empty() && trailers.is_none();
    let mut frames = head(numbers, &block, id, bodiless);
    if bodiless {
        return Sent { frames, body, plain };
    }
    let step = (1 + numbers.below(body.len() as u64 + 1) as usize).max(body.len() / 4 + 1);
    let mut chunks: Vec<&[u8]> = body.chunks(step).collect();
    if numbers.once_in(6) {
        // In front of it, in it, or as its end.
        chunks.insert(numbers.below(chunks.len() as u64 + 1) as usize, &[]);
    }
    for (position, chunk) in chunks.iter().enumerate() {
        let last = position + 1 == chunks.len() && trailers.is_none();
        frames.extend(data(numbers, chunk, id, last));
        if numbers.once_in(20) {
            frames.extend(if numbers.once_in(2) { frame(PING, 0, 0, &[7; 8]) } else { frame(UNKNOWN, 0, id, b"GET ") });
        }
    }
    if let Some(trailers) = &trailers {
        frames.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, trailers));
    }
    Sent { frames, body, plain }
}

/// A block of fields in one frame or several.
fn head(numbers: &mut Numbers, block: &[u8], id: u32, ends_stream: bool) -> Vec<u8> {
    let end = if ends_stream { END_STREAM } else { 0 };
    if !numbers.once_in(4) {
        return frame(HEADERS, END_HEADERS | end, id, block);
    }
    let (first, rest) = block.split_at(numbers.below(block.len() as u64) as usize);
    let mut frames = frame(HEADERS, end, id, first);
    let pieces: Vec<&[u8]> = rest.chunks(rest.len() / 2 + 1).collect();
    for (position, piece) in pieces.iter().enumerate() {
        frames.extend(frame(CONTINUATION, if position + 1 == pieces.len() { END_HEADERS } else { 0 }, id, piece));
    }
    frames
}

/// A piece of a body, with what means nothing around it now and then.
fn data(numbers: &mut Numbers, piece: &[u8], id: u32, ends_stream: bool) -> Vec<u8> {
    let end = if ends_stream { END_STREAM } else { 0 };
    if !numbers.once_in(6) {
        return frame(DATA, end, id, piece);
    }
    let padding = numbers.below(40) as u8;
    frame(DATA, end | PADDED, id, &[&[padding], piece, &vec![0; usize::from(padding)]].concat())
}
