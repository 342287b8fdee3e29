//! An authenticator in software, for tests. It does what it is told, also what a real one would not.

use crate::ids::Digest;
use ciborium::{Value, cbor};
use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

pub(crate) const PRESENT: u8 = 0x01;
pub(crate) const VERIFIED: u8 = 0x04;
const HAS_CREDENTIAL: u8 = 0x40;

pub(crate) struct Soft {
    pub(crate) key: Key,
    pub(crate) id: Vec<u8>,
    pub(crate) origin: String,
    pub(crate) rp_id: String,
    pub(crate) flags: u8,
    pub(crate) count: u32,
    pub(crate) cross_origin: bool,
    pub(crate) kind: Option<&'static str>,
    pub(crate) user_handle: String,
}

pub(crate) enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Soft {
    pub(crate) fn es256() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self::with(Key::Es256(key))
    }

    pub(crate) fn ed25519() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::with(Key::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()))
    }

    fn with(key: Key) -> Self {
        Self {
            key,
            id: crate::ids::Random::default().bytes::<32>().to_vec(),
            origin: "https://gw.example".to_owned(),
            rp_id: "gw.example".to_owned(),
            flags: PRESENT | VERIFIED,
            count: 0,
            cross_origin: false,
            kind: None,
            user_handle: String::new(),
        }
    }

    /// What the page would send after `navigator.credentials.create(options)`.
    pub(crate) fn create(&mut self, options: &serde_json::Value) -> String {
        self.user_handle = options["user"]["id"].as_str().unwrap().to_owned();
        let client_data = self.client_data("webauthn.create", options["challenge"].as_str().unwrap());
        json!({
            "clientDataJSON": encode(&client_data),
            "attestationObject": encode(&self.attestation_object()),
        })
        .to_string()
    }

    /// What the page would send after `navigator.credentials.get(options)`. It counts, if it has begun to.
    pub(crate) fn get(&mut self, options: &serde_json::Value) -> String {
        if self.count > 0 {
            self.count += 1;
        }
        let client_data = self.client_data("webauthn.get", options["challenge"].as_str().unwrap());
        let data = self.authenticator_data(self.flags);
        let signature = self.sign(&[&data[..], &Digest::of(&client_data).0].concat());
        json!({
            "id": encode(&self.id),
            "clientDataJSON": encode(&client_data),
            "authenticatorData": encode(&data),
            "signature": encode(&signature),
            "userHandle": self.user_handle,
        })
        .to_string()
    }

    pub(crate) fn client_data(&self, kind: &str, challenge: &str) -> Vec<u8> {
        let kind = self.kind.unwrap_or(kind);
        let document = json!({
            "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": self.cross_origin,
            "other_keys_can_be_added_here": "do not compare clientDataJSON against a template",
        });
        document.to_string().into_bytes()
    }

    pub(crate) fn authenticator_data(&self, flags: u8) -> Vec<u8> {
        [&Digest::of(&self.rp_id).0[..], &[flags], &self.count.to_be_bytes()].concat()
    }

    pub(crate) fn attestation_object(&self) -> Vec<u8> {
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let data = self.authenticator_data(self.flags | HAS_CREDENTIAL);
        let data = [&data[..], &[0; 16], &length, &self.id, &self.public_key()].concat();
        bytes_of(&cbor!({ "fmt" => "none", "attStmt" => {}, "authData" => Value::Bytes(data) }).unwrap())
    }

    pub(crate) fn public_key(&self) -> Vec<u8> {
        let key = match &self.key {
            Key::Es256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (Value::Bytes(point[1..33].to_vec()), Value::Bytes(point[33..].to_vec()));
                cbor!({ 1 => 2, 3 => -7, -1 => 1, -2 => x, -3 => y }).unwrap()
            }
            Key::EdDsa(pair) => {
                let x = Value::Bytes(pair.public_key().as_ref().to_vec());
                cbor!({ 1 => 1, 3 => -8, -1 => 6, -2 => x }).unwrap()
            }
        };
        bytes_of(&key)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            Key::Es256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Key::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

pub(crate) fn bytes_of(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}
