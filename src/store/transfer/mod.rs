//! The whole database as a stream of rows, out of one and into another: what backups and moves between databases are
//! made of. Tables come in an order in which every row refers only to rows before it.
//!
//! The journal of changes is left out: it is for processes that run, and those begin with its newest entry.

mod catalog;
mod export;
mod import;
mod sql;
mod value;

pub use export::Export;
pub use import::Import;
pub(super) use sql::{Argument, Cells, argument, push_row};
pub use value::{Row, Summary, Table, Tally, Value};

/// How many rows are read at a time.
const ROWS: i64 = 500;

/// What is no state of the installation: sqlx's own table, the journal of changes, which processes serve, and what is open there.
const LEFT_OUT: [&str; 5] = ["_sqlx_migrations", "changes", "nodes", "activity_nodes", "activity_streams"];

/// An identifier of the catalog as SQL takes it, reserved words included.
fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn quoted_list(identifiers: &[String]) -> String {
    identifiers.iter().map(|one| quoted(one)).collect::<Vec<_>>().join(", ")
}
