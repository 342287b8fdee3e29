//! One sealed value: its layout and its two layers of AES-256-GCM.

use super::Place;
use crate::ids::{Digest, Random};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

/// Length of vault keys and of data keys, in bytes.
pub(super) const KEY_LEN: usize = 32;

/// Length of marks, in bytes.
pub(super) const MARK_LEN: usize = 32;

const FORMAT: u8 = 1;
const KEY_ID_LEN: usize = 8;
const TAG_LEN: usize = 16;
const WRAPPED_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;

/// A key of the keyring, ready for use, and the name by which sealed values ask for it.
pub(super) struct VaultKey {
    id: [u8; KEY_ID_LEN],
    cipher: LessSafeKey,
    marker: hmac::Key,
}

impl VaultKey {
    /// `None` unless there are 32 bytes.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let cipher = cipher(bytes)?;
        // The prefix keeps the id from being the hash of the key in any other use.
        let preimage = Zeroizing::new([b"portcullis vault key id\0", bytes].concat());
        let digest = Digest::of(preimage.as_slice());
        // A key of its own for the other algorithm, derived as HKDF-Expand does (RFC 5869 §2.3).
        let marker = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), b"portcullis vault marks\x01");
        let marker = hmac::Key::new(hmac::HMAC_SHA256, marker.as_ref());
        Some(Self { id: *digest.0.first_chunk()?, cipher, marker })
    }

    pub(super) fn mark(&self, purpose: &str, value: &[u8]) -> [u8; MARK_LEN] {
        let mut mark = [0; MARK_LEN];
        mark.copy_from_slice(hmac::sign(&self.marker, &marked(purpose, value)).as_ref());
        mark
    }

    pub(super) fn has_marked(&self, purpose: &str, value: &[u8], mark: &[u8]) -> bool {
        hmac::verify(&self.marker, &marked(purpose, value), mark).is_ok()
    }
}

/// No two purposes share an encoding.
fn marked(purpose: &str, value: &[u8]) -> Vec<u8> {
    [&(purpose.len() as u64).to_be_bytes()[..], purpose.as_bytes(), value].concat()
}

/// Seals a value with a fresh data key, and the data key with the vault key.
#[allow(clippy::expect_used)] // a key of the right length is one
pub(super) fn seal(key: &VaultKey, random: &Random, place: &Place<'_>, value: &[u8]) -> Vec<u8> {
    let context = context(place, &key.id);
    let data_key = Zeroizing::new(random.bytes::<KEY_LEN>());
    let data_cipher = cipher(data_key.as_ref()).expect("an array of 32 bytes has 32 bytes");
    // All of the capacity at once: a vector that grows would leave a copy of the value behind.
    let mut sealed = Vec::with_capacity(1 + KEY_ID_LEN + WRAPPED_LEN + NONCE_LEN + value.len() + TAG_LEN);
    sealed.push(FORMAT);
    sealed.extend_from_slice(&key.id);
    append_layer(&mut sealed, &key.cipher, random.bytes(), &context, data_key.as_ref());
    append_layer(&mut sealed, &data_cipher, random.bytes(), &context, value);
    sealed
}

/// A sealed value, taken apart but not opened.
pub(super) struct Envelope<'a> {
    key_id: &'a [u8; KEY_ID_LEN],
    wrapped: &'a [u8; WRAPPED_LEN],
    content: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// `None` when it is too short or of a format that we do not know.
    pub(super) fn parse(sealed: &'a [u8]) -> Option<Self> {
        let rest = sealed.strip_prefix(&[FORMAT])?;
        let (key_id, rest) = rest.split_first_chunk()?;
        let (wrapped, content) = rest.split_first_chunk()?;
        Some(Self { key_id, wrapped, content })
    }

    /// Key ids are public: they need no constant time.
    pub(super) fn is_sealed_with(&self, key: &VaultKey) -> bool {
        *self.key_id == key.id
    }

    /// The value; `None` when anything about it, or its place, has changed.
    pub(super) fn open(&self, key: &VaultKey, place: &Place<'_>) -> Option<Zeroizing<Vec<u8>>> {
        let context = context(place, self.key_id);
        let data_key = open_layer(&key.cipher, &context, self.wrapped)?;
        open_layer(&cipher(&data_key)?, &context, self.content)
    }
}

/// The additional data of both layers. Every part is preceded by its length, so that no two places share an encoding.
fn context(place: &Place<'_>, key_id: &[u8; KEY_ID_LEN]) -> Vec<u8> {
    let mut context = vec![FORMAT];
    context.extend_from_slice(key_id);
    for part in [place.table, place.row, place.column, place.person, place.upstream] {
        context.extend_from_slice(&(part.len() as u64).to_be_bytes());
        context.extend_from_slice(part.as_bytes());
    }
    context
}

fn cipher(key: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

#[allow(clippy::expect_used)] // ring refuses only what exceeds the 64 GiB of one GCM message
fn append_layer(sealed: &mut Vec<u8>, cipher: &LessSafeKey, nonce: [u8; NONCE_LEN], context: &[u8], value: &[u8]) {
    sealed.extend_from_slice(&nonce);
    let start = sealed.len();
    sealed.extend_from_slice(value);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(context), &mut sealed[start..]);
    sealed.extend_from_slice(tag.expect("a value below 64 GiB").as_ref());
}

fn open_layer(cipher: &LessSafeKey, context: &[u8], layer: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, ciphertext) = layer.split_first_chunk()?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = cipher.open_in_place(nonce, Aad::from(context), &mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}
