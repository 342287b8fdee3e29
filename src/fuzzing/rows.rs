//! Sealed values.

use super::Input;
use crate::secret::Secret;
use crate::vault::{HEAD_LEN, Place, Vault, VaultError};
use std::sync::LazyLock;

const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// With one key, and with that one on its way out.
static VAULTS: LazyLock<[Vault; 2]> = LazyLock::new(|| {
    let key = |text: &str| Secret::new(text.to_owned());
    [Vault::new(&key(OLD), &[]).unwrap(), Vault::new(&key(NEW), &[key(OLD)]).unwrap()]
});

/// Whatever is not exactly what was sealed, in exactly its place, does not open.
pub(super) fn vault(data: &[u8]) {
    let [before, after] = &*VAULTS;
    let mut input = Input::new(data);
    let parts: [String; 5] = std::array::from_fn(|_| input.text(12));
    let changes: Vec<(usize, u8)> = (0..input.below(4)).map(|_| (input.below(4096), input.below(256) as u8)).collect();
    let cut = if input.coin() { Some(input.below(512)) } else { None };
    let (which, other) = (input.below(5), input.text(8));
    let value = input.rest();
    let [table, row, column, person, upstream] = &parts;
    let place = Place { table, row, column, person, upstream };

    // Bytes that nobody sealed, with and without a beginning of ours.
    assert!(before.open(&place, value).is_err());
    let sealed = before.seal(&place, value);
    // The format and the key's name are no secret: a value may be the same.
    let (head, secret) = sealed.split_at(HEAD_LEN);
    assert!(!(value.len() > 7 && secret.windows(value.len()).any(|part| part == value)));
    let forged = [head, value].concat();
    assert_eq!(before.open(&place, &forged), Err(VaultError::Rejected));

    assert_eq!(before.open(&place, &sealed).unwrap().as_slice(), value);
    let rewrapped = after.rewrap(&place, &sealed).unwrap();
    assert_eq!(after.open(&place, &rewrapped).unwrap().as_slice(), value);
    assert!(matches!(before.open(&place, &rewrapped), Err(VaultError::UnknownKey(_))));

    let mut damaged = sealed.clone();
    for (at, bits) in &changes {
        let length = damaged.len();
        damaged[at % length] ^= bits;
    }
    if let Some(length) = cut {
        damaged.truncate(length);
    }
    if damaged != sealed {
        assert!(before.open(&place, &damaged).is_err(), "a damaged value opened");
    }
    let mut moved = parts.clone();
    moved[which] = other;
    if moved != parts {
        let [table, row, column, person, upstream] = &moved;
        let place = Place { table, row, column, person, upstream };
        assert_eq!(before.open(&place, &sealed), Err(VaultError::Rejected), "a moved value opened");
        assert!(after.rewrap(&place, &sealed).is_err());
    }
}
