//! Into a database, all rows or none.

use super::catalog::{self, Layout};
use super::export::{count, key_of, page, schema_version};
use super::sql::push_row;
use super::{Row, Summary, Table, Tally, quoted, quoted_list};
use crate::clock::Timestamp;
use crate::store::database::{QueryBuilder, Transaction, query};
use crate::store::{Change, Store, StoreError};

/// How many values one statement may have, in either database.
const VALUES: usize = 30_000;

/// A database that is being filled in one transaction: until [`Import::commit`] nobody sees anything of it, and what is
/// dropped before, or dies, leaves the database as it was.
pub struct Import {
    transaction: Transaction,
    layouts: Vec<Layout>,
    schema: i64,
}

impl Store {
    /// Begins to write rows from elsewhere.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn import(&self) -> Result<Import, StoreError> {
        let mut transaction = self.database.transaction().await?;
        let schema = schema_version(&mut transaction).await?;
        let layouts = catalog::read(&mut transaction).await?;
        Ok(Import { transaction, layouts, schema })
    }
}

impl Import {
    /// The number of the newest migration of the database.
    pub fn schema(&self) -> i64 {
        self.schema
    }

    /// Whether these are the tables that the database has, with the same columns.
    pub fn has_tables(&self, tables: &[Table]) -> bool {
        let is_there = |table: &Table| {
            self.layouts.iter().any(|layout| layout.name == table.name && layout.columns == table.columns)
        };
        tables.len() == self.layouts.len() && tables.iter().all(is_there)
    }

    /// How many rows there are, in all tables.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn rows(&mut self) -> Result<u64, StoreError> {
        let mut rows = 0;
        for layout in &self.layouts {
            rows += count(&mut self.transaction, &layout.name).await?;
        }
        Ok(rows)
    }

    /// Removes every row of every table.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn clear(&mut self) -> Result<(), StoreError> {
        for layout in self.layouts.iter().rev() {
            delete_all(&mut self.transaction, layout).await?;
        }
        Ok(())
    }

    /// Adds rows to a table; a column of the table that is not named gets its default.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when table, columns and rows do not fit this database; [`StoreError::Database`].
    pub async fn insert(&mut self, table: &str, columns: &[String], rows: &[Row]) -> Result<(), StoreError> {
        let layout = self.layouts.iter().find(|layout| layout.name == table);
        let layout = layout.ok_or(StoreError::Damaged("list of tables"))?;
        let position = |name| layout.columns.iter().position(|column| column == name);
        let kinds =
            columns.iter().map(|name| layout.booleans.get(position(name)?).copied()).collect::<Option<Vec<_>>>();
        let fits = !columns.is_empty() && rows.iter().all(|row| row.len() == columns.len());
        let kinds = kinds.filter(|_| fits).ok_or(StoreError::Damaged("list of columns"))?;
        for rows in rows.chunks((VALUES / columns.len()).max(1)) {
            let head = format!("INSERT INTO {} ({}) VALUES ", quoted(table), quoted_list(columns));
            let mut insert = QueryBuilder::new(&head);
            for (number, row) in rows.iter().enumerate() {
                insert.push(if number == 0 { "" } else { ", " });
                push_row(&mut insert, row.iter().zip(kinds.iter().copied()));
            }
            insert.build().execute(&mut self.transaction).await?;
        }
        Ok(())
    }

    /// What the tables hold now, read again: to be compared with what was sent.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn summaries(&mut self) -> Result<Vec<Summary>, StoreError> {
        let mut summaries = Vec::with_capacity(self.layouts.len());
        for layout in &self.layouts {
            let (mut tally, mut after) = (Tally::default(), None);
            loop {
                let rows = page(&mut self.transaction, layout, after.as_deref()).await?;
                let Some(last) = rows.last() else { break };
                after = Some(key_of(layout, last));
                rows.iter().for_each(|row| tally.add(row));
            }
            summaries.push(tally.summary(&layout.name));
        }
        Ok(summaries)
    }

    /// Ends what people and programs have open, as far as it is in these rows: sessions, tokens and what becomes one, and
    /// every standing grant. Connections, API keys and passwords stay. Without a signing key the gateway makes a new one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sign_everybody_out(&mut self, now: Timestamp) -> Result<(), StoreError> {
        const OPEN: [&str; 8] = [
            "sessions",
            "mcp_sessions",
            "refresh_tokens",
            "codes",
            "flows",
            "device_codes",
            "service_links",
            "signing_keys",
        ];
        for layout in self.layouts.iter().filter(|layout| OPEN.contains(&layout.name.as_str())) {
            delete_all(&mut self.transaction, layout).await?;
        }
        let update = query("UPDATE grants SET revoked_at = ? WHERE revoked_at IS NULL").bind(now);
        update.execute(&mut self.transaction).await?;
        Ok(())
    }

    /// Makes everything visible and durable. What the database numbers by itself goes on behind the last number.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn commit(mut self) -> Result<(), StoreError> {
        for layout in &self.layouts {
            for column in &layout.numbered {
                let (table, quoted_column) = (quoted(&layout.name), quoted(column));
                let mut set = QueryBuilder::new("SELECT setval(pg_get_serial_sequence(");
                set.push_bind(layout.name.as_str()).push(", ").push_bind(column.as_str());
                set.push(&format!("), COALESCE(MAX({quoted_column}), 0) + 1, FALSE) FROM {table}"));
                set.build().execute(&mut self.transaction).await?;
            }
        }
        for change in [Change::KeysChanged, Change::UpstreamsChanged, Change::PeopleChanged] {
            self.transaction.record(change);
        }
        self.transaction.commit().await
    }
}

/// In pieces, each of which a server of PostgreSQL does in the time that it gives to one statement.
async fn delete_all(transaction: &mut Transaction, layout: &Layout) -> Result<(), StoreError> {
    const PIECE: u64 = 10_000;
    let (table, key) = (quoted(&layout.name), quoted_list(&layout.key));
    let some = format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} LIMIT {PIECE})");
    while QueryBuilder::new(&some).build().execute(&mut *transaction).await?.rows_affected() >= PIECE {}
    Ok(())
}
