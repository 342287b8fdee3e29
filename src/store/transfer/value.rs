//! Rows on their way from one database to another.

use crate::ids::Digest;
use data_encoding::HEXLOWER;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What a column of a row holds, in a form that every database can take. What is true or false is 1 or 0.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs)] // each is what it says
pub enum Value {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The values of one row, in the order of the table's columns.
pub type Row = Vec<Value>;

/// A table, and how many rows it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The names of its columns, sorted: databases order them differently.
    pub columns: Vec<String>,
    /// How many rows there are.
    pub rows: u64,
}

/// What is compared after a transfer: two tables of the same summary hold the same rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The table.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// Over all rows, in whatever order they came; in hexadecimal.
    pub digest: String,
}

/// Sums rows up.
#[derive(Clone, Default)]
pub struct Tally {
    rows: u64,
    digest: [u8; 32],
}

impl Tally {
    /// Counts a row.
    pub fn add(&mut self, row: &[Value]) {
        self.rows += 1;
        let digest = Digest::of(encoded(row));
        // No table holds the same row twice, so that none of them cancels another.
        self.digest.iter_mut().zip(digest.0).for_each(|(sum, byte)| *sum ^= byte);
    }

    /// How many rows were counted.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The sum.
    pub fn summary(&self, table: &str) -> Summary {
        Summary { table: table.to_owned(), rows: self.rows, digest: HEXLOWER.encode(&self.digest) }
    }
}

/// No two rows share an encoding.
fn encoded(row: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in row {
        let (kind, content) = match value {
            Value::Null => (0, &[][..]),
            Value::Integer(number) => (1, &number.to_be_bytes()[..]),
            Value::Text(text) => (2, text.as_bytes()),
            Value::Bytes(content) => (3, &content[..]),
        };
        bytes.push(kind);
        bytes.extend_from_slice(&(content.len() as u64).to_be_bytes());
        bytes.extend_from_slice(content);
    }
    bytes
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_none(),
            Value::Integer(number) => serializer.serialize_i64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_bytes(bytes),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl Visitor<'_> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a text, bytes or nothing")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Integer).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes))
    }
}
