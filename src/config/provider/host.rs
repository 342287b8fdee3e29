//! Hosts of a provider.

use std::fmt;

/// A host, or a domain with everything below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern {
    host: String,
    below: bool,
}

impl HostPattern {
    /// `mcp.example.com`, or `.example.com` for that domain and everything below it.
    ///
    /// # Errors
    /// With what is wrong, for a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        let host = text.strip_prefix('.').unwrap_or(text);
        let label = |label: &str| {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            !label.is_empty() && label.len() <= 63 && label.bytes().all(inner)
        };
        let whole_domain = host.contains('.') || !text.starts_with('.');
        if host.len() > 253 || !host.split('.').all(label) || !whole_domain {
            return Err(format!(
                "{text:?} is not a host: write one in lower case without scheme and port, like \"mcp.example.com\", or \
                 \".example.com\" for it and everything below"
            ));
        }
        Ok(Self { host: host.to_owned(), below: text.starts_with('.') })
    }

    /// The host, or the domain.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether everything below belongs to it.
    pub fn is_domain(&self) -> bool {
        self.below
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.below {
            f.write_str(".")?;
        }
        f.write_str(&self.host)
    }
}
