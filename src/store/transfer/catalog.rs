//! Which tables there are, as the database itself says: a table of the next migration is taken along by itself.

use super::LEFT_OUT;
use crate::store::StoreError;
use sqlx::{SqliteConnection, query_as, query_scalar};

/// A table as rows are read from it and written to it.
#[derive(Clone)]
pub(super) struct Layout {
    pub(super) name: String,
    /// Sorted by name.
    pub(super) columns: Vec<Column>,
    /// The names of the primary key's columns, in its order.
    pub(super) key: Vec<String>,
}

/// A column and how its values travel.
#[derive(Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Text,
    Bytes,
}

impl Layout {
    pub(super) fn column_names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }
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
    let select = query_as("SELECT name, type, pk FROM pragma_table_info(?) ORDER BY name").bind(&name);
    let found: Vec<(String, String, i64)> = select.fetch_all(connection).await?;
    let mut key: Vec<_> = found.iter().filter(|(_, _, place)| *place > 0).collect();
    key.sort_by_key(|(_, _, place)| *place);
    let key = key.into_iter().map(|(name, ..)| name.clone()).collect();
    let column = |(name, kind, _): (String, String, i64)| match kind.as_str() {
        "INTEGER" => Ok(Column { name, kind: Kind::Integer }),
        "TEXT" => Ok(Column { name, kind: Kind::Text }),
        "BLOB" => Ok(Column { name, kind: Kind::Bytes }),
        _ => Err(StoreError::Damaged("catalog")),
    };
    let columns = found.into_iter().map(column).collect::<Result<_, _>>()?;
    Ok(Layout { name, columns, key })
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
