//! Scopes: an ordered set of tokens (RFC 6749 §3.3).

use std::collections::BTreeSet;
use std::fmt;

/// A set of scope tokens. [`fmt::Display`] joins them with spaces, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<String>);

/// The scope by which a client asks for a refresh token (OpenID Connect Core §11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// The scope of the admin API, at the root issuer.
pub const ADMIN: &str = "admin";

impl Scopes {
    /// Parses a `scope` value: tokens of printable ASCII without `"` and `\`, separated by spaces.
    ///
    /// # Errors
    /// When a character is not allowed, with that character.
    pub fn parse(text: &str) -> Result<Self, char> {
        let allowed = |c: char| matches!(c, ' ' | '\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e');
        match text.chars().find(|c| !allowed(*c)) {
            Some(c) => Err(c),
            None => Ok(Self(text.split(' ').filter(|token| !token.is_empty()).map(str::to_owned).collect())),
        }
    }

    /// Takes what can be taken from a list that somebody else wrote; tokens with illegal characters are dropped.
    pub fn lenient<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Self {
        tokens.into_iter().filter_map(|token| Self::parse(token).ok()).fold(Self::default(), |all, one| all.union(&one))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `token` is among them.
    pub fn contains(&self, token: &str) -> bool {
        self.0.contains(token)
    }

    /// Adds one token.
    pub fn insert(&mut self, token: &str) {
        self.0.insert(token.to_owned());
    }

    /// Whether all of these are among `others`.
    pub fn is_subset(&self, others: &Scopes) -> bool {
        self.0.is_subset(&others.0)
    }

    /// These and those.
    pub fn union(&self, others: &Scopes) -> Scopes {
        Self(self.0.union(&others.0).cloned().collect())
    }

    /// Those that are among `others` as well.
    pub fn intersection(&self, others: &Scopes) -> Scopes {
        Self(self.0.intersection(&others.0).cloned().collect())
    }

    /// All but one.
    pub fn without(&self, token: &str) -> Scopes {
        Self(self.0.iter().filter(|scope| *scope != token).cloned().collect())
    }

    /// The tokens, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, token) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_do_not_matter() {
        let a = Scopes::parse("write read  read").unwrap();
        assert_eq!(a.to_string(), "read write");
        assert!(Scopes::parse("read").unwrap().is_subset(&a));
        assert_eq!(a.without("read").to_string(), "write");
        assert_eq!(a.intersection(&Scopes::parse("read admin").unwrap()).to_string(), "read");
        assert_eq!(Scopes::parse("re\"ad"), Err('"'));
        assert_eq!(Scopes::lenient(["ok", "not\tok"]).to_string(), "ok");
    }
}
