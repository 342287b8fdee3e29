//! User codes (RFC 8628 §6.1): short enough to type, with no letter that looks like another one and no vowel to make words.

use crate::ids::{Digest, Random};
use std::fmt;

/// Twenty consonants; eight of them are 34 bits, which is enough where guesses are limited (RFC 8628 §5.1).
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LENGTH: usize = 8;

/// A well-formed user code. [`fmt::Display`] gives it as devices show it: `WDJB-MJHT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCode([u8; LENGTH]);

impl UserCode {
    /// A new one.
    pub fn random(random: &Random) -> Self {
        let mut letters = [0; LENGTH];
        for letter in &mut letters {
            *letter = loop {
                let [byte] = random.bytes::<1>();
                // 240 is a multiple of 20: beyond it some letters would come more often than others.
                if byte < 240 {
                    break ALPHABET[usize::from(byte) % ALPHABET.len()];
                }
            };
        }
        Self(letters)
    }

    /// Reads what a person typed: in any case, with or without dash and spaces. `None` when it can be no code.
    pub fn parse(typed: &str) -> Option<Self> {
        let is_between = |c: &char| c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}' | '.' | '_');
        let mut letters = typed.chars().filter(|c| !is_between(c)).map(|c| u8::try_from(c.to_ascii_uppercase()).ok());
        let mut code = [0; LENGTH];
        for place in &mut code {
            *place = letters.next()?.filter(|letter| ALPHABET.contains(letter))?;
        }
        letters.next().is_none().then_some(Self(code))
    }

    /// What the store keeps instead.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0)
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, letter) in self.0.iter().enumerate() {
            if position == LENGTH / 2 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(*letter))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn b44_user_codes_are_long_enough_and_unambiguous() {
        let random = Random::default();
        let codes: HashSet<String> = (0..1000).map(|_| UserCode::random(&random).to_string()).collect();
        assert_eq!(codes.len(), 1000);
        assert!(codes.iter().all(|code| code.len() == 9 && code.as_bytes()[4] == b'-'));
        let letters: HashSet<char> = codes.iter().flat_map(|code| code.chars()).filter(|c| *c != '-').collect();
        assert_eq!(letters.len(), 20, "every letter turns up");
        assert!("AEIOUY0123456789".chars().all(|c| !letters.contains(&c)));
    }

    #[test]
    fn people_type_them_in_many_ways() {
        let code = UserCode::parse("WDJB-MJHT").unwrap();
        for typed in ["wdjbmjht", " WDJB MJHT ", "wdjb\u{2013}mjht", "w d j b - m j h t", "WDJBMJHT"] {
            assert_eq!(UserCode::parse(typed), Some(code.clone()), "{typed:?}");
        }
        for wrong in ["", "WDJB-MJH", "WDJB-MJHTT", "WDJB-MJHA", "WDJB-MJH0", "ＷDJB-MJHT", "WDJB+MJHT"] {
            assert_eq!(UserCode::parse(wrong), None, "{wrong:?}");
        }
        assert_eq!(code.to_string(), "WDJB-MJHT");
    }
}
