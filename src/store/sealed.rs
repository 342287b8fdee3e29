//! Columns that the vault seals, as the vault walks over them when another key takes over.

use super::database::QueryBuilder;
use super::transfer::{Argument, Cells, Row, Value, argument, push_row};
use super::{Store, StoreError};
use data_encoding::BASE64;

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
        let mut select = QueryBuilder::new(&format!("SELECT {beginning}, COUNT(*) FROM {}", column.table));
        select.push(&format!(" WHERE {} GROUP BY {beginning}", column.is_sealed()));
        let rows = select.build_query_as::<Cells>().fetch_all(self.database.readers()).await?;
        let read = |Cells(row): Cells| match row.as_slice() {
            [beginning, Value::Integer(count)] => Some((column.decode(beginning)?, count.unsigned_abs())),
            _ => None,
        };
        Ok(rows.into_iter().filter_map(read).collect())
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
        let head_value = column.encode(head);
        let mut select = QueryBuilder::new(&format!("SELECT {selected} FROM {}", column.table));
        select.push(&format!(" WHERE {} AND {} <> ", column.is_sealed(), column.beginning(head.len())));
        select.push_bind(Argument(argument(&head_value, false)));
        if let Some(after) = after {
            select.push(&format!(" AND ({key}) > "));
            push_row(&mut select, after.iter().map(|value| (value, false)));
        }
        select.push(&format!(" ORDER BY {key} LIMIT {limit}"));
        let rows = select.build_query_as::<Cells>().fetch_all(self.database.readers()).await?;
        let mut values = Vec::with_capacity(rows.len());
        for Cells(mut read) in rows {
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
        let mut transaction = self.database.transaction().await?;
        let mut done = 0;
        for (old, new) in replaced {
            let (new, before) = (column.encode(new), column.encode(&old.sealed));
            let mut update = QueryBuilder::new(&format!("UPDATE {} SET {} = ", column.table, column.column));
            update.push_bind(Argument(argument(&new, false)));
            update.push(&format!(" WHERE {} = ", column.column)).push_bind(Argument(argument(&before, false)));
            for (name, value) in column.key.iter().zip(&old.key) {
                update.push(&format!(" AND {name} = ")).push_bind(Argument(argument(value, false)));
            }
            // One text for all rows of a column.
            done += update.build().persistent(true).execute(&mut transaction).await?.rows_affected();
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
