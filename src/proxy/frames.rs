//! Where a WebSocket connection is between two frames (RFC 6455 §5.2): the only place where one of our own fits.

/// Follows the frames of one direction without looking into them.
#[derive(Debug, Default)]
pub(super) struct FrameTracker {
    header: [u8; 14],
    have: usize,
    payload_left: u64,
}

impl FrameTracker {
    /// Whether everything seen so far ends with a complete frame.
    pub(super) fn at_boundary(&self) -> bool {
        self.have == 0 && self.payload_left == 0
    }

    /// Takes the next bytes of the stream.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let skip = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
                self.payload_left -= skip as u64;
                bytes = &bytes[skip..];
                continue;
            }
            self.header[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if self.have >= 2 && self.have == self.header_length() {
                self.payload_left = self.payload_length();
                self.have = 0;
            }
        }
    }

    fn header_length(&self) -> usize {
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + extended + mask
    }

    fn payload_length(&self) -> u64 {
        let big_endian = |bytes: &[u8]| bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        match self.header[1] & 0x7f {
            126 => big_endian(&self.header[2..4]),
            127 => big_endian(&self.header[2..10]),
            short => u64::from(short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame as an endpoint would write it.
    fn frame(payload: &[u8], masked: bool) -> Vec<u8> {
        let bit = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match payload.len() {
            short @ 0..=125 => frame.push(bit | u8::try_from(short).unwrap()),
            medium @ 126..=0xffff => {
                frame.push(bit | 126);
                frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
            }
            long => {
                frame.push(bit | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.extend(payload);
        frame
    }

    proptest! {
        #[test]
        fn boundaries_are_exactly_between_frames(
            payloads in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 1..6),
            step in 1usize..40,
        ) {
            let mut stream = Vec::new();
            let mut boundaries = vec![0];
            for (payload, masked) in &payloads {
                stream.extend(frame(payload, *masked));
                boundaries.push(stream.len());
            }
            let mut tracker = FrameTracker::default();
            let mut seen = 0;
            for chunk in stream.chunks(step) {
                tracker.feed(chunk);
                seen += chunk.len();
                prop_assert_eq!(tracker.at_boundary(), boundaries.contains(&seen));
            }
        }
    }

    #[test]
    fn a_frame_of_70_kib_is_one_frame() {
        let mut tracker = FrameTracker::default();
        tracker.feed(&frame(&vec![0; 70_000], true));
        assert!(tracker.at_boundary());
    }

    #[test]
    fn a_length_that_no_peer_can_mean_does_not_overflow() {
        let mut tracker = FrameTracker::default();
        tracker.feed(&[0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        tracker.feed(&[0; 100]);
        assert!(!tracker.at_boundary());
    }
}
