//! Connections of HTTP/1.0 and 1.1 whose messages can be understood in two ways, nearly.

use crate::chaos_proxy::Numbers;

/// Whom a caller asks, and as whom.
#[derive(Clone)]
pub struct Caller {
    pub host: String,
    pub token: String,
}

impl Numbers {
    pub(super) fn pick<'t>(&mut self, list: &[&'t str]) -> &'t str {
        list[self.below(list.len() as u64) as usize]
    }

    /// Once in so many times.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// Everything that one connection sends: some messages from `first` on, and a plain one at the end that closes it.
pub fn connection(numbers: &mut Numbers, caller: &Caller, first: u64) -> Vec<u8> {
    let count = 1 + numbers.below(3);
    let mut bytes = Vec::new();
    for number in first..first + count {
        bytes.extend(message(numbers, caller, number));
        if numbers.once_in(12) {
            bytes.extend(numbers.pick(&["\r\n", "\n", "\r\n\r\n", "\0", " ", "0\r\n\r\n", "X"]).bytes());
        }
    }
    let Caller { host, token } = caller;
    let last = first + count;
    bytes.extend(
        format!(
            "GET /t/{last} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nX-Canary: {last}\r\n\
             Connection: close\r\n\r\n"
        )
        .bytes(),
    );
    bytes
}

/// One message, plain in most respects.
fn message(numbers: &mut Numbers, caller: &Caller, number: u64) -> Vec<u8> {
    let Caller { host, token } = caller;
    let method = numbers.pick(&["POST", "POST", "POST", "GET", "PUT", "DELETE", "PATCH"]);
    let target = match numbers.below(60) {
        0 => format!("http://{host}/t/{number}"),
        1 => format!("http://other.localhost/t/{number}"),
        2 => format!("/t/{number} HTTP/1.1\r\nX: y"),
        3 => format!("/t/{number}#x"),
        4 => format!("/t/{number}/%0d%0aX:%20y?a=%20"),
        5 => format!("//t/{number}"),
        6 => format!("http://u@{host}/t/{number}"),
        _ => format!("/t/{number}"),
    };
    let version = match numbers.below(30) {
        0 => "HTTP/1.0",
        1 => numbers.pick(&["HTTP/1.2", "HTTP/2.0", "HTTP/1.1 ", "http/1.1", "HTTP/11", "HTTP/1.10"]),
        _ => "HTTP/1.1",
    };
    let mut fields = hosts(numbers, host);
    fields.push(format!("Authorization: Bearer {token}"));
    fields.push(format!("X-Canary: {number}"));
    let body = body(numbers, number, caller);
    let wire = framed(numbers, &mut fields, &body);
    if numbers.once_in(5) {
        let option = numbers.pick(&[
            "close",
            "keep-alive",
            "Content-Length",
            "transfer-encoding",
            "Host",
            "Authorization",
            "x, close",
            "te",
            "keep-alive, close",
        ]);
        fields.push(format!("Connection: {option}"));
    }
    if numbers.once_in(10) {
        let field = numbers.pick(&[
            "Expect: 100-continue",
            "TE: trailers",
            "Trailer: Content-Length",
            "Keep-Alive: 5",
            "Proxy-Connection: close",
            "Upgrade: h2c",
            "X-Forwarded-For: 1.2.3.4",
            " folded: 1",
            "\tfolded: 1",
            "no colon",
            ": no name",
            "a b: c",
            "X\0: y",
            "X: \0",
            "X: \ry",
            "Content_Length: 3",
            "Transfer_Encoding: chunked",
            "X:\u{b}y",
            "Via: 1.1 x",
            "Cookie: a=b",
        ]);
        let at = numbers.below(fields.len() as u64 + 1) as usize;
        fields.insert(at, field.to_owned());
    }
    let end = match numbers.below(60) {
        0 => "\n",
        1 => "\r",
        2 => "\r\r\n",
        _ => "\r\n",
    };
    let mut head = format!("{method} {target} {version}{end}");
    for field in &fields {
        head.push_str(field);
        head.push_str(if numbers.once_in(60) { "\n" } else { end });
    }
    head.push_str(if numbers.once_in(60) { "\n" } else { end });
    [head.into_bytes(), wire].concat()
}

fn hosts(numbers: &mut Numbers, host: &str) -> Vec<String> {
    match numbers.below(50) {
        0 => Vec::new(),
        1 => vec![format!("Host: {host}"), format!("Host: {host}")],
        2 => vec![format!("Host: {host}"), "Host: other.localhost".to_owned()],
        3 => vec![format!("Host : {host}")],
        4 => vec![format!("Host: {host}, other.localhost")],
        5 => vec![format!("Host:{host} ")],
        _ => vec![format!("Host: {host}")],
    }
}

/// What nobody may take for a request: it has the form of one.
fn body(numbers: &mut Numbers, number: u64, caller: &Caller) -> Vec<u8> {
    let Caller { host, token } = caller;
    let smuggled = number + 500_000_000;
    match numbers.below(5) {
        0 => Vec::new(),
        1 => format!("<body {number}>").into_bytes(),
        2 => vec![b'0'; 1 + numbers.below(40_000) as usize],
        3 => format!("0\r\n\r\nGET /t/{smuggled} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nX-Canary: {smuggled}\r\n\r\n")
            .into_bytes(),
        _ => format!("GET /t/{smuggled} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nX-Canary: {smuggled}\r\n\r\n")
            .into_bytes(),
    }
}

/// The bytes of a body, and the fields that say how they are delimited.
fn framed(numbers: &mut Numbers, fields: &mut Vec<String>, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let wrong = |numbers: &mut Numbers| match numbers.below(12) {
        0 => format!("Content-Length: +{length}"),
        1 => format!("Content-Length: {length}, {length}"),
        2 => format!("Content-Length: {length}, {}", length + 1),
        3 => format!("Content-Length: 0x{length:x}"),
        4 => format!("Content-Length: {}", length.saturating_sub(3)),
        5 => format!("Content-Length: {}", length + 9),
        6 => format!("Content-Length: -{length}"),
        7 => format!("Content-Length: {length} {length}"),
        8 => "Content-Length: 18446744073709551616".to_owned(),
        9 => format!("Content-Length: 000{length}"),
        10 => format!("Content-Length:\t{length}\t"),
        _ => "Content-Length:".to_owned(),
    };
    let coding = |numbers: &mut Numbers| {
        let value = numbers.pick(&[
            "chunked",
            "Chunked",
            " chunked ",
            "\tchunked",
            "xchunked",
            "chunked, chunked",
            "gzip, chunked",
            "identity",
            "chunked, identity",
            "\u{b}chunked",
            "\"chunked\"",
            "chunked;q=1",
            "chunke",
            "",
            "chunked\0",
            "cow",
        ]);
        let name = match numbers.below(8) {
            0 => numbers.pick(&[
                "Transfer-Encoding ",
                " Transfer-Encoding",
                "Transfer-Encoding\0",
                "X: y\nTransfer-Encoding",
                "X: y\rTransfer-Encoding",
            ]),
            _ => "Transfer-Encoding",
        };
        format!("{name}: {value}")
    };
    match numbers.below(20) {
        0 => {
            let field = wrong(numbers);
            fields.push(field);
            body.to_vec()
        }
        1 => {
            let both = [coding(numbers), format!("Content-Length: {length}")];
            let turned = numbers.below(2) as usize;
            fields.extend([both[turned].clone(), both[1 - turned].clone()]);
            if numbers.once_in(2) { body.to_vec() } else { chunked(numbers, body) }
        }
        2 => {
            let field = coding(numbers);
            fields.push(field);
            chunked(numbers, body)
        }
        3 => {
            let (one, two) = (coding(numbers), coding(numbers));
            fields.extend([one, two]);
            chunked(numbers, body)
        }
        4 => {
            let field = wrong(numbers);
            fields.extend([format!("Content-Length: {length}"), field]);
            body.to_vec()
        }
        5..=11 => {
            fields.push("Transfer-Encoding: chunked".to_owned());
            chunked(numbers, body)
        }
        _ => {
            fields.push(format!("Content-Length: {length}"));
            body.to_vec()
        }
    }
}

/// Chunks, of which some are not as they should be.
fn chunked(numbers: &mut Numbers, body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let step = 1 + numbers.below(body.len() as u64 + 20) as usize;
    for chunk in body.chunks(step.max(body.len() / 8)) {
        let size = match numbers.below(150) {
            0 => format!("{:x}\n", chunk.len()),
            1 => format!("0x{:x}\r\n", chunk.len()),
            2 => format!("{:x} ;a=\"b\r\n", chunk.len()),
            3 => format!("{:x};a\n\r\n", chunk.len()),
            4 => format!("{:x}\r\n", chunk.len() + 2),
            5 => format!("{:x}\r\n", chunk.len().saturating_sub(2)),
            6 => format!("ffffffffffffffff{:x}\r\n", chunk.len()),
            7 => format!("-{:x}\r\n", chunk.len()),
            8 => format!(" {:x}\r\n", chunk.len()),
            9 | 10 => format!("000{:X};ext=1\r\n", chunk.len()),
            _ => format!("{:x}\r\n", chunk.len()),
        };
        wire.extend(size.bytes());
        wire.extend_from_slice(chunk);
        wire.extend(
            if numbers.once_in(50) { numbers.pick(&["", "\n", "\r", "\r\r\n", "x\r\n"]) } else { "\r\n" }.bytes(),
        );
    }
    let end = match numbers.below(35) {
        0 => "0\r\nContent-Length: 3\r\nAuthorization: Bearer trailer\r\n\r\n",
        1 => "0;x\r\n\r\n",
        2 => "0\n\n",
        3 => "0\r\n",
        4 => "",
        5 => "0\r\nno colon\r\n\r\n",
        6 => "00000\r\nX: y\r\n\r\n",
        _ => "0\r\n\r\n",
    };
    wire.extend(end.bytes());
    wire
}
