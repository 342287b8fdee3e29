//! Values in and out of statements.

use super::{Row, Value};
use crate::store::StoreError;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite, TypeInfo, ValueRef};

/// A value as a parameter; what is missing is written out, since a parameter would need a type.
pub(in crate::store) fn push_value(statement: &mut QueryBuilder<Sqlite>, value: &Value) {
    match value {
        Value::Null => statement.push("NULL"),
        Value::Integer(number) => statement.push_bind(*number),
        Value::Text(text) => statement.push_bind(text.clone()),
        Value::Bytes(bytes) => statement.push_bind(bytes.clone()),
    };
}

/// `(a, b, …)`
pub(in crate::store) fn push_row(statement: &mut QueryBuilder<Sqlite>, row: &[Value]) {
    for (at, value) in row.iter().enumerate() {
        statement.push(if at == 0 { "(" } else { ", " });
        push_value(statement, value);
    }
    statement.push(")");
}

pub(in crate::store) fn read_row(row: &SqliteRow) -> Result<Row, StoreError> {
    (0..row.len()).map(|at| read_value(row, at)).collect()
}

pub(in crate::store) fn read_value(row: &SqliteRow, at: usize) -> Result<Value, StoreError> {
    let found = row.try_get_raw(at)?;
    if found.is_null() {
        return Ok(Value::Null);
    }
    Ok(match found.type_info().name() {
        "INTEGER" => Value::Integer(row.try_get(at)?),
        "TEXT" => Value::Text(row.try_get(at)?),
        "BLOB" => Value::Bytes(row.try_get(at)?),
        _ => return Err(StoreError::Damaged("row")),
    })
}
