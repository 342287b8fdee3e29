//! The transport of 2024 (MCP 2024-11-05, "HTTP with SSE"): the first event of its stream says where messages are posted
//! to. A server that says so with its own origin would lead the client away from our hostname, with our token in hand.

use crate::hostname::Authority;
use bytes::{Bytes, BytesMut};
use std::ops::Range;
use url::{Position, Url};

/// The most that is held back of an event that may be the one, in bytes.
const MAX_HELD: usize = 8 * 1024;

/// Makes the URL in the first `endpoint` event of a stream a path, which the client resolves against our hostname. All
/// else passes as it comes: nothing is held back that cannot become that event.
pub(super) struct EndpointEvent<'a> {
    upstream: &'a Authority,
    held: BytesMut,
    over: bool,
}

/// What the beginning of a stream is.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    /// It may still become an `endpoint` event.
    Undecided,
    /// So many bytes without an event: comments and blank lines.
    Nothing(usize),
    /// An `endpoint` event, its URL in these bytes.
    Endpoint(Range<usize>),
    /// Anything else.
    Other,
}

impl<'a> EndpointEvent<'a> {
    pub(super) fn of(upstream: &'a Authority) -> Self {
        Self { upstream, held: BytesMut::new(), over: false }
    }

    /// Takes the next bytes of the stream; what may go on to the caller, perhaps nothing yet.
    pub(super) fn feed(&mut self, chunk: Bytes) -> Bytes {
        if self.over {
            return chunk;
        }
        self.held.extend_from_slice(&chunk);
        let mut passed = BytesMut::new();
        loop {
            match beginning(&self.held) {
                Beginning::Undecided if self.held.len() <= MAX_HELD => return passed.freeze(),
                Beginning::Nothing(length) => passed.unsplit(self.held.split_to(length)),
                Beginning::Endpoint(url) => self.shorten(url),
                Beginning::Undecided | Beginning::Other => self.over = true,
            }
            if self.over {
                passed.unsplit(std::mem::take(&mut self.held));
                return passed.freeze();
            }
        }
    }

    /// What is left when the stream has ended.
    pub(super) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held).freeze()
    }

    /// Takes the origin out of the URL when it is the upstream's own.
    fn shorten(&mut self, url: Range<usize>) {
        self.over = true;
        let event = &self.held[..];
        let Some(path) = std::str::from_utf8(&event[url.clone()]).ok().and_then(|url| path_at(url, self.upstream))
        else {
            return;
        };
        let shortened = [&event[..url.start], path.as_bytes(), &event[url.end..]].concat();
        self.held = BytesMut::from(&shortened[..]);
    }
}

/// What stays of an absolute URL without the upstream's origin: a path, as it is written, or as a browser reads it where that is not the
/// same. `None` for all other URLs.
pub(super) fn path_at(url: &str, upstream: &Authority) -> Option<String> {
    let (_, after_scheme) = url.split_once("//").filter(|(scheme, _)| scheme.is_empty() || scheme.ends_with(':'))?;
    let origin = Url::parse(&upstream.origin()).ok()?;
    // Behind no scheme the parser does not take three slashes for two, as browsers do.
    let url = if url.starts_with("//") { &format!("{}:{url}", origin.scheme()) } else { url };
    let whole = Url::parse(url).ok().filter(|whole| is_at(whole, &origin))?;
    let rest = after_scheme.find(['/', '?', '#']).map_or("", |at| &after_scheme[at..]);
    let written = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    let read = &whole[Position::BeforePath..];
    // Two slashes, or what readers take for two (a backslash, a tab between them), would be a hostname: another one, or the upstream's
    // own where there were more than two before it. Both are seen where neither is.
    let elsewhere = Url::parse("https://elsewhere.invalid").ok()?;
    let stays = |path: &str| {
        let there = elsewhere.join(path);
        there.is_ok_and(|there| there.origin() == elsewhere.origin() && &there[Position::BeforePath..] == read)
    };
    [written.as_str(), read].into_iter().find(|path| stays(path)).map(str::to_owned)
}

/// Whether a URL has this origin, or the one that a server believes to have whose TLS ends in front of it.
fn is_at(url: &Url, origin: &Url) -> bool {
    let plain = url.scheme() == "http" && url.port().is_none() && origin.scheme() == "https" && origin.port().is_none();
    url.origin() == origin.origin() || plain && url.host() == origin.host()
}

fn beginning(stream: &[u8]) -> Beginning {
    let (mut names_endpoint, mut url, mut at) = (false, None, 0);
    loop {
        let Some(length) = stream[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            return if names_endpoint || may_lead_there(&stream[at..]) {
                Beginning::Undecided
            } else {
                Beginning::Other
            };
        };
        let (start, end) = (at, at + length);
        at = end + if stream[end..].starts_with(b"\r\n") { 2 } else { 1 };
        let line = &stream[start..end];
        match field(line) {
            (b"", _) if line.is_empty() && names_endpoint => return url.map_or(Beginning::Other, Beginning::Endpoint),
            (b"", _) if line.is_empty() => return Beginning::Nothing(at),
            (b"event", b"endpoint") => names_endpoint = true,
            (b"data", value) if names_endpoint && url.is_none() => url = Some(end - value.len()..end),
            // The first has no name: a comment.
            (b"" | b"id" | b"retry", _) => {}
            // Half of a name that means nothing is not held back, so the whole of it is not waited for either.
            _ => return Beginning::Other,
        }
    }
}

/// Whether an unfinished line can become one that comes before, or is, `event: endpoint`.
fn may_lead_there(line: &[u8]) -> bool {
    let (name, value) = field(line);
    match name {
        b"" | b"id" | b"retry" => true,
        b"event" => b"endpoint".starts_with(value),
        name => [&b"event"[..], b"id", b"retry"].iter().any(|field| field.starts_with(name)) && !line.contains(&b':'),
    }
}

/// Name and value of a line (WHATWG HTML §9.2.6); a comment has an empty name.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b':') {
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stream as the caller sees it, fed so many bytes at a time; and what was held back at the most.
    fn passed(stream: &str, step: usize) -> (String, usize) {
        let upstream = Authority::parse("127.0.0.1:9000").unwrap();
        let mut endpoint = EndpointEvent::of(&upstream);
        let (mut seen, mut held) = (Vec::new(), 0);
        for chunk in stream.as_bytes().chunks(step) {
            seen.extend_from_slice(&endpoint.feed(Bytes::copy_from_slice(chunk)));
            held = held.max(endpoint.held.len());
        }
        seen.extend_from_slice(&endpoint.finish());
        (String::from_utf8(seen).unwrap(), held)
    }

    #[test]
    fn an_own_origin_is_taken_out_however_the_bytes_arrive() {
        for (url, path) in [
            ("http://127.0.0.1:9000/messages/?session_id=a%20b", "/messages/?session_id=a%20b"),
            ("HTTP://127.0.0.1:9000/m", "/m"),
            ("http://127.0.0.1:9000", "/"),
            ("http://127.0.0.1:9000?s=1", "/?s=1"),
            ("//127.0.0.1:9000/m#x", "/m#x"),
            ("http://user:secret@127.0.0.1:9000/m", "/m"),
        ] {
            for (before, after) in [
                ("event: endpoint\ndata: ", "\n\nevent: message\ndata: {}\n\n"),
                ("event:endpoint\r\ndata:", "\r\n\r\n"),
                ("event: endpoint\rdata: ", "\r\r"),
                (": hello\n\nid: 1\nretry: 5\nevent: endpoint\nid: 2\ndata: ", "\nid: 3\n\n: more\n\n"),
            ] {
                for step in [1, 2, 3, 7, 1000] {
                    let (seen, _) = passed(&format!("{before}{url}{after}"), step);
                    assert_eq!(seen, format!("{before}{path}{after}"), "{step}");
                }
            }
        }
    }

    #[test]
    fn a_server_may_take_itself_for_one_without_tls() {
        let path = |url| path_at(url, &Authority::parse("mcp.example.com").unwrap());
        for url in ["https://mcp.example.com/m", "http://mcp.example.com/m", "//mcp.example.com:443/m"] {
            assert_eq!(path(url).as_deref(), Some("/m"), "{url}");
        }
        for url in
            ["http://mcp.example.com:8080/m", "https://example.com/m", "ws://mcp.example.com/m", "/m", "m//x", ""]
        {
            assert_eq!(path(url), None, "{url}");
        }
    }

    #[test]
    fn a_path_that_would_be_another_hostname_elsewhere_stays_a_url() {
        let path = |url: &str| path_at(url, &Authority::parse("mcp.example.com").unwrap());
        for rest in ["//evil.example/m", "/\\evil.example/m", "/\t/evil.example", "/\t\\evil.example"] {
            assert_eq!(path(&format!("https://mcp.example.com{rest}")), None, "{rest:?}");
        }
        let kept = "https://mcp.example.com/a//b/../c\\d?e=\\#f";
        assert_eq!(path(kept).as_deref(), Some("/a//b/../c\\d?e=\\#f"));
    }

    #[test]
    fn an_own_origin_is_taken_out_however_it_is_spelled() {
        for (url, path) in [
            ("https:////mcp.example.com/m", "/m"),
            ("http:///\\mcp.example.com", "/"),
            ("///\tmcp.example.com/m?a", "/m?a"),
            ("////mcp.example.com", "/"),
            ("https://mcp.example.com\\m", "/m"),
            ("https://mcp.example.com\\evil.example", "/evil.example"),
        ] {
            assert_eq!(path_at(url, &Authority::parse("mcp.example.com").unwrap()).as_deref(), Some(path), "{url:?}");
        }
    }

    #[test]
    fn everything_else_passes_as_it_is() {
        for stream in [
            "event: endpoint\ndata: /messages?s=1\n\n",
            "event: endpoint\ndata: messages\n\n",
            "event: endpoint\ndata: http://127.0.0.1:9000//evil.example/m\n\n",
            "event: endpoint\ndata: https://127.0.0.1:9000/m\n\n",
            "event: endpoint\ndata: http://127.0.0.1:9001/m\n\n",
            "event: endpoint\ndata: http://127.0.0.1.example:9000/m\n\n",
            "event: endpoint\ndata: http://127.0.0.1:9000/m\ndata: more\n\n",
            "event: endpoint\n\n",
            "event: endpoints\ndata: http://127.0.0.1:9000/m\n\n",
            "event: message\ndata: x\n\nevent: endpoint\ndata: http://127.0.0.1:9000/m\n\n",
            "data: http://127.0.0.1:9000/m\nevent: endpoint\n\n",
            "event: endpoint\ndata: http://127.0.0.1:9000/m",
            "x: y\nevent: endpoint\ndata: http://127.0.0.1:9000/m\n\n",
            "\u{feff}event: endpoint\ndata: http://127.0.0.1:9000/m\n\n",
            "",
        ] {
            for step in [1, 2, 3, 7, 1000] {
                assert_eq!(passed(stream, step).0, stream, "{step}");
            }
        }
    }

    #[test]
    fn what_cannot_become_the_event_is_not_held_back() {
        for stream in ["data: half", "event: mess", "event: message\ndata: {", "\u{feff}e", "d", "idx: 1"] {
            let upstream = Authority::parse("127.0.0.1:9000").unwrap();
            let mut endpoint = EndpointEvent::of(&upstream);
            assert_eq!(endpoint.feed(Bytes::from(stream)), stream);
        }
        let endless = format!("event: endpoint\ndata: {}", "x".repeat(100_000));
        let (seen, held) = passed(&endless, 1000);
        assert!(seen == endless && held <= MAX_HELD, "{held}");
    }
}
