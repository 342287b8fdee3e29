//! Values in and out of statements.

use super::{Row, Value};
use crate::store::StoreError;
use crate::store::database::{self, Bind, Cell, Column, FromRow, Kind, QueryBuilder};
use sqlx::error::BoxDynError;
use sqlx::{Row as _, TypeInfo as _, ValueRef as _};
use std::borrow::Cow;

/// All columns of a row, whatever they are.
pub(in crate::store) struct Cells(pub(in crate::store) Row);

impl FromRow for Cells {
    fn from_row(row: &database::Row) -> sqlx::Result<Self> {
        let columns = match row {
            database::Row::Sqlite(row) => row.len(),
            database::Row::Postgres(row) => row.len(),
        };
        (0..columns).map(|at| row.try_get(at)).collect::<sqlx::Result<_>>().map(Self)
    }
}

impl<'r> Column<'r> for Value {
    fn read(cell: Cell<'r>) -> Result<Self, BoxDynError> {
        let kind = match &cell {
            Cell::Sqlite(value) => value.type_info().name().to_owned(),
            Cell::Postgres(value) => value.type_info().name().to_owned(),
        };
        Ok(match kind.as_str() {
            "INTEGER" | "INT8" => Value::Integer(i64::read(cell)?),
            "BOOL" => Value::Integer(bool::read(cell)?.into()),
            "TEXT" => Value::Text(representable(String::read(cell)?)),
            "BLOB" | "BYTEA" => Value::Bytes(Vec::read(cell)?),
            other => return Err(format!("of type {other}").into()),
        })
    }

    fn absent() -> Option<Self> {
        Some(Value::Null)
    }
}

/// A text as PostgreSQL would keep it (`database/value.rs`), so that it is the same everywhere.
fn representable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// An argument for a column, which keeps what is true or false, or does not.
pub(in crate::store) fn argument(value: &Value, is_boolean: bool) -> database::Value<'_> {
    match value {
        Value::Null if is_boolean => database::Value::Null(Kind::Boolean),
        Value::Null => database::Value::Null(Kind::Integer),
        Value::Integer(number) if is_boolean => database::Value::Boolean(*number != 0),
        Value::Integer(number) => database::Value::Integer(*number),
        Value::Text(text) => database::Value::Text(Cow::Borrowed(text)),
        Value::Bytes(bytes) => database::Value::Bytes(Cow::Borrowed(bytes)),
    }
}

/// `(?, ?, …)`; what is missing is written out, since an argument would need a type.
pub(in crate::store) fn push_row<'q>(
    statement: &mut QueryBuilder<'q>,
    row: impl IntoIterator<Item = (&'q Value, bool)>,
) {
    for (at, (value, is_boolean)) in row.into_iter().enumerate() {
        statement.push(if at == 0 { "(" } else { ", " });
        match value {
            Value::Null => statement.push("NULL"),
            value => statement.push_bind(Argument(argument(value, is_boolean))),
        };
    }
    statement.push(")");
}

/// An argument that is one already.
pub(in crate::store) struct Argument<'q>(pub(in crate::store) database::Value<'q>);

impl<'q> Bind<'q> for Argument<'q> {
    const KIND: Kind = Kind::Bytes;

    fn value(self) -> database::Value<'q> {
        self.0
    }
}

/// A number that a statement gives in its only row.
pub(in crate::store) fn number(cells: Option<Cells>) -> Result<i64, StoreError> {
    match cells.map(|Cells(row)| row).as_deref() {
        Some([Value::Integer(number)]) => Ok(*number),
        _ => Err(StoreError::Damaged("row")),
    }
}
