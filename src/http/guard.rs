//! Which addresses may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address that must never be connected to from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address is private, local or reserved; set allow_private for this upstream if that is wanted")]
pub struct Forbidden;

/// Whether an address may be connected to: with `allow_private` private and loopback ones too, but never link-local
/// (cloud metadata), unspecified, multicast or reserved ones. IPv4-mapped addresses are judged as the IPv4 address that
/// they reach; the forms that carry an IPv4 address to a translator or relay (6to4, NAT64, Teredo) are refused.
///
/// # Errors
/// [`Forbidden`].
pub fn permits(address: IpAddr, allow_private: bool) -> Result<(), Forbidden> {
    let permitted = match address {
        IpAddr::V4(v4) => judge_v4(v4, allow_private),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => judge_v4(v4, allow_private),
            None => judge_v6(v6, allow_private),
        },
    };
    if permitted { Ok(()) } else { Err(Forbidden) }
}

/// A network address and the length of its prefix in bits.
type V4 = (Ipv4Addr, u32);
type V6 = (Ipv6Addr, u32);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u32) -> V4 {
    (Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, d: u16, prefix: u32) -> V6 {
    (Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

/// Never, whatever the configuration says (IANA IPv4 Special-Purpose Address Registry, RFC 6890).
const NEVER_V4: [V4; 12] = [
    v4(0, 0, 0, 0, 8),          // this network
    v4(169, 254, 0, 0, 16),     // link-local: cloud metadata
    v4(192, 0, 0, 0, 24),       // IETF protocol assignments: Oracle's metadata
    v4(192, 0, 2, 0, 24),       // documentation
    v4(198, 51, 100, 0, 24),    // documentation
    v4(203, 0, 113, 0, 24),     // documentation
    v4(192, 88, 99, 0, 24),     // 6to4 relays
    v4(198, 18, 0, 0, 15),      // benchmarking
    v4(224, 0, 0, 0, 4),        // multicast
    v4(240, 0, 0, 0, 4),        // reserved, broadcast
    v4(100, 100, 100, 200, 32), // Alibaba's metadata, in the carrier-grade range
    v4(168, 63, 129, 16, 32),   // Azure's wire server
];

const PRIVATE_V4: [V4; 5] = [
    v4(10, 0, 0, 0, 8),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
    v4(127, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10), // carrier-grade NAT, RFC 6598
];

/// What is given out for global unicast; everything outside is refused unless it is private.
const GLOBAL_V6: V6 = v6(0x2000, 0, 0, 0, 3);

/// Parts of the global range that are not global (IANA IPv6 Special-Purpose Address Registry).
const NEVER_V6: [V6; 4] = [
    v6(0x2001, 0, 0, 0, 23),     // Teredo, benchmarking, ORCHID
    v6(0x2001, 0xdb8, 0, 0, 32), // documentation
    v6(0x2002, 0, 0, 0, 16),     // 6to4
    v6(0x3fff, 0, 0, 0, 20),     // documentation
];

/// Cloud metadata inside the private range: Amazon's and Google's.
const METADATA_V6: [V6; 2] = [
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128),
];

/// Unique local addresses, RFC 4193.
const PRIVATE_V6: V6 = v6(0xfc00, 0, 0, 0, 7);

fn judge_v4(address: Ipv4Addr, allow_private: bool) -> bool {
    let among = |networks: &[V4]| {
        networks.iter().any(|(network, prefix)| (address.to_bits() ^ network.to_bits()) >> (32 - prefix) == 0)
    };
    !among(&NEVER_V4) && (allow_private || !among(&PRIVATE_V4))
}

fn judge_v6(address: Ipv6Addr, allow_private: bool) -> bool {
    let among = |networks: &[V6]| {
        networks.iter().any(|(network, prefix)| (address.to_bits() ^ network.to_bits()) >> (128 - prefix) == 0)
    };
    if address.is_loopback() || among(&[PRIVATE_V6]) {
        return allow_private && !among(&METADATA_V6);
    }
    among(&[GLOBAL_V6]) && !among(&NEVER_V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Security cases A 39 and C "SSRF".
    #[test]
    fn a39_never_reached_whatever_is_configured() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.0.1",
            "169.254.169.254",
            "169.254.255.255",
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.255",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "::",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "::ffff:255.255.255.255",
            "::127.0.0.1",
            "::8.8.8.8",
            "::2",
            "::ffff:0:7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "64:ff9b:1:ffff::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2002::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fe80::1",
            "fe80::1ff:fe23:4567:890a",
            "febf::1",
            "fec0::1",
            "feff::1",
            "ff02::1",
            "ff0e::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "4000::1",
            "1::1",
            "fe00::1",
        ] {
            let parsed = address.parse().unwrap();
            assert_eq!(permits(parsed, true), Err(Forbidden), "{address}");
            assert_eq!(permits(parsed, false), Err(Forbidden), "{address}");
        }
    }

    #[test]
    fn private_ones_only_when_they_are_allowed() {
        for address in [
            "127.0.0.1",
            "127.255.255.255",
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "192.168.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "fc00::1",
            "fd12:3456:789a::1",
        ] {
            let parsed = address.parse().unwrap();
            assert_eq!(permits(parsed, false), Err(Forbidden), "{address}");
            assert_eq!(permits(parsed, true), Ok(()), "{address}");
        }
    }

    #[test]
    fn the_public_internet_is_reached() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.0.1",
            "192.169.0.1",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "2001:4860:4860::8888",
            "2001:200::1",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
        ] {
            assert_eq!(permits(address.parse().unwrap(), false), Ok(()), "{address}");
        }
    }
}
