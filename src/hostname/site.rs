//! The gateway's own names: the root domain, the MCP hostnames below it, and the issuer of each.

use super::authority::Authority;
use super::label::Label;
use std::fmt;

/// How people reach the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Development on one's own machine.
    Http,
    /// Everything else.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// One of our issuers: every MCP hostname is one, and so is the root domain (DESIGN 1.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Realm {
    /// The root domain.
    Root,
    /// The hostname of an upstream.
    Mcp(Label),
}

impl Realm {
    /// The text that the store knows the realm by: the label, or nothing for the root.
    pub fn key(&self) -> String {
        match self {
            Realm::Root => String::new(),
            Realm::Mcp(label) => label.to_string(),
        }
    }

    /// The realm of a [`Realm::key`]; `None` for a text that is none.
    pub fn from_key(key: &str) -> Option<Self> {
        if key.is_empty() { Some(Realm::Root) } else { Label::parse(key).ok().map(Realm::Mcp) }
    }
}

impl fmt::Display for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Realm::Root => f.write_str("the root domain"),
            Realm::Mcp(label) => label.fmt(f),
        }
    }
}

/// Whose a request is, by its `Host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostName {
    /// The root domain: people, the dashboard, the root issuer.
    Root,
    /// An MCP hostname with a well-formed label.
    Mcp(Label),
    /// A literal loopback address while the gateway lives on `localhost`: a person to be sent to the right name.
    Loopback,
    /// Anything else.
    Foreign,
}

/// The names under which this gateway is reached.
#[derive(Clone, Debug)]
pub struct Site {
    domain: String,
    scheme: Scheme,
    /// Written out only when it is not the scheme's own.
    port: Option<u16>,
    /// What the upstream of a request must never be.
    own: Vec<Authority>,
}

impl Site {
    /// `domain` is a lower-case host name without port; `port` is the one people use.
    pub fn new(domain: &str, scheme: Scheme, port: u16) -> Self {
        let port = (port != scheme.default_port()).then_some(port);
        Self { domain: domain.to_ascii_lowercase(), scheme, port, own: Vec::new() }
    }

    /// Declares an address that the gateway itself listens on, so that no label can lead back into it.
    pub fn add_own_address(&mut self, authority: Authority) {
        self.own.push(authority);
    }

    /// The root domain, without port.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// How people reach the gateway.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// `https://gw.example`, without a slash at the end.
    pub fn root_origin(&self) -> String {
        self.origin_of_host(&self.domain)
    }

    /// `https://<label>.gw.example`, without a slash at the end.
    pub fn origin_of(&self, label: &Label) -> String {
        self.origin_of_host(&format!("{label}.{}", self.domain))
    }

    /// The issuer identifier (RFC 8414 §2) of a realm: its origin.
    pub fn issuer(&self, realm: &Realm) -> String {
        match realm {
            Realm::Root => self.root_origin(),
            Realm::Mcp(label) => self.origin_of(label),
        }
    }

    /// Whether an upstream would be this gateway itself.
    pub fn is_own(&self, authority: &Authority) -> bool {
        self.own.contains(authority) || is_or_below(authority.host(), &self.domain)
    }

    /// Classifies the value of a `Host` header (or `:authority`), port and letter case aside.
    pub fn classify(&self, host: &str) -> HostName {
        let name = host
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            .map_or(host, |(name, _)| name);
        if name.eq_ignore_ascii_case(&self.domain) {
            return HostName::Root;
        }
        if self.domain == "localhost" && (name == "127.0.0.1" || name == "[::1]") {
            return HostName::Loopback;
        }
        let label = strip_suffix_ignore_case(name, &self.domain).and_then(|rest| rest.strip_suffix('.'));
        match label.map(Label::parse) {
            Some(Ok(label)) => HostName::Mcp(label),
            _ => HostName::Foreign,
        }
    }

    fn origin_of_host(&self, host: &str) -> String {
        let scheme = self.scheme.as_str();
        match self.port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }
}

fn is_or_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn strip_suffix_ignore_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let cut = text.len().checked_sub(suffix.len())?;
    text.is_char_boundary(cut)
        .then(|| text.split_at(cut))
        .filter(|(_, end)| end.eq_ignore_ascii_case(suffix))
        .map(|(rest, _)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site::new("gw.example", Scheme::Https, 443)
    }

    #[test]
    fn hosts_are_told_apart() {
        let label = Label::parse("nvrxaltborwgc43tnfqw4ltdn5wq-enc").unwrap();
        assert_eq!(site().classify("GW.example:443"), HostName::Root);
        assert_eq!(site().classify(&format!("{label}.gw.example")), HostName::Mcp(label.clone()));
        assert_eq!(site().classify(&format!("{label}.GW.EXAMPLE:8443")), HostName::Mcp(label));
        for foreign in [
            "evil.example",
            "gw.example.evil",
            "a.b.gw.example",
            "xgw.example",
            "",
            ".gw.example",
            "gw.example.",
            "127.0.0.1",
        ] {
            assert_eq!(site().classify(foreign), HostName::Foreign, "{foreign}");
        }
    }

    #[test]
    fn the_port_is_written_only_when_it_is_not_the_scheme_s_own() {
        assert_eq!(site().root_origin(), "https://gw.example");
        let dev = Site::new("localhost", Scheme::Http, 8080);
        assert_eq!(dev.root_origin(), "http://localhost:8080");
        assert_eq!(dev.origin_of(&Label::parse("notes").unwrap()), "http://notes.localhost:8080");
        assert_eq!(dev.classify("127.0.0.1:8080"), HostName::Loopback);
    }

    #[test]
    fn no_label_leads_back_to_the_gateway() {
        let mut site = site();
        site.add_own_address(Authority::parse("127.0.0.1:8080").unwrap());
        for own in ["gw.example", "gw.example:8443", "x.gw.example", "127.0.0.1:8080"] {
            assert!(site.is_own(&Authority::parse(own).unwrap()), "{own}");
        }
        assert!(!site.is_own(&Authority::parse("notgw.example").unwrap()));
    }
}
