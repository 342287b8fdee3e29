//! What a backup says of itself, and the key that it is sealed with.

use super::stream::{KEY_LEN, Opening, Sealing};
use super::{damaged, unwritable};
use crate::error::Fault;
use crate::ids::{Digest, Random};
use crate::store::transfer::Table;
use crate::vault::{Place, Vault, VaultError};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use zeroize::Zeroizing;

/// The beginning of every backup; the number is that of the format.
const MAGIC: &[u8] = b"portcullis backup 1\n";

/// More is no header of ours.
const LONGEST: u32 = 1 << 20;

/// What a backup says of itself, to whoever has the file. A change of it is noticed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The version of the program that wrote it.
    pub version: String,
    /// The newest migration of the database.
    pub schema: i64,
    /// When it was written, in seconds since the Unix epoch.
    pub created_at: i64,
    /// The ids of the vault keys that values in it are sealed with.
    pub vault_keys: Vec<String>,
    /// The tables, in their order.
    pub tables: Vec<Table>,
    /// The key of this file, sealed by the vault, in base64.
    pub(super) key: String,
}

/// A backup whose key is known.
pub(super) struct Opened<R> {
    pub(super) header: Header,
    pub(super) opening: Opening<R>,
}

impl Header {
    /// How many rows there are in all.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Writes the header with a fresh key.
    pub(super) fn begin<W: Write>(
        mut self,
        vault: &Vault,
        random: &Random,
        mut out: W,
    ) -> Result<(Self, Sealing<W>), Fault> {
        let key = Zeroizing::new(random.bytes::<KEY_LEN>());
        self.key = BASE64.encode(&vault.seal(&PLACE, key.as_ref()));
        let text = serde_json::to_vec(&self).map_err(Fault::gateway)?;
        let length = u32::try_from(text.len()).ok().filter(|length| *length <= LONGEST);
        let length = length.ok_or_else(|| Fault::gateway("the header of the backup is too long"))?;
        let written = out.write_all(MAGIC).and_then(|()| out.write_all(&length.to_be_bytes()));
        written.and_then(|()| out.write_all(&text)).map_err(unwritable)?;
        let sealing = Sealing::new(out, key.as_ref(), Digest::of(&text))?;
        Ok((self, sealing))
    }
}

impl<R: Read> Opened<R> {
    pub(super) fn read(vault: &Vault, mut input: R) -> Result<Self, Fault> {
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).map_err(|_| no_backup())?;
        if magic != MAGIC {
            let ours = magic.starts_with(b"portcullis backup ");
            return Err(if ours { newer() } else { no_backup() });
        }
        let mut length = [0; 4];
        input.read_exact(&mut length).map_err(|_| damaged())?;
        let length = u32::from_be_bytes(length);
        if length > LONGEST {
            return Err(damaged());
        }
        let mut text = vec![0; length as usize];
        input.read_exact(&mut text).map_err(|_| damaged())?;
        let header: Header = serde_json::from_slice(&text).map_err(|_| damaged())?;
        let sealed = BASE64.decode(header.key.as_bytes()).map_err(|_| damaged())?;
        let key = vault.open(&PLACE, &sealed).map_err(|error| match error {
            VaultError::UnknownKey(id) => Fault::caller(format!(
                "the backup is sealed with the vault key {id}, which is not configured: make it vault.key_file, or list it in \
                 vault.previous_key_files"
            )),
            VaultError::Rejected => damaged(),
        })?;
        let opening = Opening::new(input, &key, Digest::of(&text))?;
        Ok(Self { header, opening })
    }
}

/// A file is no row, and has no name that lasts.
const PLACE: Place<'static> = Place { table: "", row: "", column: "backup", person: "", upstream: "" };

fn no_backup() -> Fault {
    Fault::caller("this is no backup of portcullis: name a file that `portcullis backup` wrote")
}

fn newer() -> Fault {
    Fault::caller("the backup was written by a newer version of portcullis: restore it with that version")
}
