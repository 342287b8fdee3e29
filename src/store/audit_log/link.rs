//! What one line's hash is made of.

use super::line::AuditLine;
use crate::ids::Digest;
use data_encoding::HEXLOWER;
use std::fmt;
use std::str::FromStr;

/// Which line of the chain, counted from 1.
pub type Position = i64;

/// A line's place in the chain, and the hash of everything up to it. Written `POSITION:HASH`, the hash in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditLink {
    /// Which line.
    pub position: Position,
    /// SHA-256 of the hash before it and the line.
    pub hash: Digest,
}

impl fmt::Display for AuditLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.position, HEXLOWER.encode(&self.hash.0))
    }
}

impl FromStr for AuditLink {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':').and_then(|(position, hash)| {
            let hash = HEXLOWER.decode(hash.to_ascii_lowercase().as_bytes()).ok()?;
            Some(Self { position: position.parse().ok().filter(|one| *one > 0)?, hash: Digest::from_slice(&hash)? })
        });
        parts.ok_or("write POSITION:HASH, as `portcullis audit verify` prints it")
    }
}

/// SHA-256 of the hash before and of the line: position, number, and the columns in the order of [`AuditEvent`]. Each is one byte
/// (0 nothing, 1 number, 2 text), the length of what follows in eight bytes, and that: numbers in eight bytes, texts in
/// UTF-8; all numbers in network order. So no two lines have the same bytes.
pub(super) fn hash_of(before: &Digest, place: (Position, i64), line: &AuditLine<'_>) -> Digest {
    Hasher::default().hash_of(before, place, line)
}

/// Makes one hash after the other in the same memory.
#[derive(Default)]
pub(super) struct Hasher(Vec<u8>);

impl Hasher {
    /// As [`hash_of`].
    pub(super) fn hash_of(
        &mut self,
        before: &Digest,
        (position, number): (Position, i64),
        line: &AuditLine<'_>,
    ) -> Digest {
        self.0.clear();
        self.0.extend_from_slice(&before.0);
        self.number(Some(position));
        self.number(Some(number));
        self.number(Some(line.at.0));
        for text in line.texts() {
            self.text(text);
        }
        self.number(line.status.map(i64::from));
        self.number(line.duration_ms.map(i64::from));
        Digest::of(&self.0)
    }

    fn number(&mut self, number: Option<i64>) {
        match number {
            Some(number) => self.put(1, &number.to_be_bytes()),
            None => self.put(0, &[]),
        }
    }

    fn text(&mut self, text: Option<&str>) {
        match text {
            // As PostgreSQL keeps it, so that a chain that moves there still fits.
            Some(text) if text.contains('\0') => self.put(2, text.replace('\0', "\u{fffd}").as_bytes()),
            Some(text) => self.put(2, text.as_bytes()),
            None => self.put(0, &[]),
        }
    }

    fn put(&mut self, kind: u8, content: &[u8]) {
        self.0.push(kind);
        self.0.extend_from_slice(&(content.len() as u64).to_be_bytes());
        self.0.extend_from_slice(content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::store::AuditEvent;

    #[test]
    fn links_are_written_and_read() {
        let link = AuditLink { position: 7, hash: Digest::of("x") };
        assert_eq!(link.to_string().parse(), Ok(link));
        assert_eq!(link.to_string().to_uppercase().parse(), Ok(link));
        for text in ["", "7", "7:", ":00", "7:00", "-1:00", "x"] {
            assert!(text.parse::<AuditLink>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_line_has_the_hash_that_the_documentation_gives() {
        let event = AuditEvent {
            client: Some("claude".to_owned()),
            status: Some(200),
            ..AuditEvent::new(Timestamp(1_800_000_000), "alice", "tool.called", "get", None)
        };
        let hash = hash_of(&Digest([0; 32]), (1, 1), &event.line());
        assert_eq!(HEXLOWER.encode(&hash.0), EXAMPLE);
        // A zero is written as PostgreSQL keeps it.
        let texts = ["a\0", "a\u{fffd}"].map(|actor| AuditEvent { actor: actor.to_owned(), ..event.clone() });
        let [first, second] = texts.map(|event| hash_of(&Digest([0; 32]), (1, 1), &event.line()));
        assert_eq!(first, second);
    }

    const EXAMPLE: &str = "cfb7ef12b6fc50ca439fbfcc0a53cd9d8482e903b128b9967238862d50cb7943";
}
