//! What `portcullis encode --json` prints and `/encode` answers.

use super::{InvalidLabel, Label, Site, UpstreamAddress};
use serde::Serialize;

/// An upstream's address and the hostname that leads to it through this gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Encoded {
    /// Canonical text of the authority.
    pub domain: String,
    /// The label; `None` when the domain is too long and needs an alias.
    pub label: Option<String>,
    /// The MCP hostname without port; `None` without label or gateway.
    pub hostname: Option<String>,
    /// Where a client is pointed; `None` without label or gateway.
    pub url: Option<String>,
    /// An alias that would do, when one is needed.
    pub alias: Option<String>,
}

impl Encoded {
    /// Encodes an address, for a gateway if one is given.
    pub fn new(address: &UpstreamAddress, site: Option<&Site>) -> Self {
        let domain = address.authority.to_string();
        match Label::encode(&address.authority) {
            Ok(label) => Self {
                domain,
                hostname: site.map(|site| format!("{label}.{}", site.domain())),
                url: site.map(|site| format!("{}{}", site.origin_of(&label), address.path)),
                label: Some(label.to_string()),
                alias: None,
            },
            Err(_) => Self {
                alias: Some(suggestion(address.authority.host())),
                domain,
                label: None,
                hostname: None,
                url: None,
            },
        }
    }

    /// The label, or why there is none.
    ///
    /// # Errors
    /// [`InvalidLabel::NeedsAlias`].
    pub fn label(&self) -> Result<&str, InvalidLabel> {
        self.label.as_deref().ok_or(InvalidLabel::NeedsAlias)
    }
}

/// The first part of the name that says something.
fn suggestion(host: &str) -> String {
    let usual = ["mcp", "www", "api", "app"];
    let fits = |part: &&str| !usual.contains(part) && Label::parse(part).is_ok_and(|label| label.to_string() == **part);
    host.split('.').find(fits).unwrap_or("upstream").to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Scheme;
    use super::*;

    #[test]
    fn a_short_domain_has_a_label_and_with_a_gateway_a_url() {
        let address: UpstreamAddress = "https://mcp.atlassian.com/v1/mcp".parse().unwrap();
        let alone = Encoded::new(&address, None);
        assert_eq!(alone.label(), Ok("nvrxaltborwgc43tnfqw4ltdn5wq-enc"));
        assert_eq!((&alone.hostname, &alone.url, &alone.alias), (&None, &None, &None));
        let site = Site::new("localhost", Scheme::Http, 8080);
        let encoded = Encoded::new(&address, Some(&site));
        assert_eq!(encoded.hostname.as_deref(), Some("nvrxaltborwgc43tnfqw4ltdn5wq-enc.localhost"));
        let url = "http://nvrxaltborwgc43tnfqw4ltdn5wq-enc.localhost:8080/v1/mcp";
        assert_eq!(encoded.url.as_deref(), Some(url));
    }

    #[test]
    fn a_long_domain_gets_a_suggestion() {
        let address: UpstreamAddress = "mcp.some-rather-long-name.department.example.com".parse().unwrap();
        let encoded = Encoded::new(&address, Some(&Site::new("gw.example", Scheme::Https, 443)));
        assert_eq!(encoded.label(), Err(InvalidLabel::NeedsAlias));
        assert_eq!(encoded.alias.as_deref(), Some("some-rather-long-name"));
        assert_eq!(encoded.url, None);
    }
}
