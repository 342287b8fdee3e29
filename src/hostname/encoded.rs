//! What `portcullis encode --json` and `/encode` tell about an upstream's address (DESIGN 1.3).

use super::authority::{Authority, UpstreamAddress};
use super::label::Label;
use super::site::Site;
use serde::Serialize;

/// The path of the MCP endpoint when nobody says otherwise.
const USUAL_PATH: &str = "/mcp";
/// A suggested alias is short enough to be typed, and to leave room for an account before it.
const MAX_SUGGESTED_ALIAS: usize = 40;

/// An upstream's address and what it becomes here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Encoded {
    /// The canonical authority.
    pub domain: String,
    /// Its label; none when it does not fit into a DNS label.
    pub label: Option<String>,
    /// The MCP hostname, when the gateway's names are known.
    pub hostname: Option<String>,
    /// What to give to a client.
    pub url: Option<String>,
    /// A readable label: the one in use, or a suggestion for a domain that does not fit.
    pub alias: Option<String>,
}

impl Encoded {
    /// Encodes an address; without a site only the label is known. The address of a bare domain gets the path that is known to
    /// be usual there, if any.
    pub fn new(address: &UpstreamAddress, known_path: Option<&str>, site: Option<&Site>) -> Self {
        let domain = address.authority.to_string();
        match Label::encode(&address.authority) {
            Ok(label) => Self { domain, alias: None, ..Self::reached_by(&label, path_of(address, known_path), site) },
            Err(_) => {
                let alias = Some(suggest_alias(&address.authority));
                Self { domain, label: None, hostname: None, url: None, alias }
            }
        }
    }

    /// The same for an upstream that has an alias: it takes the place of a label that does not fit.
    #[must_use]
    pub fn with_alias(
        self,
        alias: &Label,
        (address, known_path): (&UpstreamAddress, Option<&str>),
        site: &Site,
    ) -> Self {
        let path = path_of(address, known_path);
        let base = if self.label.is_some() { self.clone() } else { Self::reached_by(alias, path, Some(site)) };
        Self { domain: self.domain, alias: Some(alias.to_string()), ..base }
    }

    /// Under this very label: that of an account, or an alias.
    pub fn at(label: &Label, (address, known_path): (&UpstreamAddress, Option<&str>), site: &Site) -> Self {
        let domain = address.authority.to_string();
        Self { domain, ..Self::reached_by(label, path_of(address, known_path), Some(site)) }
    }

    fn reached_by(label: &Label, path: &str, site: Option<&Site>) -> Self {
        Self {
            domain: String::new(),
            label: Some(label.to_string()),
            hostname: site.map(|site| format!("{label}.{}", site.domain())),
            url: site.map(|site| format!("{}{path}", site.origin_of(label))),
            alias: None,
        }
    }
}

fn path_of<'a>(address: &'a UpstreamAddress, known: Option<&'a str>) -> &'a str {
    if address.path == "/" { known.unwrap_or(USUAL_PATH) } else { &address.path }
}

/// A short name for an upstream: `atlassian` for `mcp.atlassian.com`. A name and an alias for people to change.
pub fn short_name(authority: &Authority) -> &str {
    if authority.ipv4().is_some() {
        return "local";
    }
    let host = authority.host();
    let mut labels: Vec<&str> = host.split('.').collect();
    if labels.len() > 1 {
        labels.pop();
    }
    let telling = |label: &&&str| !["mcp", "www", "api", "co", "com"].contains(*label);
    labels.iter().rfind(telling).or(labels.last()).copied().unwrap_or(host)
}

/// [`short_name`] made fit for an alias: single hyphens, and nothing that looks encoded.
fn suggest_alias(authority: &Authority) -> String {
    let short = short_name(authority);
    let cut = &short[..short.len().min(MAX_SUGGESTED_ALIAS)];
    let words: Vec<&str> = cut.split('-').filter(|word| !word.is_empty()).collect();
    let alias = words.join("-");
    if alias.ends_with("-enc") { format!("{alias}-mcp") } else { alias }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostname::Scheme;

    fn address(text: &str) -> UpstreamAddress {
        text.parse().unwrap()
    }

    #[test]
    fn the_whole_answer() {
        let site = Site::new("gw.example", Scheme::Https, 443);
        let encoded = Encoded::new(&address("https://mcp.atlassian.com/v1/mcp"), Some("/v2/mcp"), Some(&site));
        assert_eq!(
            serde_json::to_string(&encoded).unwrap(),
            "{\"domain\":\"mcp.atlassian.com\",\"label\":\"nvrxaltborwgc43tnfqw4ltdn5wq-enc\",\
             \"hostname\":\"nvrxaltborwgc43tnfqw4ltdn5wq-enc.gw.example\",\
             \"url\":\"https://nvrxaltborwgc43tnfqw4ltdn5wq-enc.gw.example/v1/mcp\",\"alias\":null}"
        );
        assert_eq!(Encoded::new(&address("mcp.atlassian.com"), None, None).url, None);
        let bare = Encoded::new(&address("mcp.atlassian.com"), None, Some(&site));
        assert_eq!(bare.url.as_deref(), Some("https://nvrxaltborwgc43tnfqw4ltdn5wq-enc.gw.example/mcp"));
        for known in ["/v2/mcp", "/"] {
            let url = Encoded::new(&address("mcp.atlassian.com"), Some(known), Some(&site)).url.unwrap();
            assert_eq!(url, format!("https://nvrxaltborwgc43tnfqw4ltdn5wq-enc.gw.example{known}"));
        }
    }

    #[test]
    fn a_long_domain_gets_a_suggestion_and_then_its_alias() {
        let site = Site::new("gw.example", Scheme::Https, 443);
        let address = address("mcp.a-department-with-a-very-long-name.example.com");
        let encoded = Encoded::new(&address, None, Some(&site));
        assert_eq!((encoded.label.as_deref(), encoded.alias.as_deref()), (None, Some("example")));
        let named = encoded.with_alias(&Label::parse("wiki").unwrap(), (&address, None), &site);
        assert_eq!(named.url.as_deref(), Some("https://wiki.gw.example/mcp"));
        assert_eq!(named.domain, address.authority.as_str());
    }

    #[test]
    fn short_names_tell_servers_apart() {
        for (domain, name) in [
            ("mcp.atlassian.com", "atlassian"),
            ("mcp.linear.app", "linear"),
            ("api.githubcopilot.com", "githubcopilot"),
            ("example.co.uk", "example"),
            ("localhost:9000", "localhost"),
            ("127.0.0.1:9000", "local"),
            ("mcp.com", "mcp"),
        ] {
            assert_eq!(short_name(&Authority::parse(domain).unwrap()), name, "{domain}");
        }
        let odd = Authority::parse(&format!("{}--b-enc.example", "a".repeat(20))).unwrap();
        assert!(Label::parse(&suggest_alias(&odd)).is_ok());
    }
}
