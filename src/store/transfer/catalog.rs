//! Which tables there are, as the database itself says: a table of the next migration is taken along by itself.

use super::LEFT_OUT;
use crate::store::StoreError;
use sqlx::{SqliteConnection, query_as, query_scalar};

/// A table as rows are read from it and written to it.
#[derive(Clone)]
pub(super) struct Layout {
    pub(super) name: String,
    /// Sorted by name.
    pub(super) columns: Vec<String>,
    /// The names of the primary key's columns, in its order.
    pub(super) key: Vec<String>,
}

/// All tables, those that others refer to first.
pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Vec<Layout>, StoreError> {
    let select = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' \
                  ORDER BY name";
    let names: Vec<String> = query_scalar(select).fetch_all(&mut *connection).await?;
    let mut tables = Vec::new();
    for name in names.into_iter().filter(|name| !LEFT_OUT.contains(&name.as_str())) {
        let select = query_scalar("SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?)").bind(&name);
        let refers_to: Vec<String> = select.fetch_all(&mut *connection).await?;
        tables.push((layout(connection, name).await?, refers_to));
    }
    in_order(tables)
}

async fn layout(connection: &mut SqliteConnection, name: String) -> Result<Layout, StoreError> {
    let select = query_as("SELECT name, pk FROM pragma_table_info(?) ORDER BY name").bind(&name);
    let columns: Vec<(String, i64)> = select.fetch_all(connection).await?;
    let mut key: Vec<_> = columns.iter().filter(|(_, place)| *place > 0).collect();
    key.sort_by_key(|(_, place)| *place);
    let key = key.into_iter().map(|(name, _)| name.clone()).collect();
    Ok(Layout { name, columns: columns.into_iter().map(|(name, _)| name).collect(), key })
}

fn in_order(mut waiting: Vec<(Layout, Vec<String>)>) -> Result<Vec<Layout>, StoreError> {
    let mut done: Vec<Layout> = Vec::new();
    while !waiting.is_empty() {
        let names: Vec<String> = waiting.iter().map(|(table, _)| table.name.clone()).collect();
        let is_free = |(table, refers_to): &(Layout, Vec<String>)| {
            !refers_to.iter().any(|other| *other != table.name && names.contains(other))
        };
        let (free, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_free);
        if free.is_empty() {
            return Err(StoreError::Damaged("catalog"));
        }
        done.extend(free.into_iter().map(|(table, _)| table));
        waiting = rest;
    }
    Ok(done)
}
