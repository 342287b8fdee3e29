//! An installation moves from one database into another, of whichever kind, all of it or nothing. What the vault sealed stays
//! sealed, so the key is the same afterwards, and nobody notices but for the time that it takes.

use crate::error::Fault;
use crate::store::Store;
use crate::store::transfer::{Summary, Tally};
use std::collections::BTreeMap;

/// How far it is: the table, how many rows are done, and how many there are.
pub type Told<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// Copies everything from the database at one URL into the empty one at another. It is written in one transaction, read again
/// and compared before it is committed: killed at any point, the target is as empty as before. Nobody can write into a source
/// of SQLite meanwhile. What each table holds now.
///
/// # Errors
/// When one of them cannot be opened, somebody uses either, the source holds nothing or the target anything, or what arrived is
/// not what was sent.
pub async fn copy_all(from: &str, to: &str, told: Told<'_>) -> Result<Vec<Summary>, Fault> {
    must_be_idle(from, "first").await?;
    must_be_idle(to, "second").await?;
    let (source, target) = (Store::open_existing(from).await?, Store::open(to).await?);
    // Never committed: as long as it lasts nobody else writes.
    let quiet = source.import().await?;
    let copied = copy(&source, &target, told).await;
    drop(quiet);
    target.close().await;
    source.close().await;
    copied
}

async fn copy(source: &Store, target: &Store, told: Told<'_>) -> Result<Vec<Summary>, Fault> {
    let (mut export, mut import) = (source.export().await?, target.import().await?);
    let of: u64 = export.tables().iter().map(|table| table.rows).sum();
    if of == 0 {
        return Err(Fault::caller("the first database holds nothing: look whether that is the right one"));
    }
    let there = import.rows().await?;
    if there > 0 {
        return Err(Fault::caller(format!(
            "the second database is not empty (it holds {there} rows): name a new one, so that nothing is mixed or lost"
        )));
    }
    let mut sent: BTreeMap<String, Tally> =
        export.tables().iter().map(|t| (t.name.clone(), Tally::default())).collect();
    let mut done = 0;
    while let Some((table, rows)) = export.next().await? {
        import.insert(&table.name, &table.columns, &rows).await?;
        let tally = sent.entry(table.name.clone()).or_default();
        rows.iter().for_each(|row| tally.add(row));
        done += rows.len() as u64;
        told(&table.name, done, of);
    }
    let sent: Vec<Summary> = sent.iter().map(|(name, tally)| tally.summary(name)).collect();
    let arrived = import.summaries().await?;
    if let Some(table) = sent.iter().find(|summary| !arrived.contains(summary)) {
        let text = format!("what arrived in the table {} is not what was sent: nothing was kept", table.table);
        return Err(Fault::caller(text));
    }
    import.commit().await?;
    Ok(sent)
}

async fn must_be_idle(url: &str, which: &str) -> Result<(), Fault> {
    match Store::is_in_use(url).await? {
        false => Ok(()),
        true => Err(Fault::caller(format!(
            "the {which} database is in use: stop every gateway (and whatever else has it open), then try again"
        ))),
    }
}
