//! Proof Key for Code Exchange, S256 only (RFC 7636; `plain` is refused as OAuth 2.1 asks).

use crate::ids::Random;
use crate::secret::Secret;
use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq;

/// The `code_challenge` of an authorization request: base64url of a SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge(String);

impl Challenge {
    /// Accepts what can be the S256 of anything: 43 characters that decode to 32 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        (BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.len() == 32).then(|| Self(text.to_owned()))
    }

    /// The challenge of a verifier (RFC 7636 §4.2).
    pub fn of(verifier: &str) -> Self {
        Self(BASE64URL_NOPAD.encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes()).as_ref()))
    }

    /// Whether `verifier` is well-formed and belongs to this challenge; compared in constant time.
    pub fn is_answered_by(&self, verifier: &str) -> bool {
        is_well_formed(verifier) && Self::of(verifier).0.as_bytes().ct_eq(self.0.as_bytes()).into()
    }

    /// The text of the challenge.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 43 to 128 unreserved characters (RFC 7636 §4.1).
fn is_well_formed(verifier: &str) -> bool {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved)
}

/// A fresh verifier of 256 bits, for our own requests toward upstreams.
pub fn verifier(random: &Random) -> Secret {
    Secret::new(random.token().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636_appendix_b() {
        let challenge = Challenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").unwrap();
        assert!(challenge.is_answered_by("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        assert!(!challenge.is_answered_by("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXj"));
    }

    #[test]
    fn b5_verifiers_have_43_to_128_unreserved_characters() {
        for (verifier, good) in [
            ("a".repeat(42), false),
            ("a".repeat(43), true),
            ("a".repeat(128), true),
            ("a".repeat(129), false),
            ("ä".repeat(30), false),
        ] {
            assert_eq!(Challenge::of(&verifier).is_answered_by(&verifier), good, "{verifier}");
        }
        assert!(Challenge::of(verifier(&Random::default()).expose()).as_str().len() == 43);
    }
}
