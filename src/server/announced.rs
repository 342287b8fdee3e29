//! The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): a load balancer that passes TCP through says
//! with the first bytes of a connection whose it is.

use ipnet::IpNet;
use proxy_header::{ParseConfig, ProxyHeader};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The header comes before anything else, in one segment; the specification asks for patience of at least 3 s.
const DEADLINE: Duration = Duration::from_secs(5);
const VERSION_1: &[u8] = b"PROXY ";
/// The longest header of version 1, CRLF included.
const VERSION_1_MAX: usize = 107;
const VERSION_2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 2 that is read; the addresses take 232 bytes at most, the rest are TLVs that nobody
/// here asks for. A certificate of a client fits.
const VERSION_2_MAX: usize = 8 * 1024;
/// Version 2, command LOCAL: the load balancer itself, asking how we are.
const LOCAL: u8 = 0x20;

/// Takes the header of connections from these networks; others are none of a load balancer's, and refused, since the
/// specification forbids to guess.
pub(super) struct ProxyProtocol {
    trusted: Vec<IpNet>,
}

/// Why a connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The peer must not announce anything.
    #[error("{0} is not among server.trusted_proxies, and server.proxy_protocol is on")]
    Stranger(IpAddr),
    /// Not a header of either version.
    #[error("the connection does not begin with a PROXY header")]
    Malformed,
    /// Not in time.
    #[error("no PROXY header came in time")]
    Late,
    /// The connection broke.
    #[error("the connection ended in its PROXY header: {0}")]
    Lost(#[from] io::Error),
}

impl ProxyProtocol {
    /// From these networks.
    pub(super) fn new(trusted: &[IpNet]) -> Self {
        Self { trusted: trusted.to_vec() }
    }

    /// Reads the header of a connection from `peer`, and nothing after it: whose connection it is. That is the load
    /// balancer itself where it speaks for itself (LOCAL) or does not know (UNKNOWN, a Unix socket).
    ///
    /// # Errors
    /// When the connection must be closed.
    pub(super) async fn receive<S>(&self, stream: &mut S, peer: SocketAddr) -> Result<SocketAddr, Refused>
    where
        S: AsyncRead + Unpin + ?Sized,
    {
        let address = peer.ip().to_canonical();
        if !self.trusted.iter().any(|network| network.contains(&address)) {
            return Err(Refused::Stranger(address));
        }
        let header = tokio::time::timeout(DEADLINE, read(stream)).await.map_err(|_| Refused::Late)??;
        Ok(parse(&header)?.unwrap_or(peer))
    }
}

/// The bytes of one header. What follows stays in the stream: version 1 is read byte by byte, its end is not announced.
pub(super) async fn read<S: AsyncRead + Unpin + ?Sized>(stream: &mut S) -> Result<Vec<u8>, Refused> {
    // Both versions are longer than the signature of version 2.
    let mut header = vec![0; VERSION_2.len()];
    stream.read_exact(&mut header).await?;
    if header == VERSION_2 {
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await?;
        header.extend_from_slice(&rest);
        let begin = header.len();
        let length = begin + usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if length > VERSION_2_MAX {
            return Err(Refused::Malformed);
        }
        header.resize(length, 0);
        stream.read_exact(header.get_mut(begin..).unwrap_or_default()).await?;
        return Ok(header);
    }
    if !header.starts_with(VERSION_1) {
        return Err(Refused::Malformed);
    }
    while !header.ends_with(b"\r\n") {
        if header.len() == VERSION_1_MAX {
            return Err(Refused::Malformed);
        }
        header.push(stream.read_u8().await?);
    }
    Ok(header)
}

/// Whose connection a whole header says it is; `None`: the one who sent it.
pub(super) fn parse(header: &[u8]) -> Result<Option<SocketAddr>, Refused> {
    // The family of LOCAL means nothing and may be any.
    if header.starts_with(VERSION_2) && header.get(VERSION_2.len()) == Some(&LOCAL) {
        return Ok(None);
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(header, config) {
        Ok((parsed, length)) if length == header.len() => Ok(parsed.proxied_address().map(|address| address.source)),
        _ => Err(Refused::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    async fn header(bytes: &[u8]) -> Result<(Option<SocketAddr>, Vec<u8>), Refused> {
        let mut stream = bytes;
        let source = parse(&read(&mut stream).await?)?;
        Ok((source, stream.to_vec()))
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [VERSION_2, &[command, family][..], &length, rest].concat()
    }

    #[tokio::test]
    async fn both_versions_say_whose_connection_it_is_and_take_no_byte_more() {
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 12], &[0xfe; 16], &[0, 80, 1, 187]].concat();
        let tlv = [&[203, 0, 113, 9, 10, 0, 0, 1, 0x30, 0x39, 1, 187][..], &[4, 0, 2, 0, 0]].concat();
        for (bytes, source) in [
            (b"PROXY TCP4 203.0.113.9 10.0.0.1 12345 443\r\n".to_vec(), Some("203.0.113.9:12345")),
            (b"PROXY TCP6 2001:db8::9 ::1 12345 443\r\n".to_vec(), Some("[2001:db8::9]:12345")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".to_vec(), None),
            (version_2(0x21, 0x11, &tlv[..12]), Some("203.0.113.9:12345")),
            (version_2(0x21, 0x11, &tlv), Some("203.0.113.9:12345")),
            (version_2(0x21, 0x21, &v6), Some("[2001:db8::]:80")),
            (version_2(0x21, 0x31, &[b'/'; 216]), None),
            (version_2(0x21, 0x00, &[]), None),
            (version_2(0x20, 0x00, &[]), None),
            (version_2(0x20, 0x11, &[]), None),
            (version_2(0x20, 0xff, &[1, 2, 3]), None),
        ] {
            let (found, rest) = header(&[&bytes[..], b"GET /"].concat()).await.unwrap();
            assert_eq!((found, &rest[..]), (source.map(|text| text.parse().unwrap()), &b"GET /"[..]), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn what_is_not_a_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(VERSION_1_MAX));
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a client hello",
            b"PROXY\tTCP4 203.0.113.9 10.0.0.1 12345 443\r\n",
            b"PROXY TCP4 203.0.113.9 10.0.0.1 12345\r\n",
            b"PROXY TCP4 203.0.113.9 10.0.0.1 12345 443 1\r\n",
            b"PROXY TCP4 203.0.113.9 10.0.0.1 123456 443\r\n",
            b"PROXY TCP4 2001:db8::9 ::1 12345 443\r\n",
            b"PROXY TCP6 203.0.113.9 10.0.0.1 12345 443\r\n",
            b"PROXY TCP4 localhost 10.0.0.1 12345 443\r\n",
            b"PROXY UDP4 203.0.113.9 10.0.0.1 12345 443\r\n",
            b"PROXY TCP4 203.0.113.9 10.0.0.1 12345 443\nGET / HTTP/1.1\r\n",
            b"proxy TCP4 203.0.113.9 10.0.0.1 12345 443\r\n",
            long.as_bytes(),
            &version_2(0x21, 0x11, &[1; 11]),
            &version_2(0x21, 0x21, &[1; 35]),
            &version_2(0x21, 0x31, &[1; 215]),
            &version_2(0x21, 0x41, &[1; 12]),
            &version_2(0x22, 0x11, &[1; 12]),
            &version_2(0x11, 0x11, &[1; 12]),
            &version_2(0x21, 0x11, &[1; VERSION_2_MAX]),
        ] {
            let outcome = header(bytes).await;
            assert!(matches!(outcome, Err(Refused::Malformed)), "{:?}: {outcome:?}", String::from_utf8_lossy(bytes));
        }
        for bytes in [&b""[..], b"PROXY UNKNOWN", &version_2(0x21, 0x11, &[1; 12])[..20]] {
            assert!(matches!(header(bytes).await, Err(Refused::Lost(_))), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_none_are_lost(
            start in prop_oneof![
                Just(Vec::new()),
                Just(VERSION_1.to_vec()),
                Just(b"PROXY TCP4 ".to_vec()),
                Just(VERSION_2.to_vec()),
                (0u8..3, 0u8..0x33, 0u8..64).prop_map(|(command, family, length)| {
                    [&VERSION_2[..], &[0x20 + command, family, 0, length]].concat()
                }),
            ],
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [start, rest].concat();
            let mut stream = &bytes[..];
            let read = futures_util::FutureExt::now_or_never(read(&mut stream)).unwrap();
            if let Ok(header) = read {
                prop_assert_eq!([&header[..], stream].concat(), bytes);
                let _ = parse(&header);
            }
        }

        #[test]
        fn every_announced_address_is_understood(source: SocketAddr, destination: SocketAddr) {
            let destination = match source {
                SocketAddr::V4(_) => SocketAddr::from(([10, 0, 0, 1], destination.port())),
                SocketAddr::V6(_) => SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1], destination.port())),
            };
            let (source, bare) = (source, SocketAddr::new(source.ip(), source.port()));
            let family = if source.is_ipv4() { 4 } else { 6 };
            let (from, to) = (source.ip(), destination.ip());
            let text = format!("PROXY TCP{family} {from} {to} {} {}\r\n", source.port(), destination.port());
            prop_assert_eq!(parse(text.as_bytes()).unwrap(), Some(bare));
        }
    }
}
