//! The authority of an upstream: `host` or `host:port`, in its one canonical spelling.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;

/// The default port of the upstreams' scheme, never spelt out.
const HTTPS: u16 = 443;

/// Below it are the names of upstreams that are programs of ours; it never resolves (RFC 6761 §6.4).
const PROGRAMS: &str = ".stdio.invalid";

/// An upstream's `host[:port]` in canonical form: lower-case ASCII, no `:443`, no trailing dot, IP addresses in
/// dotted decimal. Two equal authorities are one upstream. Clones share the text: every request has some.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority(Arc<str>);

/// Why a text is not the authority of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthority {
    /// Nothing there.
    #[error("the domain is empty")]
    Empty,
    /// More than the 253 octets that DNS allows (RFC 1035 §2.3.4), port not counted.
    #[error("the domain is longer than 253 characters")]
    TooLong,
    /// A character that no host name has.
    #[error("{0:?} cannot be part of a host name: write it as host or host:port, like mcp.atlassian.com")]
    Character(char),
    /// An empty label, a label over 63 octets, or one that begins or ends with a hyphen.
    #[error("a part between the dots is empty, longer than 63 characters, or begins or ends with a hyphen")]
    DnsLabel,
    /// An `xn--` label that is not the encoding of anything (RFC 5891).
    #[error("the internationalized part beginning with \"xn--\" is not valid")]
    Idna,
    /// `127.1`, `0x7f.1`, `2130706433` and the like.
    #[error("write an IPv4 address as four decimal numbers, like 127.0.0.1")]
    NumericHost,
    /// IPv6 literals are not supported.
    #[error("IPv6 addresses cannot be encoded: give the server a name")]
    Ipv6,
    /// The port is not a number from 1 to 65535 without leading zeros.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// `:443` in a text that should have been canonical.
    #[error("port 443 is the default and must be left out")]
    DefaultPort,
    /// `time.stdio.invalid`, which only the gateway itself says.
    #[error(
        "a program that the gateway runs has no domain: its address is https://<alias>.<domain of the gateway>/mcp"
    )]
    Program,
}

impl Authority {
    /// Parses a text that must already be canonical.
    ///
    /// # Errors
    /// When it is not the canonical spelling of a host with an optional port.
    pub fn parse(text: &str) -> Result<Self, InvalidAuthority> {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        if text.starts_with('[') || text.matches(':').count() > 1 {
            return Err(InvalidAuthority::Ipv6);
        }
        check_host(host)?;
        match port.map(parse_port).transpose()? {
            Some(HTTPS) => Err(InvalidAuthority::DefaultPort),
            _ => Ok(Self(text.into())),
        }
    }

    /// Parses what a person types: any letter case, `:443` and Unicode allowed.
    ///
    /// # Errors
    /// When it names no host.
    pub fn from_input(text: &str) -> Result<Self, InvalidAuthority> {
        let text = text.trim();
        let ascii = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            let (host, port) = text.split_once(':').map_or((text, ""), |(host, _)| (host, &text[host.len()..]));
            format!("{}{port}", idna::domain_to_ascii(host).map_err(|_| InvalidAuthority::Idna)?)
        };
        Self::parse(ascii.strip_suffix(":443").unwrap_or(&ascii))
    }

    /// The authority that stands for a program of ours: `<alias>.stdio.invalid`.
    ///
    /// # Errors
    /// When the alias is no DNS label.
    pub fn of_program(alias: &str) -> Result<Self, InvalidAuthority> {
        Self::parse(&format!("{alias}{PROGRAMS}"))
    }

    /// Whether it stands for a program of ours.
    pub fn is_program(&self) -> bool {
        let host = self.host();
        host.ends_with(PROGRAMS) || *host == PROGRAMS[1..]
    }

    /// The same, unless it stands for a program: those have an alias and neither a domain nor an encoded label.
    ///
    /// # Errors
    /// [`InvalidAuthority::Program`]
    pub fn of_network(self) -> Result<Self, InvalidAuthority> {
        if self.is_program() { Err(InvalidAuthority::Program) } else { Ok(self) }
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without the port.
    pub fn host(&self) -> &str {
        self.0.split_once(':').map_or(&*self.0, |(host, _)| host)
    }

    /// The port, 443 when none is written.
    pub fn port(&self) -> u16 {
        self.0.split_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(HTTPS)
    }

    /// The address, when the host is one.
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.host().parse().ok()
    }

    /// Whether this is this very machine: 127.0.0.0/8 or `localhost` (RFC 6761 §6.3).
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.ends_with(".localhost") || self.ipv4().is_some_and(|ip| ip.is_loopback())
    }

    /// `http` for this very machine, `https` for everything else; whether loopback is allowed at all is the address
    /// guard's question.
    pub fn scheme(&self) -> &'static str {
        if self.is_loopback() { "http" } else { "https" }
    }

    /// `https://mcp.atlassian.com`.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.0)
    }
}

fn check_host(host: &str) -> Result<(), InvalidAuthority> {
    if host.is_empty() {
        return Err(InvalidAuthority::Empty);
    }
    if host.len() > 253 {
        return Err(InvalidAuthority::TooLong);
    }
    if let Some(c) = host.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '.')) {
        return Err(InvalidAuthority::Character(c));
    }
    let good = |label: &str| !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-');
    if !host.split('.').all(good) {
        return Err(InvalidAuthority::DnsLabel);
    }
    // Resolvers read a last label that is a number as part of an IPv4 address (WHATWG URL, "ends in a number").
    if host.rsplit('.').next().is_some_and(is_number) && host.parse::<Ipv4Addr>().is_err() {
        return Err(InvalidAuthority::NumericHost);
    }
    if host.split('.').any(|label| label.starts_with("xn--")) {
        let (unicode, valid) = idna::domain_to_unicode(host);
        if valid.is_err() || idna::domain_to_ascii(&unicode).ok().as_deref() != Some(host) {
            return Err(InvalidAuthority::Idna);
        }
    }
    Ok(())
}

fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    hexadecimal || label.bytes().all(|b| b.is_ascii_digit())
}

fn parse_port(text: &str) -> Result<u16, InvalidAuthority> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| canonical).ok_or(InvalidAuthority::Port)
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a person knows an MCP server by: a domain, or the whole URL that its documentation gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAddress {
    /// The server.
    pub authority: Authority,
    /// The path of its MCP endpoint, `/` when none was given. Query and fragment are not kept.
    pub path: String,
}

impl FromStr for UpstreamAddress {
    type Err = InvalidAuthority;

    fn from_str(text: &str) -> Result<Self, InvalidAuthority> {
        let text = text.trim();
        let rest = ["https://", "http://", "wss://", "ws://"]
            .iter()
            .find_map(|scheme| {
                text.get(..scheme.len()).filter(|s| s.eq_ignore_ascii_case(scheme)).map(|s| &text[s.len()..])
            })
            .unwrap_or(text);
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let path = rest[end..].split(['?', '#']).next().unwrap_or_default();
        Ok(Self {
            authority: Authority::from_input(&rest[..end])?,
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_spellings_are_kept() {
        for text in
            ["mcp.atlassian.com", "127.0.0.1:9000", "localhost:1", "a-b.c", "xn--bcher-kva.example", "1.example"]
        {
            assert_eq!(Authority::parse(text).map(|a| a.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        use InvalidAuthority::*;
        for (text, why) in [
            ("", Empty),
            (":80", Empty),
            ("MCP.example", Character('M')),
            ("a_b.example", Character('_')),
            ("user@host", Character('@')),
            ("a\r\nb", Character('\r')),
            ("host/path", Character('/')),
            ("host.", DnsLabel),
            ("a..b", DnsLabel),
            ("-a.b", DnsLabel),
            ("127.1", NumericHost),
            ("2130706433", NumericHost),
            ("0x7f.1", NumericHost),
            ("0x7f000001", NumericHost),
            ("127.0.0.01", NumericHost),
            ("1.2.3.4.5", NumericHost),
            ("[::1]", Ipv6),
            ("::1", Ipv6),
            ("host:443", DefaultPort),
            ("host:0", Port),
            ("host:080", Port),
            ("host:+80", Port),
            ("host:65536", Port),
            ("host:", Port),
            ("xn--a.example", Idna),
        ] {
            assert_eq!(Authority::parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn programs_have_names_of_their_own() {
        let time = Authority::of_program("time").unwrap();
        assert_eq!(time.as_str(), "time.stdio.invalid");
        for text in ["time.stdio.invalid", "stdio.invalid", "a.b.stdio.invalid", "time.stdio.invalid:9000"] {
            let authority = Authority::parse(text).unwrap();
            assert!(authority.is_program(), "{text}");
            assert_eq!(authority.of_network(), Err(InvalidAuthority::Program), "{text}");
        }
        for text in ["stdio.invalid.example", "mystdio.invalid", "time.invalid"] {
            assert!(Authority::parse(text).unwrap().of_network().is_ok(), "{text}");
        }
        assert!(Authority::of_program("a b").is_err());
    }

    #[test]
    fn people_may_type_it_as_they_like() {
        assert_eq!(Authority::from_input(" MCP.Atlassian.com:443 ").unwrap().as_str(), "mcp.atlassian.com");
        assert_eq!(Authority::from_input("bücher.example").unwrap().as_str(), "xn--bcher-kva.example");
        let address: UpstreamAddress = "HTTPS://mcp.example:8443/v1/mcp?x#y".parse().unwrap();
        assert_eq!((address.authority.as_str(), address.path.as_str()), ("mcp.example:8443", "/v1/mcp"));
        assert!("https://u:p@host/".parse::<UpstreamAddress>().is_err());
    }
}
