//! Headers of the PROXY protocol.

// A target that fails says so, and is one list of what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cognitive_complexity)]

use super::announced::{Refused, parse, read};
use crate::fuzzing::Input;
use futures_util::FutureExt;
use std::net::{IpAddr, SocketAddr};

/// A header is read to its end and not a byte further, and means what its own specification says.
pub(crate) fn announced(data: &[u8]) {
    let mut input = Input::new(data);
    let bytes = match input.below(3) {
        0 => input.rest().to_vec(),
        1 => [b"PROXY ", input.rest()].concat(),
        _ => [b"\r\n\r\n\0\r\nQUIT\n", input.rest()].concat(),
    };
    let mut stream = &bytes[..];
    // A slice never lets anybody wait.
    let header = match read(&mut stream).now_or_never().unwrap() {
        Ok(header) => header,
        Err(refused) => return assert!(matches!(refused, Refused::Malformed | Refused::Lost(_))),
    };
    assert_eq!([&header[..], stream].concat(), bytes);
    let parsed = parse(&header);
    if header.starts_with(b"PROXY ") {
        assert!(header.len() <= 107 && header.ends_with(b"\r\n"));
        // What follows `UNKNOWN` means nothing, and need not be taken.
        let unknown = header.starts_with(b"PROXY UNKNOWN");
        let expected = if unknown { Some(None) } else { version_1(&String::from_utf8_lossy(&header)) };
        assert!(parsed.as_ref().ok() == expected.as_ref() || unknown && parsed.is_err(), "{}", header.escape_ascii());
        return;
    }
    let (command, family) = (header[12], header[13]);
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    assert_eq!(header.len(), 16 + length);
    match parsed {
        Ok(None) => assert!(command == 0x20 || command == 0x21 && matches!(family >> 4, 0 | 3)),
        Ok(Some(source)) => {
            assert_eq!(command, 0x21);
            let expected: IpAddr = match family >> 4 {
                1 => <[u8; 4]>::try_from(&header[16..20]).unwrap().into(),
                2 => <[u8; 16]>::try_from(&header[16..32]).unwrap().into(),
                family => panic!("an address of the family {family}"),
            };
            assert_eq!(source.ip(), expected);
        }
        Err(_) => {}
    }
}

/// `None`: refused; `Some(None)`: whoever sent it.
fn version_1(line: &str) -> Option<Option<SocketAddr>> {
    let line = line.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    let fields: Vec<&str> = line.split(' ').collect();
    match fields[..] {
        [family @ ("TCP4" | "TCP6"), source, destination, port, other] => {
            let (source, destination): (IpAddr, IpAddr) = (source.parse().ok()?, destination.parse().ok()?);
            let fits = |address: &IpAddr| address.is_ipv4() == (family == "TCP4");
            let _: u16 = other.parse().ok()?;
            (fits(&source) && fits(&destination)).then_some(Some(SocketAddr::new(source, port.parse().ok()?)))
        }
        _ => None,
    }
}
