//! Bodies of HTTP/1.1 messages (RFC 9112, section 6), as both the mock and the load generator read them.

/// What is left of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Length(usize),
    /// A chunk's size line is next.
    Size,
    /// So much of a chunk, its line end included, is next.
    Chunk(usize),
    /// The lines behind the last chunk are next.
    Trailer,
}

impl Body {
    /// As the fields say; none where neither length nor chunks are named.
    pub fn of(fields: &[httparse::Header]) -> Option<Self> {
        if field(fields, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case(b"chunked")) {
            return Some(Self::Size);
        }
        let length = std::str::from_utf8(field(fields, "content-length")?).ok()?;
        length.trim().parse().ok().map(Self::Length)
    }

    /// Takes what is there of the body out of `buffer` and shows it to `see`; whether that was the end of it.
    pub fn take(&mut self, buffer: &mut Vec<u8>, mut see: impl FnMut(&[u8])) -> bool {
        let mut at = 0;
        let ended = loop {
            let rest = &buffer[at..];
            match *self {
                Self::Length(left) => {
                    let now = left.min(rest.len());
                    see(&rest[..now]);
                    at += now;
                    *self = Self::Length(left - now);
                    break now == left;
                }
                Self::Size => {
                    let Some(end) = line(rest) else { break false };
                    let digits = rest[..end].split(|byte| *byte == b';').next().unwrap_or_default();
                    let size =
                        std::str::from_utf8(digits).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
                    at += end + 2;
                    *self = match size.unwrap_or(0) {
                        0 => Self::Trailer,
                        size => Self::Chunk(size + 2),
                    };
                }
                Self::Chunk(left) => {
                    let now = left.min(rest.len());
                    // The line end behind the chunk is none of its content.
                    see(&rest[..now.min(left.saturating_sub(2))]);
                    at += now;
                    *self = if now == left { Self::Size } else { Self::Chunk(left - now) };
                    if now < left {
                        break false;
                    }
                }
                Self::Trailer => {
                    let Some(end) = line(rest) else { break false };
                    at += end + 2;
                    if end == 0 {
                        break true;
                    }
                }
            }
        };
        buffer.drain(..at);
        ended
    }
}

/// The value of a field.
pub fn field<'a>(fields: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

fn line(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::Body;

    fn take(body: &mut Body, pieces: &[&str]) -> (String, Vec<bool>, Vec<u8>) {
        let (mut buffer, mut seen, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece.as_bytes());
            ended.push(body.take(&mut buffer, |content| seen.extend_from_slice(content)));
        }
        (String::from_utf8_lossy(&seen).into_owned(), ended, buffer)
    }

    #[test]
    fn a_length_ends_where_it_says() {
        let (seen, ended, rest) = take(&mut Body::Length(5), &["he", "lloHTTP"]);
        assert_eq!((seen.as_str(), ended, rest.as_slice()), ("hello", vec![false, true], &b"HTTP"[..]));
    }

    #[test]
    fn chunks_may_come_in_any_pieces() {
        let whole = "3;x=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: 1\r\n\r\nHTTP";
        for cut in 0..whole.len() {
            let (seen, ended, rest) = take(&mut Body::Size, &[&whole[..cut], &whole[cut..]]);
            let ended_early = cut >= whole.len() - "HTTP".len();
            assert_eq!(seen, "abcde", "cut at {cut}");
            if !ended_early {
                assert_eq!((ended[1], rest.as_slice()), (true, &b"HTTP"[..]), "cut at {cut}");
            }
        }
    }
}
