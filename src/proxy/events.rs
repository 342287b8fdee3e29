//! Where a stream of server-sent events is between two events (WHATWG HTML §9.2): the only place where a comment of our
//! own fits.

/// Follows an event stream without looking into the events.
#[derive(Debug)]
pub(super) struct EventTracker {
    /// The last bytes seen, the newest at the end.
    tail: [u8; 3],
}

impl Default for EventTracker {
    fn default() -> Self {
        // The beginning of a stream is a boundary.
        Self { tail: *b"\n\n\n" }
    }
}

impl EventTracker {
    /// Whether everything seen so far ends with a blank line. Lines may end with LF, CR LF or CR.
    pub(super) fn at_boundary(&self) -> bool {
        self.tail.ends_with(b"\n\n") || self.tail == *b"\n\r\n" || self.tail.ends_with(b"\r\r")
    }

    /// Takes the next bytes of the stream.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        match bytes {
            [.., a, b, c] => self.tail = [*a, *b, *c],
            short => {
                for byte in short {
                    self.tail = [self.tail[1], self.tail[2], *byte];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends_at_boundary(stream: &[u8], step: usize) -> bool {
        let mut tracker = EventTracker::default();
        stream.chunks(step).for_each(|chunk| tracker.feed(chunk));
        tracker.at_boundary()
    }

    #[test]
    fn every_line_ending_counts_however_the_bytes_arrive() {
        for step in 1..5 {
            for whole in
                [&b""[..], b"data: x\n\n", b"data: x\r\n\r\n", b"data: x\r\r", b": comment\n\nid: 1\ndata: y\n\n"]
            {
                assert!(ends_at_boundary(whole, step), "{whole:?} by {step}");
            }
            for broken in [&b"data: x"[..], b"data: x\n", b"data: x\r\n", b"data: x\r\n\r", b"data: \n\nx"] {
                assert!(!ends_at_boundary(broken, step), "{broken:?} by {step}");
            }
        }
    }
}
