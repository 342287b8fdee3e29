//! Labels, authorities and hosts.

use super::Input;
use crate::hostname::{
    Account, Authority, HostName, Label, MAX_ENCODED_AUTHORITY, Realm, Scheme, Site, Target, UpstreamAddress,
};
use std::net::Ipv4Addr;
use std::sync::LazyLock;
use url::{Host, Url};

/// A text is no label, or it is the one spelling, letter case aside, of what it stands for.
pub(super) fn label(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(label) = Label::parse(&text) {
        let canonical = label.to_string();
        assert_eq!(canonical, text.to_ascii_lowercase());
        assert!(canonical.len() <= 63);
        assert_eq!(Realm::from_key(&Realm::Mcp(label.clone()).key()), Some(Realm::Mcp(label.clone())));
        let rest = match &label.account {
            Some(account) => canonical.strip_prefix(account.as_str()).unwrap().strip_prefix("--").unwrap(),
            None => &canonical,
        };
        match &label.target {
            Target::Encoded(authority) => {
                let encoded = rest.strip_suffix("-enc").unwrap();
                assert_eq!(base32(encoded.as_bytes()), authority.as_str().as_bytes());
                assert!(authority.as_str().len() <= MAX_ENCODED_AUTHORITY && !authority.is_program());
                assert_eq!(Label::encode(authority).unwrap().with_account(label.account.clone()).unwrap(), label);
            }
            Target::Alias(alias) => assert_eq!(&**alias, rest),
        }
    }
    if let Ok(authority) = Authority::parse(&text) {
        check_authority(&authority, &text);
        match Label::encode(&authority) {
            Ok(label) => assert_eq!(Label::parse(&label.to_string()).unwrap().target, Target::Encoded(authority)),
            Err(_) => assert!(authority.as_str().len() > MAX_ENCODED_AUTHORITY || authority.is_program()),
        }
    }
    if let Ok(authority) = Authority::from_input(&text) {
        assert_eq!(Authority::parse(authority.as_str()).unwrap(), authority);
    }
    if let Ok(address) = text.parse::<UpstreamAddress>() {
        assert_eq!(Authority::parse(address.authority.as_str()).unwrap(), address.authority);
        assert!(address.path.starts_with('/') && !address.path.contains(['?', '#']));
    }
    if let Ok(account) = Account::parse(&text) {
        assert_eq!(account.as_str(), text);
    }
}

/// A URL library that knows nothing of us understands the same host and port.
fn check_authority(authority: &Authority, text: &str) {
    assert_eq!(authority.as_str(), text);
    let url = Url::parse(&format!("https://{text}/")).unwrap_or_else(|why| panic!("{text}: {why}"));
    match url.host().unwrap() {
        Host::Domain(name) => assert_eq!(name, authority.host()),
        Host::Ipv4(address) => assert_eq!(Some(address), authority.ipv4()),
        Host::Ipv6(_) => panic!("an IPv6 address in {text}"),
    }
    assert_eq!(url.port_or_known_default(), Some(authority.port()));
    assert!(url.username().is_empty() && url.path() == "/" && url.query().is_none());
    if authority.scheme() == "http" {
        let here = authority.host().parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
        assert!(here || authority.host() == "localhost" || authority.host().ends_with(".localhost"));
    }
}

/// Base32 as RFC 4648 tells it, bit by bit.
fn base32(text: &[u8]) -> Vec<u8> {
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for byte in text {
        let digit = match byte {
            b'a'..=b'z' => byte - b'a',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => panic!("a character that is not of base32"),
        };
        bits = bits << 5 | u32::from(digit);
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    assert!(count < 5 && bits & ((1 << count) - 1) == 0, "bits that mean nothing");
    out
}

static SITES: LazyLock<[Site; 2]> = LazyLock::new(|| {
    let mut one = Site::new("gw.example", Scheme::Https, 443);
    one.add_own_address(Authority::parse("10.0.0.1:8443").unwrap());
    [one, Site::new("localhost", Scheme::Http, 8080)]
});

/// Whose a host is: the root's, that of one label, or nobody's.
pub(super) fn host(data: &[u8]) {
    let mut input = Input::new(data);
    let site = input.choose(&*SITES);
    let ending = input.pick(&["", ".gw.example", ".localhost", ".gw.example:443", ".localhost:8080", "."]);
    let host = format!("{}{ending}", String::from_utf8_lossy(input.rest()));
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if digits(port) => name,
        _ => &host,
    };
    let lower = name.to_ascii_lowercase();
    match site.classify(&host) {
        HostName::Root => assert_eq!(lower, site.domain()),
        HostName::Mcp(label) => {
            assert_eq!(lower, format!("{label}.{}", site.domain()));
            assert!(!label.to_string().contains('.'));
            // What we say our own name is leads back to the same place.
            let origin = Url::parse(&site.origin_of(&label)).unwrap();
            assert_eq!(site.classify(origin.host_str().unwrap()), HostName::Mcp(label.clone()));
            assert_eq!(site.issuer(&Realm::Mcp(label.clone())), site.origin_of(&label));
        }
        HostName::Loopback => assert!(site.domain() == "localhost" && ["127.0.0.1", "[::1]"].contains(&name)),
        HostName::Foreign => assert_ne!(lower, site.domain()),
    }
    if let Ok(authority) = Authority::from_input(name) {
        let below = authority.host() == site.domain() || authority.host().ends_with(&format!(".{}", site.domain()));
        assert!(!below || site.is_own(&authority), "{authority} leads back into the gateway");
    }
    let path = crate::paths::local_path(&host);
    let here = Url::parse("https://gw.example/a/b").unwrap();
    assert_eq!(here.join(path).unwrap().origin(), here.origin(), "{path:?} leads away");
}
