//! The names of services.

use std::fmt;

/// What services are called in the store begins so, and no upstream can be called so.
const STORED: &str = "service:";
/// Names that mean something else below `/auth`.
const RESERVED: [&str; 4] = ["init", "callback", "token", "revoke"];

/// The name of a service in addresses: 1 to 32 of `a-z`, `0-9` and hyphens, and not a number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Box<str>);

impl ServiceName {
    /// Parses a name.
    ///
    /// # Errors
    /// When it is not one; the text says what is.
    pub fn parse(text: &str) -> Result<Self, String> {
        let good = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            // `service:8080` is an upstream.
            && !text.bytes().all(|b| b.is_ascii_digit());
        if RESERVED.contains(&text) {
            return Err(format!("{text:?} has a meaning of its own in addresses: choose another name"));
        }
        match good {
            true => Ok(Self(format!("{STORED}{text}").into())),
            false => Err(format!(
                "{text:?} is not the name of a service: use up to 32 characters of a-z, 0-9 and hyphens, not digits alone"
            )),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0[STORED.len()..]
    }

    /// As connections have it in place of an upstream's authority: `service:<name>`.
    pub fn as_stored(&self) -> &str {
        &self.0
    }

    /// From there; `None` when it is no service's.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::parse(text.strip_prefix(STORED)?).ok()
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_addresses_and_in_the_store() {
        let name = ServiceName::parse("my-google2").unwrap();
        assert_eq!((name.as_str(), name.as_stored()), ("my-google2", "service:my-google2"));
        assert_eq!(ServiceName::from_stored("service:my-google2"), Some(name));
        for bad in ["", "Google", "a_b", "-a", "8080", "callback", "a/b", &"a".repeat(33)] {
            assert!(ServiceName::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(ServiceName::from_stored("mcp.example"), None);
    }
}
