//! Server-sent events, taken apart (WHATWG HTML §9.2.6): lines may end with LF, CR LF or CR, a BOM may come first, `data` may
//! take several lines.

/// Takes an event stream apart, as its bytes arrive.
#[derive(Debug)]
pub struct EventStream {
    /// The line that is being received.
    line: Vec<u8>,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    /// No line was complete yet: a BOM may be there.
    at_start: bool,
    kind: String,
    data: String,
    /// Whether there was a `data` field.
    has_data: bool,
    id: Option<String>,
    retry: Option<u64>,
    /// The most that an event may have, in bytes.
    limit: usize,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEvent {
    /// `event`; `message` where it said nothing.
    pub kind: String,
    /// `data`, its lines joined by LF.
    pub data: String,
}

/// An event has more bytes than are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is too long")]
pub struct TooLong;

impl EventStream {
    /// The beginning of a stream whose events have at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            after_cr: false,
            at_start: true,
            kind: String::new(),
            data: String::new(),
            has_data: false,
            id: None,
            retry: None,
            limit,
        }
    }

    /// Takes bytes off the front of `bytes`, as far as the end of the next event; `None` when all of them were taken.
    ///
    /// # Errors
    /// When an event is longer than the limit.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<ServerEvent>, TooLong> {
        loop {
            if self.after_cr && !bytes.is_empty() {
                self.after_cr = false;
                *bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.take(bytes)?;
                *bytes = &[];
                return Ok(None);
            };
            self.take(&bytes[..end])?;
            self.after_cr = bytes[end] == b'\r';
            *bytes = &bytes[end + 1..];
            if let Some(event) = self.end_of_line() {
                return Ok(Some(event));
            }
        }
    }

    /// The last `id`, to go on with after a lost connection (§9.2.4, `Last-Event-ID`).
    pub fn last_id(&self) -> Option<&str> {
        self.id.as_deref().filter(|id| !id.is_empty())
    }

    /// The last `retry`, in milliseconds.
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    fn take(&mut self, part: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + part.len() + self.data.len() > self.limit {
            return Err(TooLong);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    /// The line is complete; the event, if it was the blank one behind it.
    fn end_of_line(&mut self) -> Option<ServerEvent> {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.at_start) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if line.is_empty() {
            return self.end_of_event();
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        self.field(name, &String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value)));
        // The same buffer for the next line.
        line.clear();
        self.line = line;
        None
    }

    fn field(&mut self, name: &[u8], value: &str) {
        match name {
            b"data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            b"event" => value.clone_into(&mut self.kind),
            b"id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            b"retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().or(self.retry);
            }
            // Comments have an empty name; others are for later versions.
            _ => {}
        }
    }

    fn end_of_event(&mut self) -> Option<ServerEvent> {
        let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        self.has_data = false;
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        (!data.is_empty()).then_some(ServerEvent { kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out when the stream arrives in pieces of this size.
    fn events(stream: &[u8], step: usize) -> (Vec<(String, String)>, EventStream) {
        let mut decoder = EventStream::new(1000);
        let mut found = Vec::new();
        for mut piece in stream.chunks(step) {
            while let Some(event) = decoder.next(&mut piece).unwrap() {
                found.push((event.kind, event.data));
            }
        }
        (found, decoder)
    }

    #[test]
    fn events_come_out_however_their_bytes_arrive() {
        let message = |data: &str| ("message".to_owned(), data.to_owned());
        for (stream, expected) in [
            (b"data: a\n\n".as_slice(), vec![message("a")]),
            (b"data: a\r\n\r\ndata: b\r\n\r\n".as_slice(), vec![message("a"), message("b")]),
            (b"data: a\r\rdata:b\r\r".as_slice(), vec![message("a"), message("b")]),
            (b"\xef\xbb\xbfdata: a\n\n".as_slice(), vec![message("a")]),
            (b"data: a\ndata:\ndata:  b\n\n".as_slice(), vec![message("a\n\n b")]),
            (b": comment\n\nevent: endpoint\ndata: /x\n\n".as_slice(), vec![("endpoint".to_owned(), "/x".to_owned())]),
            (b"event: a\n\ndata: b\n\n".as_slice(), vec![message("b")]),
            (b"data\n\ndata: \n\n".as_slice(), vec![]),
            (b"data: unfinished\n".as_slice(), vec![]),
            (b"nonsense: a\ndata: \xff\n\n".as_slice(), vec![message("\u{fffd}")]),
            ("data: \u{1f600}\n\n".as_bytes(), vec![message("\u{1f600}")]),
        ] {
            for step in 1..=stream.len() {
                assert_eq!(events(stream, step).0, expected, "{stream:?} by {step}");
            }
        }
    }

    #[test]
    fn ids_and_retries_last_and_are_read_without_data_too() {
        let (found, decoder) = events(b"id: 1\ndata:\nretry: 50\n\nid: 2\nretry: soon\ndata: x\n\nid: a\0b\n\n", 3);
        assert_eq!(found.len(), 1);
        assert_eq!((decoder.last_id(), decoder.retry()), (Some("2"), Some(50)));
        let (_, decoder) = events(b"id: 1\n\nid\n\n", 2);
        assert_eq!((decoder.last_id(), decoder.retry()), (None, None));
    }

    #[test]
    fn an_event_has_a_limit_and_a_stream_has_none() {
        let short = b"data: 0123456789\n\n".repeat(1000);
        assert_eq!(events(&short, 7).0.len(), 1000);
        for long in [b"data: 0123456789\n".repeat(200), vec![b'x'; 2000]] {
            let mut decoder = EventStream::new(1000);
            assert_eq!(decoder.next(&mut &long[..]), Err(TooLong));
        }
    }
}
