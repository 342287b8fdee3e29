//! HTTP/1 as one strict reading of RFC 9112 has it, written without a look at the gateway: what a caller's bytes are, and what the
//! upstream will have.

use httparse::{EMPTY_HEADER, Header, Status};

/// What a caller's connection says, as far as there is one meaning of it.
#[derive(Debug, Default)]
pub struct Reading {
    pub requests: Vec<Message>,
    pub end: End,
}

/// What comes after the last request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Nothing.
    #[default]
    Whole,
    /// The beginning of another one.
    Broken,
    /// Something that could be understood in two ways, or not at all.
    Doubt,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its canary.
    pub number: Option<u64>,
    pub body: Vec<u8>,
    /// Whether it is written in the one form that nobody refuses.
    pub plain: bool,
    /// Whether another request may follow.
    pub persists: bool,
}

/// Takes a caller's bytes apart, who speaks to this host.
pub fn read(mut bytes: &[u8], host: &str) -> Reading {
    let mut reading = Reading::default();
    loop {
        let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        bytes = &bytes[blank..];
        if bytes.is_empty() {
            return reading;
        }
        match message(bytes, host) {
            Ok(Some((mut message, length))) => {
                message.plain &= blank == 0;
                let last = !message.persists;
                reading.requests.push(message);
                bytes = &bytes[length..];
                if last {
                    return reading;
                }
            }
            Ok(None) => return Reading { end: End::Broken, ..reading },
            Err(Doubtful) => return Reading { end: End::Doubt, ..reading },
        }
    }
}

/// It means nothing, or two things.
#[derive(Debug)]
pub struct Doubtful;

/// The message at the beginning; `None`: there is more to come.
fn message(bytes: &[u8], host: &str) -> Result<Option<(Message, usize)>, Doubtful> {
    let mut fields = [EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut fields);
    let length = match head.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(Doubtful),
    };
    let minor = head.version.ok_or(Doubtful)?;
    let fields: &[Header<'_>] = head.headers;
    let framing = framing(fields)?;
    if minor == 0 && matches!(framing, Framing::Chunked) {
        return Err(Doubtful);
    }
    let body = &bytes[length..];
    let Some((body, taken)) = (match framing {
        Framing::Length(length) => body.get(..length).map(|body| (body.to_vec(), length)),
        Framing::Chunked => chunks(body)?,
    }) else {
        return Ok(None);
    };
    let says = |option: &str| {
        let values = all(fields, "connection").filter_map(|value| std::str::from_utf8(value).ok());
        values.flat_map(|value| value.split(',')).any(|said| said.trim().eq_ignore_ascii_case(option))
    };
    let persists = !says("close") && (minor == 1 || says("keep-alive"));
    let number = head.path.and_then(|path| path.split("/t/").nth(1)?.split(['/', '?']).next()?.parse().ok());
    let crlf = bytes[..length].split(|byte| *byte == b'\n').rev().skip(1).all(|line| line.ends_with(b"\r"));
    let here = all(fields, "host").eq([host.as_bytes()]);
    let once = all(fields, "content-length").count() < 2 && here && all(fields, "connection").count() < 2;
    let plain =
        crlf && once && minor == 1 && head.path.is_some_and(|path| path.starts_with("/t/") && !path.contains('#'));
    Ok(Some((Message { number, body, plain, persists }, length + taken)))
}

enum Framing {
    Length(usize),
    Chunked,
}

fn all<'a>(fields: &'a [Header<'_>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// How a request's body is delimited (§6.3).
fn framing(fields: &[Header<'_>]) -> Result<Framing, Doubtful> {
    let codings: Vec<&[u8]> = all(fields, "transfer-encoding").collect();
    let mut lengths = Vec::new();
    for value in all(fields, "content-length") {
        for number in std::str::from_utf8(value).map_err(|_| Doubtful)?.split(',') {
            let number = number.trim_matches([' ', '\t']);
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            lengths.push(digits.then(|| number.parse::<usize>().ok()).flatten().ok_or(Doubtful)?);
        }
    }
    match (&codings[..], &lengths[..]) {
        ([], []) => Ok(Framing::Length(0)),
        ([], [first, rest @ ..]) if rest.iter().all(|other| other == first) => Ok(Framing::Length(*first)),
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        _ => Err(Doubtful),
    }
}

/// The payload of a chunked body, and how long that is (§7.1); `None`: there is more to come.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Doubtful> {
    let (mut payload, mut at) = (Vec::new(), 0);
    loop {
        let Some((size, next)) = line(bytes, at)? else { return Ok(None) };
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits == 0 || !matches!(size.get(digits), None | Some(b';' | b' ' | b'\t')) {
            return Err(Doubtful);
        }
        let size = std::str::from_utf8(&size[..digits]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.ok_or(Doubtful)?;
        at = next;
        if size == 0 {
            loop {
                let Some((trailer, next)) = line(bytes, at)? else { return Ok(None) };
                at = next;
                if trailer.is_empty() {
                    return Ok(Some((payload, at)));
                }
            }
        }
        let end = at.checked_add(size).ok_or(Doubtful)?;
        match bytes.get(at..end) {
            Some(chunk) => payload.extend_from_slice(chunk),
            None => return Ok(None),
        }
        match bytes[end..] {
            [b'\r', b'\n', ..] => at = end + 2,
            [] | [b'\r'] => return Ok(None),
            _ => return Err(Doubtful),
        }
    }
}

/// A line that ends with CR LF and has neither in it.
fn line(bytes: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, Doubtful> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else { return Ok(None) };
    match rest[end..] {
        [b'\r', b'\n', ..] => Ok(Some((&rest[..end], at + end + 2))),
        [b'\r'] => Ok(None),
        _ => Err(Doubtful),
    }
}

/// What the upstream takes; everything else is an offence.
pub struct Taken {
    pub number: u64,
    pub body: Vec<u8>,
    pub length: usize,
}

/// The request at the beginning of what the gateway sent; `None`: there is more to come.
///
/// # Errors
/// What is wrong with it.
pub fn take(bytes: &[u8], host: &str, credential: &str, foreign: &str) -> Result<Option<Taken>, String> {
    let mut fields = [EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut fields);
    let length = match head.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(why) => return Err(format!("{why}: no head")),
    };
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    if bytes[..length].split(|byte| *byte == b'\n').rev().skip(1).any(|line| !line.ends_with(b"\r")) {
        return Err(format!("a bare line feed in {text:?}"));
    }
    let one = |name: &str| match &all(head.headers, name).collect::<Vec<_>>()[..] {
        [value] => Ok(String::from_utf8_lossy(value).into_owned()),
        values => Err(format!("{name} is there {} times in {text:?}", values.len())),
    };
    if head.version != Some(1) || one("host")? != host || one("authorization")? != credential {
        return Err(format!("not from our gateway to this upstream: {text:?}"));
    }
    if text.contains(foreign) || all(head.headers, "connection").count() + all(head.headers, "te").count() > 0 {
        return Err(format!("what was for the gateway goes on: {text:?}"));
    }
    let framings = all(head.headers, "content-length").count() + all(head.headers, "transfer-encoding").count();
    let framing = framing(head.headers).map_err(|Doubtful| format!("a framing with two meanings: {text:?}"))?;
    if framings > 1 {
        return Err(format!("two framings: {text:?}"));
    }
    let target = head.path.unwrap_or_default();
    let number = target.trim_start_matches('/').strip_prefix("t/");
    let number = number.and_then(|rest| rest.split(['/', '?']).next()?.parse().ok());
    let number: u64 = number.ok_or_else(|| format!("a request that nobody sent: {text:?}"))?;
    if one("x-canary")? != number.to_string() {
        return Err(format!("the fields of another one: {text:?}"));
    }
    let body = &bytes[length..];
    let body = match framing {
        Framing::Length(length) => Ok(body.get(..length).map(|body| (body.to_vec(), length))),
        Framing::Chunked => chunks(body).map_err(|Doubtful| format!("no chunks: {text:?}")),
    };
    Ok(body?.map(|(body, taken)| Taken { number, body, length: length + taken }))
}
