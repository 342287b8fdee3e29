//! Secrets that cannot be printed, compared by accident, or left in memory.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret text: a client secret, an access token, a password. It has neither `Debug`, `Display` nor `PartialEq`,
/// and its memory is wiped when it goes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes ownership of the text, so that no second copy stays behind.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Every call is a place to look at: what happens to the secret there?
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares with what a caller sent, in a time that does not depend on where they differ.
    pub fn matches(&self, candidate: &str) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_bytes(), candidate.as_bytes()).into()
    }
}

/// A secret may come in; it never goes out this way.
impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_only_itself() {
        let secret = Secret::new("open sesame".to_owned());
        assert!(secret.matches("open sesame"));
        assert!(!secret.matches("open"));
    }
}
