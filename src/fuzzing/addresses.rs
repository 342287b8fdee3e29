//! Where the gateway lets itself be led.

use super::Input;
use crate::http::{check_url, permits};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::Host;

/// No address that must not be reached is permitted, in whatever spelling and however it is wrapped.
pub(super) fn address(data: &[u8]) {
    let mut input = Input::new(data);
    let allow_private = input.coin();
    let rest = input.rest();
    let v4 = rest.first_chunk().map(|bytes: &[u8; 4]| Ipv4Addr::from(*bytes));
    let v6 = rest.first_chunk().map(|bytes: &[u8; 16]| Ipv6Addr::from(*bytes));
    for address in v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6)) {
        let permitted = permits(address, allow_private).is_ok();
        assert!(!(permitted && is_forbidden(address, allow_private)), "{address} is permitted");
        assert!(permits(address, false).is_err() || permits(address, true).is_ok());
        if let IpAddr::V4(v4) = address {
            assert_eq!(permits(v4.to_ipv6_mapped().into(), allow_private).is_ok(), permitted);
            let [a, b, c, d] = v4.octets().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            for relay in [
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
            ] {
                assert!(permits(relay.into(), false).is_err(), "{relay} carries {v4}");
            }
        }
    }
    let text = String::from_utf8_lossy(rest);
    if let Ok(url) = check_url(&text, allow_private) {
        assert!(url.scheme() == "https" || url.scheme() == "http" && allow_private);
        assert!(url.username().is_empty() && url.password().is_none());
        match url.host().unwrap() {
            Host::Domain(name) => {
                let here = name == "localhost" || name.ends_with(".localhost");
                assert!(url.scheme() == "https" || here);
                assert!(name.parse::<Ipv4Addr>().is_err());
            }
            Host::Ipv4(address) => assert!(!is_forbidden(address.into(), allow_private), "{text}"),
            Host::Ipv6(address) => assert!(!is_forbidden(address.into(), allow_private), "{text}"),
        }
    }
}

/// What the standard library knows to be somewhere else than in the internet.
fn is_forbidden(address: IpAddr, allow_private: bool) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let private = v4.is_private() || v4.is_loopback() || (a == 100 && b & 0xc0 == 64);
            let never = v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast();
            never || a == 0 || a >= 240 || v4.is_documentation() || private && !allow_private
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_forbidden(v4.into(), allow_private),
            None => {
                let private = v6.is_loopback() || v6.is_unique_local();
                // fec0::/10 is site-local.
                let never = v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local();
                never || v6.segments()[0] & 0xffc0 == 0xfec0 || private && !allow_private
            }
        },
    }
}
