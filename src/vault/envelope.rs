//! One sealed value: its layout and its two layers of AES-256-GCM.

use super::Place;
use super::key_id::{KEY_ID_LEN, KeyId};
use crate::ids::{Digest, Random};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

/// Length of vault keys and of data keys, in bytes.
pub(super) const KEY_LEN: usize = 32;

/// Length of marks, in bytes.
pub(super) const MARK_LEN: usize = 32;

/// The first format: the key's id is authenticated with the value itself, which therefore cannot be wrapped anew.
const FIRST: u8 = 1;
const FORMAT: u8 = 2;
const TAG_LEN: usize = 16;

/// Format and key id.
pub(crate) const HEAD_LEN: usize = 1 + KEY_ID_LEN;

const WRAPPED_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;

/// A key of the keyring, ready for use, and the name by which sealed values ask for it.
pub(super) struct VaultKey {
    id: KeyId,
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
        Some(Self { id: KeyId(*digest.0.first_chunk()?), cipher, marker })
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    /// How everything begins that is sealed with this key, and in the format of today.
    pub(super) fn head(&self) -> [u8; HEAD_LEN] {
        let mut head = [FORMAT; HEAD_LEN];
        head[1..].copy_from_slice(&self.id.0);
        head
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
    let data_key = Zeroizing::new(random.bytes::<KEY_LEN>());
    let data_cipher = cipher(data_key.as_ref()).expect("an array of 32 bytes has 32 bytes");
    // All of the capacity at once: a vector that grows would leave a copy of the value behind.
    let mut sealed = Vec::with_capacity(HEAD_LEN + WRAPPED_LEN + NONCE_LEN + value.len() + TAG_LEN);
    append_wrapped(&mut sealed, key, random, place, data_key.as_ref());
    append_layer(&mut sealed, &data_cipher, random.bytes(), &context(&[FORMAT], place), value);
    sealed
}

/// A sealed value, taken apart but not opened.
pub(super) struct Envelope<'a> {
    head: &'a [u8; HEAD_LEN],
    wrapped: &'a [u8; WRAPPED_LEN],
    content: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// `None` when it is too short or of a format that we do not know.
    pub(super) fn parse(sealed: &'a [u8]) -> Option<Self> {
        key_of(sealed)?;
        let (head, rest) = sealed.split_first_chunk()?;
        let (wrapped, content) = rest.split_first_chunk()?;
        Some(Self { head, wrapped, content })
    }

    pub(super) fn key_id(&self) -> KeyId {
        let [_, id @ ..] = *self.head;
        KeyId(id)
    }

    /// The value; `None` when anything about it, or its place, has changed.
    pub(super) fn open(&self, key: &VaultKey, place: &Place<'_>) -> Option<Zeroizing<Vec<u8>>> {
        let data_key = open_layer(&key.cipher, &context(self.head, place), self.wrapped)?;
        let context = if self.head[0] == FIRST { context(self.head, place) } else { context(&[FORMAT], place) };
        open_layer(&cipher(&data_key)?, &context, self.content)
    }

    /// The same value under another vault key. Its own ciphertext stays as it is, but for the first format, which is
    /// left behind. `None` as in [`Envelope::open`], as far as it looks: into the wrapped key only.
    pub(super) fn rewrap(&self, from: &VaultKey, to: &VaultKey, random: &Random, place: &Place<'_>) -> Option<Vec<u8>> {
        if self.head[0] == FIRST {
            return Some(seal(to, random, place, &self.open(from, place)?));
        }
        let data_key = open_layer(&from.cipher, &context(self.head, place), self.wrapped)?;
        let mut sealed = Vec::with_capacity(HEAD_LEN + WRAPPED_LEN + self.content.len());
        append_wrapped(&mut sealed, to, random, place, &data_key);
        sealed.extend_from_slice(self.content);
        Some(sealed)
    }
}

/// The key that a value was sealed with, of which at least the beginning is given; `None` when nothing of ours begins so.
pub(super) fn key_of(beginning: &[u8]) -> Option<KeyId> {
    let [FIRST | FORMAT, rest @ ..] = beginning else { return None };
    Some(KeyId(*rest.first_chunk()?))
}

/// Head and data key. The key's id is authenticated here, and only here, so that another key can take over.
fn append_wrapped(sealed: &mut Vec<u8>, key: &VaultKey, random: &Random, place: &Place<'_>, data_key: &[u8]) {
    let head = key.head();
    sealed.extend_from_slice(&head);
    append_layer(sealed, &key.cipher, random.bytes(), &context(&head, place), data_key);
}

/// The additional data of a layer. Every part is preceded by its length, so that no two places share an encoding.
fn context(head: &[u8], place: &Place<'_>) -> Vec<u8> {
    let mut context = head.to_vec();
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
