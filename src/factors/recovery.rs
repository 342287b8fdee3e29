//! Recovery codes: for the day on which the phone is gone.

use crate::ids::{Digest, Random};
use crate::secret::Secret;
use data_encoding::BASE32_NOPAD;

/// How many a person gets at once.
const COUNT: usize = 10;
/// Of randomness in each: so many that a plain digest of it cannot be turned around.
const BYTES: usize = 10;

/// Fresh codes in the form in which people write them down.
pub(super) fn generate(random: &Random) -> Vec<Secret> {
    let one = || super::grouped(&BASE32_NOPAD.encode(&random.bytes::<BYTES>()).to_ascii_lowercase(), '-');
    std::iter::repeat_with(one).take(COUNT).map(Secret::new).collect()
}

/// What is stored, and compared, of a code as somebody typed it; `None` when it cannot be one.
pub(super) fn digest(typed: &str) -> Option<Digest> {
    let plain: String =
        typed.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()).collect();
    let bytes = BASE32_NOPAD.decode(plain.as_bytes()).ok()?;
    (bytes.len() == BYTES).then(|| Digest::of(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_recognised_however_they_are_typed() {
        let codes = generate(&Random::default());
        assert_eq!(codes.len(), COUNT);
        let code = codes[0].expose();
        assert_eq!(code.len(), 19, "{code}");
        let stored = digest(code).unwrap();
        assert!(digest(&code.to_uppercase()).unwrap().matches(&stored));
        assert!(digest(&format!(" {} ", code.replace('-', " "))).unwrap().matches(&stored));
        assert!(!digest(codes[1].expose()).unwrap().matches(&stored));
        for wrong in ["", "123456", &code[1..], "1111-1111-1111-1111"] {
            assert!(digest(wrong).is_none(), "{wrong}");
        }
    }
}
