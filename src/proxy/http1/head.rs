//! Heads of requests and answers (RFC 9112 §2 to §6), parsed where they were read.

use super::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use httparse::{Header, ParserConfig, Status};
use pingora::http::{RequestHeader, ResponseHeader};
use std::mem::MaybeUninit;

/// How many fields a head may have.
const MAX_FIELDS: usize = 256;
/// How large the head of an answer may be, in bytes.
pub(super) const MAX_ANSWER: usize = 1024 * 1024;

/// Why a head is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// It is no head, or its framing is ambiguous.
    Head,
    /// The target has a character that must be percent-encoded.
    Target,
    /// It is larger than it may be.
    TooLarge,
}

/// The head of a request, and what it says about the connection.
pub(super) struct Request {
    pub(super) head: RequestHeader,
    pub(super) body: Body,
    /// Whether the caller lets the connection be used again (RFC 9112 §9.3).
    pub(super) persistent: bool,
}

/// The head of an answer, and what it says about the connection.
pub(super) struct Answer {
    pub(super) head: ResponseHeader,
    pub(super) body: Body,
    /// Whether the upstream lets the connection be used again.
    pub(super) persistent: bool,
}

/// Finds the end of a head in what was read so far, looking at each byte once.
#[derive(Debug, Default)]
pub(super) struct EndOfHead {
    /// Bytes that need not be looked at again.
    seen: usize,
}

impl EndOfHead {
    /// The length of the head that `bytes` begins with; `None`: there is more to come. Blank lines in front of a head are dropped
    /// (RFC 9112 §2.2).
    pub(super) fn find(&mut self, bytes: &mut BytesMut) -> Option<usize> {
        let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if self.seen == 0 {
            bytes.advance(blank);
        }
        for at in memchr::memchr_iter(b'\n', &bytes[self.seen..]) {
            let at = self.seen + at;
            match bytes[at + 1..] {
                [b'\n', ..] => return Some(at + 2),
                [b'\r', b'\n', ..] => return Some(at + 3),
                [] | [b'\r'] => {
                    self.seen = at;
                    return None;
                }
                _ => {}
            }
        }
        self.seen = bytes.len();
        None
    }

    /// Whether nothing was looked at yet.
    pub(super) fn is_new(&self) -> bool {
        self.seen == 0
    }
}

/// Whether these bytes could begin a request.
pub(super) fn may_begin_request(bytes: &[u8]) -> bool {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    httparse::Request::new(&mut []).parse_with_uninit_headers(bytes, &mut fields).is_ok()
}

/// Parses the head of a request, all of it.
///
/// # Errors
/// When it is none, or could be taken for two different ones.
pub(super) fn request(bytes: &Bytes) -> Result<Request, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        _ => return Err(Malformed::Head),
    }
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else { return Err(Malformed::Head) };
    // What parsing would drop must not have been there (RFC 9112 §3.2).
    if target.contains('#') {
        return Err(Malformed::Target);
    }
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = Method::from_bytes(method.as_bytes()).map_err(|_| Malformed::Head)?;
    parts.uri = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).map_err(|_| Malformed::Target)?;
    parts.version = version(parsed.version);
    parts.headers = headers(bytes, parsed.headers)?;
    check_authority(&parts.method, &parts.uri, &parts.headers)?;
    let persistent = persists(parts.version, &parts.headers);
    let body = body_of_request(parts.version, &parts.headers)?;
    Ok(Request { head: parts.into(), body, persistent })
}

/// Parses the head of an answer, all of it. `to_head`: the request was a HEAD. `upgrades`: it asked for another protocol.
///
/// # Errors
/// When it is none, or nobody knows where its body ends.
pub(super) fn answer(bytes: &Bytes, to_head: bool, upgrades: bool) -> Result<Answer, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let mut parser = ParserConfig::default();
    parser.allow_spaces_after_header_name_in_responses(true).allow_obsolete_multiline_headers_in_responses(true);
    match parser.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        _ => return Err(Malformed::Head),
    }
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|_| Malformed::Head)?;
    parts.version = version(parsed.version);
    parts.headers = headers(bytes, parsed.headers)?;
    let mut persistent = persists(parts.version, &parts.headers);
    if parts.headers.contains_key(header::TRANSFER_ENCODING) {
        // Nobody behind us may see two framings.
        let doubly_framed = parts.headers.remove(header::CONTENT_LENGTH).is_some();
        // Somebody on the way does not know what it sends (RFC 9112 §6.1).
        persistent &= !doubly_framed && parts.version != Version::HTTP_10;
    }
    let body = body_of_answer(parts.status, &parts.headers, to_head, upgrades)?;
    persistent &= !matches!(body, Body::UntilClose);
    Ok(Answer { head: parts.into(), body, persistent })
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 }
}

/// The fields, their values where they were read.
fn headers(bytes: &Bytes, fields: &[Header<'_>]) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed::Head)?;
        let value = match HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)) {
            Ok(value) => value,
            Err(_) => HeaderValue::from_bytes(&unfolded(field.value)).map_err(|_| Malformed::Head)?,
        };
        headers.append(name, value);
    }
    Ok(headers)
}

/// A value over several lines, which httparse lets upstreams send, on one (RFC 9112 §5.2).
fn unfolded(value: &[u8]) -> Vec<u8> {
    value.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect()
}

/// A request says once where it goes (RFC 9112 §3.2): a target with an authority names the same host as the field.
fn check_authority(method: &Method, target: &Uri, headers: &HeaderMap) -> Result<(), Malformed> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() || host.is_some_and(|host| host.as_bytes().contains(&b'@')) {
        return Err(Malformed::Head);
    }
    let Some(authority) = target.authority() else { return Ok(()) };
    if *method == Method::CONNECT {
        // Refused by everybody, whatever it says.
        return Ok(());
    }
    let plain = matches!(target.scheme_str(), Some("http" | "https")) && !authority.as_str().contains('@');
    let same = host.is_none_or(|host| host.as_bytes() == authority.as_str().as_bytes());
    if plain && same { Ok(()) } else { Err(Malformed::Head) }
}

/// Whether the connection persists (RFC 9112 §9.3).
fn persists(version: Version, headers: &HeaderMap) -> bool {
    let says = |option: &str| {
        let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|said| said.trim().eq_ignore_ascii_case(option))
    };
    if version == Version::HTTP_11 { !says("close") } else { says("keep-alive") && !says("close") }
}

fn body_of_request(version: Version, headers: &HeaderMap) -> Result<Body, Malformed> {
    match (is_chunked(headers), content_length(headers)?) {
        (None, length) => Ok(Body::of_length(length.unwrap_or(0))),
        // A length beside it is how requests are smuggled (RFC 9112 §6.1, §11.2); HTTP/1.0 knows no transfer coding.
        (Some(true), None) if version == Version::HTTP_11 => Ok(Body::chunked()),
        (Some(_), _) => Err(Malformed::Head),
    }
}

fn body_of_answer(status: StatusCode, headers: &HeaderMap, to_head: bool, upgrades: bool) -> Result<Body, Malformed> {
    if status == StatusCode::SWITCHING_PROTOCOLS && upgrades {
        return Ok(Body::UntilClose);
    }
    let bodiless =
        to_head || status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    match (is_chunked(headers), content_length(headers)?) {
        _ if bodiless => Ok(Body::Done),
        (Some(true), _) => Ok(Body::chunked()),
        (Some(false), _) | (None, None) => Ok(Body::UntilClose),
        (None, Some(length)) => Ok(Body::of_length(length)),
    }
}

/// Whether the one transfer coding is `chunked`; `None` without any.
fn is_chunked(headers: &HeaderMap) -> Option<bool> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next()?;
    Some(codings.next().is_none() && coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// The length that a head announces, in bytes; several times the same one is one (RFC 9110 §8.6).
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for number in value.as_bytes().split(|byte| *byte == b',') {
            let number = digits(number.trim_ascii()).ok_or(Malformed::Head)?;
            if length.is_some_and(|length| length != number) {
                return Err(Malformed::Head);
            }
            length = Some(number);
        }
    }
    Ok(length)
}

/// A number of digits and nothing else.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Request, Malformed> {
        request(&Bytes::copy_from_slice(text.as_bytes()))
    }

    fn refused(text: &str) -> Malformed {
        match parsed(text) {
            Ok(_) => panic!("{text:?} was taken"),
            Err(malformed) => malformed,
        }
    }

    fn answered(text: &str) -> Result<(Answer, String), Malformed> {
        let answer = answer(&Bytes::copy_from_slice(text.as_bytes()), false, false)?;
        let body = format!("{:?}", answer.body);
        Ok((answer, body))
    }

    #[test]
    fn a_request_is_what_it_says() {
        let Request { head, body, persistent } =
            parsed("POST /mcp?a=b HTTP/1.1\r\nHost: x\r\ncontent-length: 3\r\nX-Y: \u{e9} z \r\n\r\n")
                .unwrap_or_else(|_| panic!());
        assert_eq!((head.method.as_str(), head.uri.to_string().as_str()), ("POST", "/mcp?a=b"));
        assert_eq!(head.headers["x-y"].as_bytes(), "\u{e9} z".as_bytes());
        assert!(matches!(body, Body::Length(3)) && persistent);
    }

    #[test]
    fn a29_a_body_that_could_end_in_two_places_is_refused() {
        for framing in [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1, 2",
            "Content-Length: +1",
            "Content-Length: -1",
            "Content-Length: 0x1",
            "Content-Length: 1 1",
            "Content-Length:",
            "Content-Length: 18446744073709551616",
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding:\r\n chunked",
            "Content-Length: 3\r\n folded: 4",
        ] {
            assert_eq!(
                refused(&format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n")),
                Malformed::Head,
                "{framing}"
            );
        }
        assert_eq!(refused("POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), Malformed::Head);
        for one in ["Content-Length: 42, 42", "Content-Length: 42\r\nContent-Length: 42", "Content-Length: 042"] {
            let request = parsed(&format!("POST / HTTP/1.1\r\nHost: x\r\n{one}\r\n\r\n"));
            assert!(request.is_ok_and(|request| matches!(request.body, Body::Length(42))), "{one}");
        }
    }

    #[test]
    fn a16_a20_a_request_goes_to_one_place() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: b@a\r\n\r\n",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: b\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET /\r\nHost: a\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost a\r\n\r\n",
            "GET / HTTP/1.1\r\n\u{0}: a\r\n\r\n",
        ] {
            assert_eq!(refused(text), Malformed::Head, "{text:?}");
        }
        assert_eq!(refused("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), Malformed::Target);
        assert!(parsed("GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
        assert!(parsed("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
    }

    #[test]
    fn a_connection_persists_as_both_say() {
        for (line, fields, persists) in [
            ("HTTP/1.1", "", true),
            ("HTTP/1.1", "Connection: x, Close\r\n", false),
            ("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
            ("HTTP/1.0", "", false),
            ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ] {
            let request = parsed(&format!("GET / {line}\r\nHost: x\r\n{fields}\r\n"));
            assert!(request.is_ok_and(|request| request.persistent == persists), "{line} {fields}");
            let answer = answered(&format!("{line} 200 OK\r\nContent-Length: 0\r\n{fields}\r\n"));
            assert!(answer.is_ok_and(|(answer, _)| answer.persistent == persists), "{line} {fields}");
        }
    }

    #[test]
    fn the_body_of_an_answer_ends_where_it_should() {
        for (text, body, persistent) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "Length(5)", true),
            ("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", "Length(5)", true),
            ("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", "Done", true),
            ("HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", "Done", true),
            ("HTTP/1.1 200 OK\r\n\r\n", "UntilClose", false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "UntilClose", false),
            ("HTTP/1.1 101 Switching\r\n\r\n", "Done", true),
        ] {
            let (answer, found) = answered(text).unwrap_or_else(|_| panic!("{text:?}"));
            assert_eq!((found.as_str(), answer.persistent), (body, persistent), "{text:?}");
        }
        for version in ["1.1", "1.0"] {
            let text = format!("HTTP/{version} 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
            let (answer, body) = answered(&text).unwrap_or_else(|_| panic!());
            assert!(body.starts_with("Chunked") && !answer.persistent, "{version}");
            assert!(!answer.head.headers.contains_key("content-length"), "{version}");
        }
        let (answer, _) =
            answered("HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length : 0\r\n\r\n").unwrap_or_else(|_| panic!());
        assert_eq!(answer.head.headers["x"].as_bytes().iter().filter(|byte| **byte < b' ').count(), 0);
        for wrong in
            ["HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/2 200 OK\r\n\r\n", "x\r\n\r\n"]
        {
            assert!(answered(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        /// Whoever looks byte by byte finds the end where the parser finds it, however the bytes arrive.
        #[test]
        fn the_end_of_a_head_is_found(
            blank in "(\r?\n){0,2}",
            lines in prop::collection::vec(("[A-Za-z]{1,8}", "[ -~]{0,20}", "\r?\n"), 0..6),
            end in "\r?\n",
            rest in prop::collection::vec(any::<u8>(), 0..20),
            step in 1..40usize,
        ) {
            let mut text = format!("{blank}GET / HTTP/1.1\r\n").into_bytes();
            for (name, value, line_end) in &lines {
                text.extend(format!("{name}: {value}{line_end}").bytes());
            }
            text.extend(end.bytes());
            let length = text.len() - blank.len();
            text.extend(&rest);
            let (mut finder, mut bytes, mut found) = (EndOfHead::default(), BytesMut::new(), None);
            for piece in text.chunks(step) {
                bytes.extend_from_slice(piece);
                found = found.or_else(|| finder.find(&mut bytes));
            }
            prop_assert_eq!(found, Some(length));
            let head = bytes.split_to(length).freeze();
            prop_assert!(may_begin_request(&head));
            let mut fields = [httparse::EMPTY_HEADER; 16];
            prop_assert_eq!(httparse::Request::new(&mut fields).parse(&head), Ok(Status::Complete(length)));
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            let _ = (request(&bytes), answer(&bytes, false, true), may_begin_request(&bytes));
            EndOfHead::default().find(&mut BytesMut::from(&bytes[..]));
        }
    }
}
