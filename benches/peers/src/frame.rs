//! Frames of WebSocket connections (RFC 6455, section 5).

pub const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// The frame that `bytes` begin with and how long it is, once it is complete.
pub fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (length, mut at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        mask.copy_from_slice(bytes.get(at..at + 4)?);
        at += 4;
    }
    let mut payload = bytes.get(at..at + length)?.to_vec();
    if mask != [0; 4] {
        payload.iter_mut().enumerate().for_each(|(index, byte)| *byte ^= mask[index % 4]);
    }
    Some((Frame { opcode: first & 0x0f, payload }, at + length))
}

/// Appends a whole message. Clients mask, servers do not.
pub fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.push(0x80 | opcode);
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => out.push(masked | length as u8),
        Ok(length) => {
            out.push(masked | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(masked | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    match mask {
        Some(mask) => {
            out.extend_from_slice(&mask);
            out.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
        }
        None => out.extend_from_slice(payload),
    }
}

#[cfg(test)]
mod tests {
    use super::{TEXT, parse, write};

    #[test]
    fn a_message_of_any_length_comes_back() {
        for length in [0, 1, 125, 126, 300, 65_535, 65_536] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let payload = vec![b'x'; length];
                let mut bytes = Vec::new();
                write(&mut bytes, TEXT, &payload, mask);
                assert!(parse(&bytes[..bytes.len() - 1]).is_none(), "an incomplete frame of {length}");
                bytes.push(0x81);
                let parsed = parse(&bytes).map(|(frame, end)| (frame.opcode, frame.payload, end));
                assert_eq!(parsed, Some((TEXT, payload, bytes.len() - 1)), "{length}");
            }
        }
    }
}
