//! A long text sealed in chunks (STREAM, Hoang, Reyhanitabar, Rogaway, Vizár 2015; as in age): each chunk has its number and
//! whether it is the last in its nonce, so that none can be left out, repeated, moved, or cut off.

use super::damaged;
use crate::error::Fault;
use crate::ids::Digest;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

pub(super) const KEY_LEN: usize = 32;

const CHUNK: usize = 64 * 1024;
const TAG_LEN: usize = 16;

/// Seals what is written.
pub(super) struct Sealing<W> {
    out: W,
    cipher: Cipher,
    /// Less than a chunk, or a whole one that may be the last.
    waiting: Zeroizing<Vec<u8>>,
}

/// Opens what is read; fails with `InvalidData` where it was changed.
pub(super) struct Opening<R> {
    input: R,
    cipher: Cipher,
    open: Zeroizing<Vec<u8>>,
    taken: usize,
    /// What comes after the chunk that is open; empty after the last.
    ahead: Vec<u8>,
    cut_off: bool,
}

/// A key that seals one text, and which chunk is next.
struct Cipher {
    key: LessSafeKey,
    header: Digest,
    number: u64,
}

impl<W: Write> Sealing<W> {
    pub(super) fn new(out: W, key: &[u8], header: Digest) -> Result<Self, Fault> {
        Ok(Self { out, cipher: Cipher::new(key, header)?, waiting: Zeroizing::new(Vec::with_capacity(CHUNK)) })
    }

    /// Seals what is left as the last chunk.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        Ok(self.out)
    }

    fn seal(&mut self, is_last: bool) -> io::Result<()> {
        let nonce = self.cipher.next(is_last);
        let mut chunk = self.waiting.to_vec();
        let aad = Aad::from(self.cipher.header.0);
        let tag = self.cipher.key.seal_in_place_separate_tag(nonce, aad, &mut chunk);
        let tag = tag.map_err(|_| io::Error::other("a chunk cannot be sealed"))?;
        self.waiting.clear();
        self.out.write_all(&chunk)?;
        self.out.write_all(tag.as_ref())
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting.len() == CHUNK {
            self.seal(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<R: Read> Opening<R> {
    pub(super) fn new(mut input: R, key: &[u8], header: Digest) -> Result<Self, Fault> {
        let ahead = piece(&mut input).map_err(|error| unreadable(&error))?;
        let cipher = Cipher::new(key, header)?;
        Ok(Self { input, cipher, open: Zeroizing::default(), taken: 0, ahead, cut_off: false })
    }

    /// Nothing may come after what has been read.
    pub(super) fn expect_end(&mut self) -> Result<(), Fault> {
        match self.read(&mut [0]) {
            Ok(0) => Ok(()),
            _ => Err(self.fault()),
        }
    }

    /// Why it cannot be read on.
    pub(super) fn fault(&self) -> Fault {
        match self.cut_off {
            true => Fault::caller("the backup is cut off: use a complete copy of it, or another backup"),
            false => damaged(),
        }
    }

    fn next(&mut self) -> io::Result<()> {
        let sealed = std::mem::take(&mut self.ahead);
        self.ahead = piece(&mut self.input)?;
        let is_last = self.ahead.is_empty();
        let number = self.cipher.number;
        let opened = self.cipher.open(&sealed, is_last);
        if opened.is_none() && is_last {
            self.cipher.number = number;
            self.cut_off = self.cipher.open(&sealed, false).is_some();
        }
        self.open = opened.ok_or(io::ErrorKind::InvalidData)?;
        self.taken = 0;
        Ok(())
    }
}

impl<R: Read> Read for Opening<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.open.len() {
            // Every text has a last chunk, and nothing follows it.
            if self.ahead.is_empty() {
                let complete = self.cipher.number > 0;
                self.cut_off = !complete;
                return if complete { Ok(0) } else { Err(io::ErrorKind::InvalidData.into()) };
            }
            self.next()?;
        }
        let length = buffer.len().min(self.open.len() - self.taken);
        buffer[..length].copy_from_slice(&self.open[self.taken..self.taken + length]);
        self.taken += length;
        Ok(length)
    }
}

impl Cipher {
    fn new(key: &[u8], header: Digest) -> Result<Self, Fault> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| damaged())?;
        Ok(Self { key: LessSafeKey::new(key), header, number: 0 })
    }

    /// The key is this file's alone, so numbers are nonces.
    fn next(&mut self, is_last: bool) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[3..11].copy_from_slice(&self.number.to_be_bytes());
        nonce[11] = u8::from(is_last);
        self.number += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    fn open(&mut self, sealed: &[u8], is_last: bool) -> Option<Zeroizing<Vec<u8>>> {
        let nonce = self.next(is_last);
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let length = self.key.open_in_place(nonce, Aad::from(self.header.0), &mut buffer).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    }
}

/// A whole sealed chunk, or what is left.
fn piece(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut piece = Vec::new();
    input.take((CHUNK + TAG_LEN) as u64).read_to_end(&mut piece)?;
    Ok(piece)
}

fn unreadable(error: &io::Error) -> Fault {
    Fault::caller(format!("the backup cannot be read: {error}"))
}
