//! The chunked transfer coding (RFC 9112 §7.1), taken off in place.

use pingora::{Error, ErrorType, Result};

/// The longest line with a chunk's size, extensions included, in bytes.
const MAX_SIZE_LINE: usize = 8 * 1024;
/// The longest trailer section, in bytes. It is read and dropped.
const MAX_TRAILERS: usize = 16 * 1024;

/// Where a chunked body is.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    /// Bytes of the present size line or trailer section so far.
    line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a size; the second value tells whether there was one.
    Size(u64, bool),
    /// Behind them, in extensions that nobody understands.
    Extension(u64),
    /// The line feed of a size line comes next.
    SizeEnd(u64),
    /// That many bytes of payload come next.
    Payload(u64),
    PayloadCr,
    PayloadLf,
    /// In the trailer section; whether its present line is empty so far.
    Trailer(bool),
    /// The line feed of a trailer line comes next; whether that line was empty.
    TrailerEnd(bool),
    Complete,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { state: State::Size(0, false), line: 0 }
    }
}

impl Chunks {
    /// Whether the last chunk and the trailers were seen.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Takes the coding off: the payload in `bytes` is moved to their beginning. How much payload that is, and how many
    /// bytes were used, which are all unless the body has ended.
    ///
    /// # Errors
    /// When this is no chunked coding, or its lines are longer than they can mean to be.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> Result<(usize, usize)> {
        let (mut payload, mut at) = (0, 0);
        while at < bytes.len() && !self.is_complete() {
            if let State::Payload(left) = self.state {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                bytes.copy_within(at..at + length, payload);
                payload += length;
                at += length;
                let left = left - length as u64;
                self.state = if left == 0 { State::PayloadCr } else { State::Payload(left) };
            } else {
                self.state = self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok((payload, at))
    }

    fn step(&mut self, byte: u8) -> Result<State> {
        self.line += 1;
        let in_trailers = matches!(self.state, State::Trailer(_) | State::TrailerEnd(_));
        if self.line > if in_trailers { MAX_TRAILERS } else { MAX_SIZE_LINE } {
            return invalid("a line that is too long");
        }
        Ok(match (self.state, byte) {
            (State::Size(size, _), digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).unwrap_or(0);
                match size.checked_mul(16) {
                    Some(size) => State::Size(size + u64::from(digit), true),
                    None => return invalid("a chunk of more than 16 EiB"),
                }
            }
            (State::Size(size, true), b'\r') => State::SizeEnd(size),
            (State::Size(size, true), b';' | b' ' | b'\t') => State::Extension(size),
            (State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Extension(size), byte) if byte != b'\n' => State::Extension(size),
            (State::SizeEnd(size), b'\n') => {
                self.line = 0;
                if size == 0 { State::Trailer(true) } else { State::Payload(size) }
            }
            (State::PayloadCr, b'\r') => State::PayloadLf,
            (State::PayloadLf, b'\n') => {
                self.line = 0;
                State::Size(0, false)
            }
            (State::Trailer(empty), b'\r') => State::TrailerEnd(empty),
            (State::Trailer(_), byte) if byte != b'\n' => State::Trailer(false),
            (State::TrailerEnd(true), b'\n') => State::Complete,
            (State::TrailerEnd(false), b'\n') => State::Trailer(true),
            _ => return invalid("a byte that belongs elsewhere"),
        })
    }
}

fn invalid<T>(what: &'static str) -> Result<T> {
    Error::e_explain(ErrorType::new("InvalidChunk"), what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes piece by piece: the payload, and what came behind the end.
    fn decode(body: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool)> {
        let (mut chunks, mut payload, mut used) = (Chunks::default(), Vec::new(), 0);
        for piece in body.chunks(step) {
            let mut piece = piece.to_vec();
            let (length, taken) = chunks.decode(&mut piece)?;
            payload.extend_from_slice(&piece[..length]);
            used += taken;
        }
        Ok((payload, used, chunks.is_complete()))
    }

    proptest! {
        #[test]
        fn what_was_chunked_comes_out_however_it_arrives(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..400), 0..8),
            extension in "(;[a-z]{1,5}(=\"[a-z]{0,9}\")?| ;x)?",
            trailers in "([A-Z][a-z]{0,8}: [a-z]{0,20}\r\n){0,3}",
            step in 1..200usize,
        ) {
            let mut body = Vec::new();
            for payload in &payloads {
                body.extend(format!("{:X}{extension}\r\n", payload.len()).bytes());
                body.extend(payload);
                body.extend(b"\r\n");
            }
            body.extend(format!("000{extension}\r\n{trailers}\r\n").bytes());
            let end = body.len();
            body.extend(b"HTTP/1.1 200 OK");
            let (payload, used, complete) = decode(&body, step).unwrap();
            prop_assert_eq!(payload, payloads.concat());
            prop_assert!(complete);
            prop_assert_eq!(used, end);
        }

        #[test]
        fn nothing_panics(body in proptest::collection::vec(any::<u8>(), 0..300), step in 1..50usize) {
            let _ = decode(&body, step);
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for body in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-1\r\n",
            b"0x5\r\n",
            b"5\n",
            b"5\r\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\n",
            b";x\r\n",
            b"10000000000000000\r\n",
            b"0\r\nA: b\n\r\n",
            b"5;a\nb\r\n",
        ] {
            assert!(decode(body, 1).is_err(), "{body:?}");
        }
        assert!(decode(&[b"5;".to_vec(), vec![b'a'; MAX_SIZE_LINE]].concat(), 100).is_err());
        assert!(decode(&[b"0\r\n".to_vec(), vec![b'a'; MAX_TRAILERS + 1]].concat(), 100).is_err());
    }

    #[test]
    fn an_end_that_is_missing_is_missed() {
        for body in ["5\r\nhello", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n", "5\r\nhello\r\n0\r\n\r"] {
            assert!(!decode(body.as_bytes(), 3).unwrap().2, "{body:?}");
        }
    }
}
