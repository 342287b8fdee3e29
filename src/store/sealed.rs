//! Columns that the vault seals, as the vault walks over them when another key takes over.

use super::transfer::{Row, Value};
use super::{Store, StoreError, transfer};
use data_encoding::BASE64;
use sqlx::{QueryBuilder, Row as _, Sqlite};

/// A column whose values the vault seals.
#[derive(Clone, Copy, Debug)]
pub struct SealedColumn {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The columns of the primary key, none of them a number.
    pub key: &'static [&'static str],
    /// What else has to be known of a row: columns, or expressions.
    pub about: &'static [&'static str],
    /// Whether values are base64 in a column of text, beside others that are JSON.
    pub is_text: bool,
}

/// A sealed value and the row that it is in.
pub struct SealedValue {
    /// As in [`SealedColumn::key`].
    pub key: Row,
    /// As in [`SealedColumn::about`].
    pub about: Row,
    /// The value.
    pub sealed: Vec<u8>,
}

impl Store {
    /// How many values begin with each sequence of `length` bytes, a multiple of 3.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sealed_beginnings(
        &self,
        column: &SealedColumn,
        length: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, StoreError> {
        let beginning = column.beginning(length);
        let mut select = QueryBuilder::<Sqlite>::new(format!("SELECT {beginning}, COUNT(*) FROM {}", column.table));
        select.push(format!(" WHERE {} GROUP BY {beginning}", column.is_sealed()));
        let rows = select.build().fetch_all(self.sqlite.readers()).await?;
        let read = |row| Some((column.decode(&transfer::read_value(row, 0).ok()?)?, row.try_get::<i64, _>(1).ok()?));
        Ok(rows.iter().filter_map(read).map(|(beginning, count)| (beginning, count.unsigned_abs())).collect())
    }

    /// At most `limit` values that begin with something else than `head` (its length a multiple of 3), in the order of
    /// their keys, after the key `after`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sealed_otherwise(
        &self,
        column: &SealedColumn,
        head: &[u8],
        after: Option<&[Value]>,
        limit: u32,
    ) -> Result<Vec<SealedValue>, StoreError> {
        let key = column.key.join(", ");
        let selected = [column.key, column.about, &[column.column]].concat().join(", ");
        let mut select = QueryBuilder::<Sqlite>::new(format!("SELECT {selected} FROM {}", column.table));
        select.push(format!(" WHERE {} AND {} <> ", column.is_sealed(), column.beginning(head.len())));
        transfer::push_value(&mut select, &column.encode(head));
        if let Some(after) = after {
            select.push(format!(" AND ({key}) > "));
            transfer::push_row(&mut select, after);
        }
        select.push(format!(" ORDER BY {key} LIMIT {limit}"));
        let rows = select.build().fetch_all(self.sqlite.readers()).await?;
        let mut values = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut read = transfer::read_row(row)?;
            let sealed = read.pop().unwrap_or(Value::Null);
            let about = read.split_off(column.key.len());
            // What is no base64 nobody sealed.
            values.push(SealedValue { key: read, about, sealed: column.decode(&sealed).unwrap_or_default() });
        }
        Ok(values)
    }

    /// Puts other values in the place of these, in one transaction; one that has changed meanwhile stays. How many were
    /// replaced.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn replace_sealed(
        &self,
        column: &SealedColumn,
        replaced: &[(SealedValue, Vec<u8>)],
    ) -> Result<u64, StoreError> {
        let mut transaction = self.sqlite.transaction().await?;
        let mut done = 0;
        for (old, new) in replaced {
            let mut update = QueryBuilder::<Sqlite>::new(format!("UPDATE {} SET {} = ", column.table, column.column));
            transfer::push_value(&mut update, &column.encode(new));
            update.push(format!(" WHERE {} = ", column.column));
            transfer::push_value(&mut update, &column.encode(&old.sealed));
            for (name, value) in column.key.iter().zip(&old.key) {
                update.push(format!(" AND {name} = "));
                transfer::push_value(&mut update, value);
            }
            done += update.build().execute(&mut *transaction).await?.rows_affected();
        }
        transaction.commit().await?;
        Ok(done)
    }
}

impl SealedColumn {
    fn beginning(&self, length: usize) -> String {
        let length = if self.is_text { length / 3 * 4 } else { length };
        format!("substr({}, 1, {length})", self.column)
    }

    /// JSON does not begin with an A; the base64 of a small format number does.
    fn is_sealed(&self) -> String {
        match self.is_text {
            true => format!("substr({}, 1, 1) = 'A'", self.column),
            false => format!("{} IS NOT NULL", self.column),
        }
    }

    fn encode(&self, sealed: &[u8]) -> Value {
        if self.is_text { Value::Text(BASE64.encode(sealed)) } else { Value::Bytes(sealed.to_vec()) }
    }

    fn decode(&self, value: &Value) -> Option<Vec<u8>> {
        match value {
            Value::Bytes(bytes) => Some(bytes.clone()),
            Value::Text(text) => BASE64.decode(text.as_bytes()).ok(),
            Value::Integer(_) | Value::Null => None,
        }
    }
}
