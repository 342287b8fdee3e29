//! Backups: everything that the database holds, as it was at one moment, in one sealed file that either kind of database
//! takes back.
//!
//! | part | what |
//! |---|---|
//! | `portcullis backup 1\n` | |
//! | 4 bytes | length of the header, big-endian |
//! | header | JSON ([`Header`]): readable without a key, authenticated with the rest |
//! | chunks | `stream.rs`: AES-256-GCM under a key of this file alone, which the header holds sealed by the vault |
//!
//! Inside are frames (`frames.rs`): rows, table by table, and at the end how many there were and a digest of each table.
//! What the vault sealed in the database stays sealed in it.

mod frames;
mod header;
mod restore;
mod stream;
#[cfg(test)]
mod tests;

pub use header::Header;
pub use restore::{Choices, Restored, restore};

use crate::clock::Timestamp;
use crate::error::Fault;
use crate::ids::Random;
use crate::store::Store;
use crate::store::transfer::{Summary, Tally};
use crate::vault::Vault;
use frames::Frame;
use header::Opened;
use std::io::{BufWriter, Read, Write};
use stream::Sealing;

/// How far it is: the table, how many rows are done, and how many there are.
pub type Told<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// Writes a backup of a database that may be in use.
///
/// # Errors
/// When the database or the file fails.
pub async fn write(
    (store, vault): (&Store, &Vault),
    now: Timestamp,
    random: &Random,
    out: impl Write,
    told: Told<'_>,
) -> Result<Header, Fault> {
    let vault_keys = vault.keys_of(store).await?.iter().map(ToString::to_string).collect();
    let mut export = store.export().await?;
    let header = Header {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema: export.schema(),
        created_at: now.0,
        vault_keys,
        tables: export.tables().to_vec(),
        key: String::new(),
    };
    let (header, mut sealing) = header.begin(vault, random, BufWriter::new(out))?;
    let (of, mut done) = (header.rows(), 0);
    let mut tallies: Vec<Tally> = vec![Tally::default(); header.tables.len()];
    while let Some((table, rows)) = export.next().await? {
        done += rows.len() as u64;
        told(&table.name, done, of);
        let at = header.tables.iter().position(|one| one.name == table.name);
        let tally =
            at.and_then(|at| tallies.get_mut(at)).ok_or_else(|| Fault::gateway("a table came up unannounced"))?;
        rows.iter().for_each(|row| tally.add(row));
        let (table, columns) = (table.name.clone(), table.columns.clone());
        Frame::Rows { table, columns, rows }.write(&mut sealing)?;
    }
    let summaries = header.tables.iter().zip(&tallies).map(|(table, tally)| tally.summary(&table.name)).collect();
    Frame::End(summaries).write(&mut sealing)?;
    finish(sealing)?;
    Ok(header)
}

fn finish<W: Write>(sealing: Sealing<BufWriter<W>>) -> Result<(), Fault> {
    let mut out = sealing.finish().map_err(unwritable)?;
    out.flush().map_err(unwritable)
}

/// Reads a whole backup and changes nothing.
///
/// # Errors
/// When it is no backup, is damaged or cut off, or was sealed with a key that the vault does not have.
pub fn check(vault: &Vault, input: impl Read, told: Told<'_>) -> Result<(Header, Vec<Summary>), Fault> {
    let Opened { header, mut opening } = Opened::read(vault, input)?;
    let (of, mut done) = (header.rows(), 0);
    let mut tallies: Vec<Tally> = vec![Tally::default(); header.tables.len()];
    loop {
        match Frame::read(&mut opening)? {
            Frame::Rows { table, columns, rows } => {
                let at = header.tables.iter().position(|one| one.name == table && one.columns == columns);
                let tally = at.and_then(|at| tallies.get_mut(at)).ok_or_else(damaged)?;
                done += rows.len() as u64;
                told(&table, done, of);
                if rows.iter().any(|row| row.len() != columns.len()) {
                    return Err(damaged());
                }
                rows.iter().for_each(|row| tally.add(row));
            }
            Frame::End(expected) => {
                opening.expect_end()?;
                let found = header.tables.iter().zip(&tallies).map(|(table, tally)| tally.summary(&table.name));
                let announced = header.tables.iter().zip(&tallies).all(|(table, tally)| table.rows == tally.rows());
                if !announced || !found.eq(expected.iter().cloned()) {
                    return Err(damaged());
                }
                return Ok((header, expected));
            }
        }
    }
}

fn damaged() -> Fault {
    Fault::caller("the backup is damaged or incomplete: use another copy of it, or another backup")
}

fn unwritable(error: std::io::Error) -> Fault {
    Fault::gateway(format!("the backup cannot be written: {error}"))
}
