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
    assert_eq!(before.open(&PLACE, &after.seal(&PLACE, b"token")), Err(VaultError::UnknownKey));
    assert_eq!(vault().open(&PLACE, &sealed), Err(VaultError::UnknownKey));
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

#[tokio::test]
async fn a_database_opens_only_with_the_keys_that_it_was_sealed_with() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let (old, new) = (key(), key());
    let first = Vault::new(&old, &[]).unwrap();
    first.check(&store).await.unwrap();
    first.check(&store).await.unwrap();

    let stranger = Vault::new(&new, &[]).unwrap().check(&store).await.unwrap_err();
    for needed in ["does not fit this database", "vault.key_file", "vault.previous_key_files"] {
        assert!(stranger.to_string().contains(needed), "{stranger}");
    }
    Vault::new(&new, &[old]).unwrap().check(&store).await.unwrap();
    assert!(Vault::new(&new, &[]).unwrap().check(&store).await.is_err(), "the check itself does not rotate");
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
    fn garbage_is_refused(garbage in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(vault().open(&PLACE, &garbage).is_err());
    }
}
