//! Out of a database that is in use: all rows as they are at one moment.

use super::catalog::{self, Layout};
use super::sql::{Cells, number, push_row};
use super::{ROWS, Row, Table, Value, quoted, quoted_list};
use crate::store::database::{QueryBuilder, Transaction};
use crate::store::{Store, StoreError};

/// All rows of a database at the moment when this began; nobody who writes waits for it.
pub struct Export {
    transaction: Transaction,
    layouts: Vec<Layout>,
    tables: Vec<Table>,
    schema: i64,
    at: usize,
    /// The key of the last row that was read of this table.
    after: Option<Row>,
}

impl Store {
    /// Begins to read everything.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn export(&self) -> Result<Export, StoreError> {
        let mut transaction = self.database.snapshot().await?;
        let schema = schema_version(&mut transaction).await?;
        let layouts = catalog::read(&mut transaction).await?;
        let mut tables = Vec::with_capacity(layouts.len());
        for layout in &layouts {
            let rows = count(&mut transaction, &layout.name).await?;
            tables.push(Table { name: layout.name.clone(), columns: layout.columns.clone(), rows });
        }
        Ok(Export { transaction, layouts, tables, schema, at: 0, after: None })
    }
}

impl Export {
    /// The number of the newest migration of the database.
    pub fn schema(&self) -> i64 {
        self.schema
    }

    /// The tables in the order in which their rows come.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The next rows, all of one table; `None` after the last.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn next(&mut self) -> Result<Option<(&Table, Vec<Row>)>, StoreError> {
        while let Some(layout) = self.layouts.get(self.at) {
            let rows = page(&mut self.transaction, layout, self.after.as_deref()).await?;
            let Some(last) = rows.last() else {
                (self.at, self.after) = (self.at + 1, None);
                continue;
            };
            self.after = Some(key_of(layout, last));
            return Ok(self.tables.get(self.at).map(|table| (table, rows)));
        }
        Ok(None)
    }
}

/// The number of the newest migration.
pub(super) async fn schema_version(transaction: &mut Transaction) -> Result<i64, StoreError> {
    let select = QueryBuilder::new("SELECT MAX(version) FROM _sqlx_migrations").build_query_as::<Cells>();
    number(select.fetch_optional(transaction).await?)
}

pub(super) async fn count(transaction: &mut Transaction, table: &str) -> Result<u64, StoreError> {
    let select = QueryBuilder::new(&format!("SELECT COUNT(*) FROM {}", quoted(table))).build_query_as::<Cells>();
    Ok(number(select.fetch_optional(transaction).await?)?.unsigned_abs())
}

/// The rows that come after a key, in the order of keys.
pub(super) async fn page(
    transaction: &mut Transaction,
    layout: &Layout,
    after: Option<&[Value]>,
) -> Result<Vec<Row>, StoreError> {
    let key = quoted_list(&layout.key);
    let columns = quoted_list(&layout.columns);
    let mut select = QueryBuilder::new(&format!("SELECT {columns} FROM {}", quoted(&layout.name)));
    if let Some(after) = after {
        select.push(&format!(" WHERE ({key}) > "));
        push_row(&mut select, after.iter().map(|value| (value, false)));
    }
    select.push(&format!(" ORDER BY {key} LIMIT {ROWS}"));
    let rows = select.build_query_as::<Cells>().fetch_all(transaction).await?;
    Ok(rows.into_iter().map(|Cells(row)| row).collect())
}

pub(super) fn key_of(layout: &Layout, row: &[Value]) -> Row {
    let position = |name: &String| layout.columns.iter().position(|column| column == name);
    layout.key.iter().filter_map(position).filter_map(|at| row.get(at).cloned()).collect()
}
