//! Out of a backup into a database: all of it or nothing.

use super::frames::Frame;
use super::header::Opened;
use super::{Header, Told, check, damaged};
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::store::Store;
use crate::store::transfer::{Import, Summary};
use crate::vault::{KeyId, Vault};
use std::io::{Read, Seek};

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// What the backup says of itself.
    pub header: Header,
    /// Whether everybody was signed out.
    pub signed_out: bool,
}

/// What is to happen besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choices {
    /// What the database holds is given up.
    pub replace: bool,
    /// Whoever was signed in at the time of the backup is not.
    pub sign_everybody_out: bool,
}

/// Puts a backup into a database. First the whole file is checked; then everything happens in one transaction, which is
/// compared with the file before it is committed.
///
/// # Errors
/// As [`check`]; when the database holds something and may not be replaced; when the backup is of a newer schema, or needs a
/// vault key that is missing. The database is as it was then.
pub async fn restore(
    (store, vault): (&Store, &Vault),
    mut input: impl Read + Seek,
    choices: Choices,
    now: Timestamp,
    told: Told<'_>,
) -> Result<Restored, Fault> {
    let (header, expected) = check(vault, &mut input, told)?;
    fits(&header, vault)?;
    let mut import = store.import().await?;
    // Numbers of migrations are compared only for the message: the two kinds of database have different ones.
    if !import.has_tables(&header.tables) {
        let is_newer = header.schema > import.schema();
        let (age, fix) = match is_newer {
            true => ("newer", "restore it with that version"),
            false => ("older", "restore it with that version, then start this one on the database"),
        };
        return Err(Fault::caller(format!(
            "the backup was written by version {} of portcullis, whose database is {age}: {fix}",
            header.version
        )));
    }
    let rows = import.rows().await?;
    if rows > 0 && !choices.replace {
        return Err(Fault::caller(format!(
            "the database is not empty (it holds {rows} rows): choose another one in store.url, or give up everything that \
             it holds with --force"
        )));
    }
    input.rewind().map_err(|error| Fault::caller(format!("the backup cannot be read again: {error}")))?;
    import.clear().await?;
    fill(&mut import, vault, input, &expected, told).await?;
    if choices.sign_everybody_out {
        import.sign_everybody_out(now).await?;
    }
    import.commit().await?;
    Ok(Restored { header, signed_out: choices.sign_everybody_out })
}

/// Whether what it holds can be opened afterwards.
fn fits(header: &Header, vault: &Vault) -> Result<(), Fault> {
    for text in &header.vault_keys {
        let id: KeyId = text.parse().map_err(|_| damaged())?;
        if !vault.has_key(id) {
            return Err(Fault::caller(format!(
                "values in the backup are sealed with the vault key {id}, which is not configured: list it in \
                 vault.previous_key_files"
            )));
        }
    }
    Ok(())
}

async fn fill(
    import: &mut Import,
    vault: &Vault,
    input: impl Read,
    expected: &[Summary],
    told: Told<'_>,
) -> Result<(), Fault> {
    let Opened { header, mut opening } = Opened::read(vault, input)?;
    let (of, mut done) = (header.rows(), 0);
    while let Frame::Rows { table, columns, rows } = Frame::read(&mut opening)? {
        import.insert(&table, &columns, &rows).await?;
        done += rows.len() as u64;
        told(&table, done, of);
    }
    let found = import.summaries().await?;
    let same = found.len() == expected.len() && found.iter().all(|summary| expected.contains(summary));
    same.then_some(()).ok_or_else(|| Fault::gateway("what the database took is not what the backup holds"))
}
