//! What a PKCS#11 token says of its user PIN: a wrong one must not lock it, however often a service is restarted.

use cryptoki::slot::TokenInfo;

/// What to do about a PIN that is locked.
pub(super) const LOCKED: &str = "its PIN is locked: unlock it with the token's own tool";

/// How many tries are left, as far as a token says; the default is of one that says nothing.
#[derive(Clone, Copy, Default)]
pub(super) struct Tries {
    is_locked: bool,
    is_last: bool,
    is_fewer: bool,
}

impl Tries {
    pub(super) fn of(info: &TokenInfo) -> Self {
        Self {
            is_locked: info.user_pin_locked(),
            is_last: info.user_pin_final_try(),
            is_fewer: info.user_pin_count_low(),
        }
    }

    /// Why not even one is made, if so.
    pub(super) fn objection(self) -> Option<&'static str> {
        if self.is_locked {
            return Some(LOCKED);
        }
        self.is_last.then_some(
            "one more wrong PIN would lock it: correct vault.pkcs11.pin_file and sign in once with the token's own tool",
        )
    }

    /// After a wrong PIN.
    pub(super) fn left(self) -> &'static str {
        match self {
            Self { is_locked: true, .. } => "it is locked now",
            Self { is_last: true, .. } => "one try is left",
            Self { is_fewer: true, .. } => "fewer tries are left than before",
            _ => "it does not say how many tries are left",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_tried_that_is_locked_or_that_a_wrong_pin_would_lock() {
        let tries = |is_locked, is_last, is_fewer| Tries { is_locked, is_last, is_fewer };
        for (tries, objection, left) in [
            (tries(false, false, false), None, "does not say"),
            (tries(false, false, true), None, "fewer tries"),
            (tries(false, true, true), Some("one more wrong PIN would lock it"), "one try is left"),
            (tries(true, true, true), Some("its PIN is locked"), "it is locked now"),
            (tries(true, false, false), Some("its PIN is locked"), "it is locked now"),
        ] {
            assert_eq!(tries.objection().is_some(), objection.is_some());
            assert!(tries.objection().unwrap_or_default().starts_with(objection.unwrap_or_default()));
            assert!(tries.left().contains(left), "{}", tries.left());
        }
    }
}
