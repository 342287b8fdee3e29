//! Sets of field names that every field of every message is compared with.

/// A set of names in lower case, each shorter than 64 bytes and beginning with a letter.
pub(super) struct Names {
    names: &'static [&'static str],
    /// For each first letter, the lengths of the names that begin with it, a bit for each: nearly every other name is told from
    /// them by this alone.
    lengths: [u64; 26],
}

impl Names {
    pub(super) const fn new(names: &'static [&'static str]) -> Self {
        let mut lengths = [0; 26];
        let mut at = 0;
        while at < names.len() {
            let name = names[at].as_bytes();
            lengths[(name[0] - b'a') as usize] |= 1 << name.len();
            at += 1;
        }
        Self { names, lengths }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        let first = name.bytes().next().unwrap_or_default().wrapping_sub(b'a');
        let lengths = self.lengths.get(usize::from(first)).copied().unwrap_or_default();
        let possible = name.len() < 64 && lengths >> name.len() & 1 == 1;
        possible && self.names.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SOME: [&str; 4] = ["te", "trailer", "x-user-id", "zz"];
    const NAMES: Names = Names::new(&SOME);

    proptest! {
        #[test]
        fn what_is_in_it_is_in_it(name in "[a-z0-9-]{0,80}|te|trailer|x-user-id|zz|xe|zzz|TE") {
            prop_assert_eq!(NAMES.contains(&name), SOME.contains(&name.as_str()));
        }
    }
}
