//! Into a database, all rows or none.

use super::catalog::{self, Layout};
use super::export::{count, key_of, page, schema_version};
use super::{Row, Summary, Tally, Value, quoted, quoted_list};
use crate::clock::Timestamp;
use crate::store::{Store, StoreError};
use sqlx::{QueryBuilder, Sqlite, Transaction};

/// How many values one statement may have, in either database.
const VALUES: usize = 30_000;

/// A database that is being filled in one transaction: until [`Import::commit`] nobody sees anything of it, and what is
/// dropped before, or dies, leaves the database as it was.
pub struct Import {
    transaction: Transaction<'static, Sqlite>,
    layouts: Vec<Layout>,
    schema: i64,
}

impl Store {
    /// Begins to write rows from elsewhere. Others who write wait until the end.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn import(&self) -> Result<Import, StoreError> {
        let mut transaction = self.sqlite.transaction().await?;
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
            let mut delete = QueryBuilder::<Sqlite>::new("DELETE FROM ");
            delete.push(quoted(&layout.name)).build().execute(&mut *self.transaction).await?;
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
        let known = |name| layout.columns.contains(name);
        let fits = !columns.is_empty() && columns.iter().all(known) && rows.iter().all(|row| row.len() == columns.len());
        if !fits {
            return Err(StoreError::Damaged("list of columns"));
        }
        for rows in rows.chunks((VALUES / columns.len()).max(1)) {
            let head = format!("INSERT INTO {} ({}) ", quoted(table), quoted_list(columns));
            let mut insert = QueryBuilder::<Sqlite>::new(head);
            insert.push_values(rows, |mut values, row| {
                for value in row {
                    match value {
                        Value::Null => values.push("NULL"),
                        Value::Integer(number) => values.push_bind(*number),
                        Value::Text(text) => values.push_bind(text),
                        Value::Bytes(bytes) => values.push_bind(bytes),
                    };
                }
            });
            insert.build().persistent(false).execute(&mut *self.transaction).await?;
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
        for table in ["sessions", "refresh_tokens", "codes", "flows", "device_codes", "signing_keys"] {
            let mut delete = QueryBuilder::<Sqlite>::new("DELETE FROM ");
            delete.push(quoted(table)).build().execute(&mut *self.transaction).await?;
        }
        let mut update = QueryBuilder::<Sqlite>::new("UPDATE grants SET revoked_at = ");
        update.push_bind(now).push(" WHERE revoked_at IS NULL");
        update.build().execute(&mut *self.transaction).await?;
        Ok(())
    }

    /// Makes everything visible and durable.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }
}
