//! `migrate`: from one database into another.

use super::Failure;
use super::output::{Output, counted};
use crate::moving;
use serde_json::json;

/// `portcullis migrate FROM TO`
pub(super) async fn migrate(from: &str, to: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut progress = output.progress();
    let copied = moving::copy_all(from, to, &mut |table, done, of| progress.show(table, done, of)).await;
    progress.end();
    let tables = copied?;
    if output.json {
        return Ok(output.line(format_args!("{}", json!({ "tables": tables })))?);
    }
    let rows = usize::try_from(tables.iter().map(|table| table.rows).sum::<u64>()).unwrap_or(usize::MAX);
    output.line(format_args!("moved {} of {}, each compared", counted(rows, "row"), counted(tables.len(), "table")))?;
    output.line(format_args!("now set store.url to the second URL; the vault key stays the same, on every node"))?;
    output.line(format_args!("the first database is as it was: keep it until you have seen the gateway run"))?;
    Ok(())
}
