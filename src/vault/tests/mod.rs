mod pkcs11;
mod rewrapping;

use super::*;
use proptest::prelude::*;

const PLACE: Place<'static> =
    Place { table: "connections", row: "7", column: "sealed", person: "ann", upstream: "mcp.example" };

fn key() -> Secret {
    Vault::generate_key(&Random::default())
}

fn vault() -> Vault {
    Vault::new(&key(), &[]).unwrap()
}

#[test]
fn every_part_of_the_place_matters() {
    let vault = vault();
    let sealed = vault.seal(&PLACE, b"token");
    assert_eq!(vault.open(&PLACE, &sealed).unwrap().as_slice(), b"token");
    for moved in [
        Place { table: "issuers", ..PLACE },
        Place { row: "8", ..PLACE },
        Place { column: "other", ..PLACE },
        Place { person: "bob", ..PLACE },
        Place { upstream: "evil.example", ..PLACE },
        Place { upstream: "", ..PLACE },
        // The same letters, cut elsewhere.
        Place { table: "connections7", row: "", ..PLACE },
        Place { person: "an", upstream: "nmcp.example", ..PLACE },
    ] {
        assert_eq!(vault.open(&moved, &sealed), Err(VaultError::Rejected), "{moved:?}");
    }
}

#[test]
fn a_flipped_bit_anywhere_and_any_other_length_are_refused() {
    let vault = vault();
    let sealed = vault.seal(&PLACE, b"token");
    for index in 0..sealed.len() {
        for bit in 0..8 {
            let mut damaged = sealed.clone();
            damaged[index] ^= 1 << bit;
            assert!(vault.open(&PLACE, &damaged).is_err(), "byte {index}, bit {bit}");
        }
        assert!(vault.open(&PLACE, &sealed[..index]).is_err(), "cut at {index}");
    }
    assert!(vault.open(&PLACE, &[&sealed[..], b"x"].concat()).is_err());
}

#[test]
fn parts_of_two_values_do_not_make_a_third() {
    let vault = vault();
    let (one, other) = (vault.seal(&PLACE, b"token"), vault.seal(&PLACE, b"token"));
    assert_ne!(one, other);
    let content = one.len() - b"token".len() - 28;
    assert_eq!(vault.open(&PLACE, &[&one[..content], &other[content..]].concat()), Err(VaultError::Rejected));
}

#[test]
fn previous_keys_open_and_the_current_one_seals() {
    let (old, new) = (key(), key());
    let before = Vault::new(&old, &[]).unwrap();
    let after = Vault::new(&new, &[key(), old.clone()]).unwrap();
    let sealed = before.seal(&PLACE, b"token");
    assert_eq!(after.open(&PLACE, &sealed).unwrap().as_slice(), b"token");
    let unknown = |vault: &Vault| Err(VaultError::UnknownKey(vault.current_key()));
    assert_eq!(before.open(&PLACE, &after.seal(&PLACE, b"token")), unknown(&after));
    assert_eq!(vault().open(&PLACE, &sealed), unknown(&before));
}

#[test]
fn the_first_format_is_read_and_left_behind() {
    // Made by another program, by the table in the first version's documentation.
    let first = "Aadj8qEqgXcxAQEBAQEBAQEBAQEBLZm/bzLfMjyODj1CQj0IgpE01YHL2UyGqYFdtsdTpGuephLGmK1HpNOPXJFC05TGAgICAgIC\
                 AgICAgICRmzMjRL5kDuhZFFf1/R7V+1ecrtZ";
    let first = BASE64.decode(first.as_bytes()).unwrap();
    let old = Secret::new("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned());
    let vault = Vault::new(&old, &[]).unwrap();
    assert_eq!(vault.open(&PLACE, &first).unwrap().as_slice(), b"token");
    assert_eq!(vault.open(&Place { person: "bob", ..PLACE }, &first), Err(VaultError::Rejected));
    for index in 0..first.len() {
        let mut damaged = first.clone();
        damaged[index] ^= 0x10;
        assert!(vault.open(&PLACE, &damaged).is_err() && vault.rewrap(&PLACE, &damaged).is_err(), "byte {index}");
    }
    // The version of the format is part of what is authenticated.
    assert!(vault.open(&PLACE, &[&[2], &first[1..]].concat()).is_err());
    let after = Vault::new(&key(), &[old]).unwrap();
    let rewrapped = after.rewrap(&PLACE, &first).unwrap();
    assert_eq!((rewrapped[0], rewrapped.len()), (2, first.len()));
    assert_eq!(after.open(&PLACE, &rewrapped).unwrap().as_slice(), b"token");
}

#[test]
fn another_key_wraps_the_data_key_and_leaves_the_value() {
    let (old, new) = (key(), key());
    let sealed = Vault::new(&old, &[]).unwrap().seal(&PLACE, b"token");
    let rewrapped = Vault::new(&new, std::slice::from_ref(&old)).unwrap().rewrap(&PLACE, &sealed).unwrap();
    let content = sealed.len() - b"token".len() - 28;
    assert_eq!(rewrapped[content..], sealed[content..]);
    assert_ne!(rewrapped[..content], sealed[..content]);
    assert_eq!(Vault::new(&new, &[]).unwrap().open(&PLACE, &rewrapped).unwrap().as_slice(), b"token");
    assert!(Vault::new(&old, &[]).unwrap().open(&PLACE, &rewrapped).is_err());
    // The old wrapping in front of the new one's key id, and the other way round.
    for (head, rest) in [(&sealed, &rewrapped), (&rewrapped, &sealed)] {
        let mixed = [&head[..9], &rest[9..]].concat();
        let both = Vault::new(&new, std::slice::from_ref(&old)).unwrap();
        assert_eq!(both.open(&PLACE, &mixed), Err(VaultError::Rejected));
        assert_eq!(both.rewrap(&PLACE, &mixed), Err(VaultError::Rejected));
    }
}

#[test]
fn a_moved_value_is_not_rewrapped() {
    let vault = vault();
    let sealed = vault.seal(&PLACE, b"token");
    let moved = Place { person: "bob", ..PLACE };
    assert_eq!(vault.rewrap(&moved, &sealed), Err(VaultError::Rejected));
}

#[test]
fn keys_that_are_installed_serve_all_clones() {
    let (old, new) = (key(), key());
    let vault = Vault::new(&old, &[]).unwrap();
    let clone = vault.clone();
    let sealed = vault.seal(&PLACE, b"token");
    assert!(!vault.install(&Vault::new(&old, &[]).unwrap()), "the same keys");
    assert!(vault.install(&Vault::new(&new, &[old]).unwrap()));
    assert_eq!(clone.current_key(), Vault::new(&new, &[]).unwrap().current_key());
    assert_eq!(clone.open(&PLACE, &sealed).unwrap().as_slice(), b"token");
}

#[test]
fn a_key_is_32_bytes_of_base64_and_is_never_repeated_in_the_error() {
    let good = key();
    assert!(Vault::new(&Secret::new(format!("  {}\n", good.expose())), &[]).is_ok());
    for bad in ["", "secret-passphrase", "c2hvcnQtc2VjcmV0", "c2hvcnQ\nc2VjcmV0"] {
        let bad = Secret::new(bad.to_owned());
        let current = Vault::new(&bad, &[]).err().unwrap().to_string();
        assert!(current.starts_with("vault.key_file: "), "{current}");
        assert!(current.contains("portcullis vault keygen"), "{current}");
        assert!(bad.expose().is_empty() || !current.contains(bad.expose()), "{current}");
        let previous = Vault::new(&good, &[bad]).err().unwrap().to_string();
        assert!(previous.starts_with("vault.previous_key_files: "), "{previous}");
    }
}

#[test]
fn marks_are_for_one_purpose_and_one_keyring() {
    let (old, new) = (Vault::generate_key(&Random::default()), Vault::generate_key(&Random::default()));
    let before = Vault::new(&old, &[]).unwrap();
    let mark = before.mark("nonce", b"value");
    assert!(before.has_marked("nonce", b"value", &mark));
    assert!(!before.has_marked("nonc", b"evalue", &mark) && !before.has_marked("other", b"value", &mark));
    assert!(!before.has_marked("nonce", b"other", &mark) && !before.has_marked("nonce", b"value", &mark[..16]));
    let after = Vault::new(&new, &[old]).unwrap();
    assert!(after.has_marked("nonce", b"value", &mark), "during a rotation of the vault's key");
    assert!(!Vault::new(&new, &[]).unwrap().has_marked("nonce", b"value", &mark));
}

#[test]
fn a_key_is_called_the_same_in_messages_in_logs_and_where_it_is_read() {
    let id = vault().current_key();
    let text = id.to_string();
    assert!(text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    assert_eq!(format!("{id:?}"), format!("KeyId({text})"));
    assert_eq!(text.parse(), Ok(id));
    assert_eq!(text[1..].parse::<KeyId>(), Err(NotAKeyId));
}

fn place_of([table, row, column, person, upstream]: &[String; 5]) -> Place<'_> {
    Place { table, row, column, person, upstream }
}

proptest! {
    #[test]
    fn what_was_sealed_opens(
        value in proptest::collection::vec(any::<u8>(), 0..500),
        parts in proptest::array::uniform5(".{0,20}"),
    ) {
        let [table, row, column, person, upstream] = &parts;
        let place = Place { table, row, column, person, upstream };
        let vault = vault();
        let sealed = vault.seal(&place, &value);
        let opened = vault.open(&place, &sealed).unwrap();
        prop_assert_eq!(&*opened, &value);
    }

    #[test]
    fn whatever_is_changed_is_refused_and_said_without_the_content(
        value in "[a-z]{8,60}",
        parts in proptest::array::uniform5("[a-z]{0,12}"),
        other in "[A-Z0-9]{1,12}",
        (which, at, bit) in (0..5_usize, any::<proptest::sample::Index>(), 0..8),
    ) {
        let mut changed = parts.clone();
        changed[which] = other;
        let (right, wrong) = (place_of(&parts), place_of(&changed));
        let vault = vault();
        let sealed = vault.seal(&right, value.as_bytes());
        let at = at.index(sealed.len());
        let mut flipped = sealed.clone();
        flipped[at] ^= 1_u8 << bit;
        for (place, sealed) in [(&wrong, &sealed[..]), (&right, &flipped[..]), (&right, &sealed[..at])] {
            let refused = vault.open(place, sealed).unwrap_err();
            let texts = [refused.to_string(), format!("{refused:?}")];
            prop_assert!(!texts.iter().any(|text| text.contains(&value)));
            prop_assert!(!sealed.windows(value.len()).any(|part| part == value.as_bytes()));
        }
    }

    #[test]
    fn garbage_is_refused(garbage in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(vault().open(&PLACE, &garbage).is_err());
    }
}
