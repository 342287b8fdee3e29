//! Forged and damaged data, against the relying party alone.

use super::*;
use crate::factors::soft::{PRESENT, Soft, VERIFIED, bytes_of};
use ciborium::{Value, cbor};

fn us() -> RelyingParty {
    RelyingParty { domain: "gw.example".to_owned(), origin: "https://gw.example".to_owned() }
}

fn assert_signed(soft: &Soft, expected: Result<u32, Refused>) {
    let (client_data, data) = (soft.client_data("webauthn.get", "x"), soft.authenticator_data(soft.flags));
    let signature = soft.sign(&[&data[..], &Digest::of(&client_data).0].concat());
    let signed = Signed { client_data: &client_data, authenticator_data: &data, signature: &signature };
    assert_eq!(us().signed(&signed, &soft.public_key()), expected);
}

#[test]
fn both_kinds_of_keys_register_and_sign() {
    for soft in [Soft::es256(), Soft::ed25519()] {
        let created = us().created(&soft.attestation_object()).unwrap();
        assert_eq!((created.credential_id, created.public_key), (soft.id.clone(), soft.public_key()));
        assert_signed(&soft, Ok(0));
        assert_signed(&Soft { count: 0x0102_0304, ..soft }, Ok(0x0102_0304));
    }
}

#[test]
fn the_domain_and_the_person_are_checked_in_both_ceremonies() {
    for (soft, why) in [
        (Soft { rp_id: "x-enc.gw.example".to_owned(), ..Soft::es256() }, Refused::RelyingParty),
        (Soft { rp_id: "example".to_owned(), ..Soft::es256() }, Refused::RelyingParty),
        (Soft { flags: PRESENT, ..Soft::es256() }, Refused::NotVerified),
        (Soft { flags: VERIFIED, ..Soft::es256() }, Refused::NotVerified),
        (Soft { flags: 0, ..Soft::es256() }, Refused::NotVerified),
        // Backed up, and cannot be.
        (Soft { flags: PRESENT | VERIFIED | 0x10, ..Soft::es256() }, Refused::Malformed),
        // Extensions that are not there.
        (Soft { flags: PRESENT | VERIFIED | 0x80, ..Soft::es256() }, Refused::Malformed),
    ] {
        assert_signed(&soft, Err(why));
        assert_eq!(us().created(&soft.attestation_object()).err(), Some(why));
    }
}

#[test]
fn the_origin_is_the_root_s_and_no_other() {
    let read = |soft: &Soft| {
        us().client_data(Ceremony::Get, &soft.client_data("webauthn.get", "c")).map(|data| data.challenge)
    };
    assert_eq!(read(&Soft::es256()), Ok("c".to_owned()));
    for origin in [
        "https://nvrxaltborwgc43tnfqw4ltdn5wq-enc.gw.example",
        "https://gw.example:8443",
        "http://gw.example",
        "https://gw.example/",
        "https://GW.example",
        "https://gw.example.evil.example",
        "null",
        "",
    ] {
        assert_eq!(read(&Soft { origin: origin.to_owned(), ..Soft::es256() }), Err(Refused::Origin), "{origin}");
    }
    assert_eq!(read(&Soft { cross_origin: true, ..Soft::es256() }), Err(Refused::Origin));
    assert_eq!(read(&Soft { kind: Some("webauthn.create"), ..Soft::es256() }), Err(Refused::WrongType));
    assert_eq!(read(&Soft { kind: Some("payment.get"), ..Soft::es256() }), Err(Refused::WrongType));
    assert_eq!(us().client_data(Ceremony::Get, b"{}").err(), Some(Refused::Malformed));
}

#[test]
fn a_signature_is_worth_nothing_for_anything_else() {
    let (soft, other) = (Soft::es256(), Soft::es256());
    let (client_data, data) = (soft.client_data("webauthn.get", "x"), soft.authenticator_data(soft.flags));
    let signature = soft.sign(&[&data[..], &Digest::of(&client_data).0].concat());
    let check = |client_data: &[u8], data: &[u8], signature: &[u8], key: &[u8]| {
        us().signed(&Signed { client_data, authenticator_data: data, signature }, key).err()
    };
    assert_eq!(check(&client_data, &data, &signature, &soft.public_key()), None);
    assert_eq!(check(&client_data, &data, &signature, &other.public_key()), Some(Refused::Signature));
    assert_eq!(check(&client_data, &data, b"", &soft.public_key()), Some(Refused::Signature));
    assert_eq!(check(b"other", &data, &signature, &soft.public_key()), Some(Refused::Signature));
    let mut counted = data.clone();
    counted[36] = 9;
    assert_eq!(check(&client_data, &counted, &signature, &soft.public_key()), Some(Refused::Signature));
}

#[test]
fn damaged_data_is_refused_wherever_it_ends() {
    let object = Soft::es256().attestation_object();
    for length in 0..object.len() {
        assert!(us().created(&object[..length]).is_err(), "{length} bytes");
    }
    assert_eq!(us().created(&[&object[..], &[0]].concat()).err(), Some(Refused::Malformed));
    // A list in a list in a list…
    assert_eq!(us().created(&[0x81; 60_000]).err(), Some(Refused::Malformed));
    // More bytes than there are, promised.
    assert_eq!(us().created(&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).err(), Some(Refused::Malformed));
    let unsigned = cbor!({ "fmt" => "none", "attStmt" => {}, "authData" => Value::Bytes(vec![0; 36]) }).unwrap();
    assert_eq!(us().created(&bytes_of(&unsigned)).err(), Some(Refused::Malformed));
}

#[test]
fn kinds_of_keys_that_were_not_asked_for_are_refused() {
    let x = || Value::Bytes(vec![1; 32]);
    for key in [
        // ES384, Ed448's curve, ES256K, RS1, a symmetric key, a short coordinate, no map.
        cbor!({ 1 => 2, 3 => -35, -1 => 2, -2 => x(), -3 => x() }),
        cbor!({ 1 => 1, 3 => -8, -1 => 7, -2 => x() }),
        cbor!({ 1 => 2, 3 => -47, -1 => 8, -2 => x(), -3 => x() }),
        cbor!({ 1 => 3, 3 => -65535, -1 => x(), -2 => x() }),
        cbor!({ 1 => 4, 3 => 5, -1 => x() }),
        cbor!({ 1 => 2, 3 => -7, -1 => 1, -2 => Value::Bytes(vec![1; 31]), -3 => x() }),
        cbor!([1, 2, 3]),
    ] {
        assert_eq!(PublicKey::parse(&bytes_of(&key.unwrap())).err(), Some(Refused::Key));
    }
}
