//! Which tables there are, as the database itself says: a table of the next migration is taken along by itself.

use super::LEFT_OUT;
use crate::store::StoreError;
use crate::store::database::{Transaction, query_as, query_scalar};

/// A table as rows are read from it and written to it.
#[derive(Clone)]
pub(super) struct Layout {
    pub(super) name: String,
    /// Sorted by name.
    pub(super) columns: Vec<String>,
    /// Which of them keep what is true or false.
    pub(super) booleans: Vec<bool>,
    /// Which of them the database numbers by itself.
    pub(super) numbered: Vec<String>,
    /// The names of the primary key's columns, in its order.
    pub(super) key: Vec<String>,
}

/// How a database is asked about itself.
struct Questions {
    tables: &'static str,
    /// Name; type; whether the database numbers it.
    columns: &'static str,
    key: &'static str,
    references: &'static str,
}

const SQLITE: Questions = Questions {
    tables: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'",
    columns: "SELECT name, lower(type), 'no' FROM pragma_table_info(?)",
    key: "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk",
    references: "SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?)",
};

const POSTGRES: Questions = Questions {
    tables: "SELECT CAST(table_name AS TEXT) FROM information_schema.tables
             WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'",
    columns: "SELECT CAST(column_name AS TEXT), CAST(data_type AS TEXT), lower(CAST(is_identity AS TEXT))
              FROM information_schema.columns
              WHERE table_schema = current_schema() AND CAST(table_name AS TEXT) = ?",
    key: "SELECT CAST(k.column_name AS TEXT) FROM information_schema.table_constraints c
          JOIN information_schema.key_column_usage k
            ON k.constraint_schema = c.constraint_schema AND k.constraint_name = c.constraint_name
          WHERE c.constraint_type = 'PRIMARY KEY' AND c.table_schema = current_schema()
            AND CAST(c.table_name AS TEXT) = ? ORDER BY k.ordinal_position",
    references: "SELECT DISTINCT CAST(f.relname AS TEXT) FROM pg_constraint c
                 JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class f ON f.oid = c.confrelid
                 WHERE c.contype = 'f' AND t.relnamespace = CAST(current_schema() AS regnamespace)
                   AND CAST(t.relname AS TEXT) = ?",
};

/// All tables, those that others refer to first.
pub(super) async fn read(transaction: &mut Transaction) -> Result<Vec<Layout>, StoreError> {
    let questions = if transaction.is_postgres() { &POSTGRES } else { &SQLITE };
    let mut names: Vec<String> = query_scalar(questions.tables).fetch_all(&mut *transaction).await?;
    // Databases sort differently.
    names.sort();
    let mut tables = Vec::new();
    for name in names.into_iter().filter(|name| !LEFT_OUT.contains(&name.as_str())) {
        let select = query_scalar(questions.references).bind(&name);
        let refers_to: Vec<String> = select.fetch_all(&mut *transaction).await?;
        tables.push((layout(transaction, questions, name).await?, refers_to));
    }
    in_order(tables)
}

async fn layout(transaction: &mut Transaction, questions: &Questions, name: String) -> Result<Layout, StoreError> {
    let select = query_as(questions.columns).bind(&name);
    let mut columns: Vec<(String, String, String)> = select.fetch_all(&mut *transaction).await?;
    columns.sort();
    let key = query_scalar(questions.key).bind(&name).fetch_all(&mut *transaction).await?;
    let numbered = columns.iter().filter(|(.., numbered)| numbered == "yes").map(|(name, ..)| name.clone()).collect();
    let booleans = columns.iter().map(|(_, kind, _)| kind == "boolean").collect();
    let columns = columns.into_iter().map(|(name, ..)| name).collect();
    Ok(Layout { name, columns, booleans, numbered, key })
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
