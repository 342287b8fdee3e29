//! What goes into a statement and what comes out of a row, for either database.
//!
//! Both keep five kinds: integers (`INTEGER`, `BIGINT`), texts (`TEXT`), bytes (`BLOB`, `BYTEA`), truth (`INTEGER` of 0 and
//! 1, `BOOLEAN`), and the absence of each. In SQL truth is written `TRUE` and `FALSE`, which both understand.

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow, PgValueRef};
use sqlx::sqlite::{SqliteArguments, SqliteRow, SqliteValueRef};
use sqlx::{Arguments as _, ColumnIndex, Decode, Postgres, Row as _, Sqlite, Type, TypeInfo as _, ValueRef as _};
use std::borrow::Cow;

/// An argument of a statement.
pub(in crate::store) enum Value<'q> {
    Null(Kind),
    Boolean(bool),
    Integer(i64),
    Text(Cow<'q, str>),
    Bytes(Cow<'q, [u8]>),
    /// Bytes of identifiers, which need no memory of their own.
    Id([u8; 16]),
    /// Bytes of digests, likewise.
    Digest([u8; 32]),
}

/// What a missing value would be: PostgreSQL wants to know.
#[derive(Clone, Copy)]
pub(in crate::store) enum Kind {
    Boolean,
    Integer,
    Text,
    Bytes,
}

/// A word that can be an argument.
pub(in crate::store) trait Bind<'q> {
    const KIND: Kind;

    fn value(self) -> Value<'q>;
}

/// A word that can be read out of a cell.
pub(in crate::store) trait Column<'r>: Sized {
    fn read(cell: Cell<'r>) -> Result<Self, BoxDynError>;

    /// Where `NULL` is a value.
    fn absent() -> Option<Self> {
        None
    }
}

/// Something that a row becomes.
pub(in crate::store) trait FromRow: Sized {
    fn from_row(row: &Row) -> sqlx::Result<Self>;
}

/// A row of either database.
pub(in crate::store) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// A column by name or number.
    pub(in crate::store) fn try_get<'r, T, I>(&'r self, index: I) -> sqlx::Result<T>
    where
        T: Column<'r>,
        I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> + ToString + Copy,
    {
        let cell = match self {
            Row::Sqlite(row) => Cell::Sqlite(row.try_get_raw(index)?),
            Row::Postgres(row) => Cell::Postgres(row.try_get_raw(index)?),
        };
        let value = match cell.is_null() {
            true => T::absent().ok_or_else(|| "unexpected NULL".into()),
            false => T::read(cell),
        };
        value.map_err(|source| sqlx::Error::ColumnDecode { index: index.to_string(), source })
    }
}

/// One column of one row.
pub(in crate::store) enum Cell<'r> {
    Sqlite(SqliteValueRef<'r>),
    Postgres(PgValueRef<'r>),
}

impl<'r> Cell<'r> {
    fn is_null(&self) -> bool {
        match self {
            Cell::Sqlite(value) => value.is_null(),
            Cell::Postgres(value) => value.is_null(),
        }
    }

    fn get<T>(self) -> Result<T, BoxDynError>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Cell::Sqlite(value) if <T as Type<Sqlite>>::compatible(&value.type_info()) => {
                <T as Decode<'r, Sqlite>>::decode(value)
            }
            Cell::Postgres(value) if <T as Type<Postgres>>::compatible(&value.type_info()) => {
                <T as Decode<'r, Postgres>>::decode(value)
            }
            Cell::Sqlite(value) => Err(format!("of type {}", value.type_info().name()).into()),
            Cell::Postgres(value) => Err(format!("of type {}", value.type_info().name()).into()),
        }
    }
}

impl Value<'_> {
    pub(super) fn add_to_sqlite(self, arguments: &mut SqliteArguments) -> Result<(), BoxDynError> {
        match self {
            Value::Null(_) => arguments.add(None::<i64>),
            Value::Boolean(value) => arguments.add(value),
            Value::Integer(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value.into_owned()),
            Value::Bytes(value) => arguments.add(value.into_owned()),
            Value::Id(value) => arguments.add(&value[..]),
            Value::Digest(value) => arguments.add(&value[..]),
        }
    }

    pub(super) fn add_to_postgres(self, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
        match self {
            Value::Null(Kind::Boolean) => arguments.add(None::<bool>),
            Value::Null(Kind::Integer) => arguments.add(None::<i64>),
            Value::Null(Kind::Text) => arguments.add(None::<&str>),
            Value::Null(Kind::Bytes) => arguments.add(None::<&[u8]>),
            Value::Boolean(value) => arguments.add(value),
            Value::Integer(value) => arguments.add(value),
            // PostgreSQL refuses texts with U+0000, and who sends one shall learn that nothing is called so, not that the
            // database failed. With the mark for what cannot be represented it is nobody's name either.
            Value::Text(value) if value.contains('\0') => arguments.add(value.replace('\0', "\u{fffd}")),
            Value::Text(value) => arguments.add(&*value),
            Value::Bytes(value) => arguments.add(&*value),
            Value::Id(value) => arguments.add(&value[..]),
            Value::Digest(value) => arguments.add(&value[..]),
        }
    }
}

macro_rules! bind {
    ($($word:ty: $kind:ident = |$value:ident| $to:expr),+ $(,)?) => {
        $(impl<'q> Bind<'q> for $word {
            const KIND: Kind = Kind::$kind;

            fn value(self) -> Value<'q> {
                let $value = self;
                $to
            }
        })+
    };
}

bind! {
    bool: Boolean = |value| Value::Boolean(value),
    i64: Integer = |value| Value::Integer(value),
    u32: Integer = |value| Value::Integer(value.into()),
    u16: Integer = |value| Value::Integer(value.into()),
    String: Text = |value| Value::Text(Cow::Owned(value)),
    &'q String: Text = |value| Value::Text(Cow::Borrowed(value)),
    &'q str: Text = |value| Value::Text(Cow::Borrowed(value)),
    Vec<u8>: Bytes = |value| Value::Bytes(Cow::Owned(value)),
    &'q Vec<u8>: Bytes = |value| Value::Bytes(Cow::Borrowed(value)),
    &'q [u8]: Bytes = |value| Value::Bytes(Cow::Borrowed(value)),
    [u8; 16]: Bytes = |value| Value::Id(value),
    [u8; 32]: Bytes = |value| Value::Digest(value),
}

impl<'q, T: Bind<'q>> Bind<'q> for Option<T> {
    const KIND: Kind = T::KIND;

    fn value(self) -> Value<'q> {
        self.map_or(Value::Null(T::KIND), T::value)
    }
}

impl<'q, T> Bind<'q> for &'q Option<T>
where
    &'q T: Bind<'q>,
{
    const KIND: Kind = <&'q T>::KIND;

    fn value(self) -> Value<'q> {
        self.as_ref().value()
    }
}

macro_rules! read {
    ($($word:ty),+) => {
        $(impl<'r> Column<'r> for $word {
            fn read(cell: Cell<'r>) -> Result<Self, BoxDynError> {
                cell.get()
            }
        })+
    };
}

read!(bool, i64, String, &'r str, Vec<u8>, &'r [u8]);

impl<'r, const N: usize> Column<'r> for [u8; N] {
    fn read(cell: Cell<'r>) -> Result<Self, BoxDynError> {
        Ok(cell.get::<&[u8]>()?.try_into()?)
    }
}

impl<'r> Column<'r> for u32 {
    fn read(cell: Cell<'r>) -> Result<Self, BoxDynError> {
        Ok(cell.get::<i64>()?.try_into()?)
    }
}

impl<'r> Column<'r> for u16 {
    fn read(cell: Cell<'r>) -> Result<Self, BoxDynError> {
        Ok(cell.get::<i64>()?.try_into()?)
    }
}

impl<'r, T: Column<'r>> Column<'r> for Option<T> {
    fn read(cell: Cell<'r>) -> Result<Self, BoxDynError> {
        T::read(cell).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<A, B, C> FromRow for (A, B, C)
where
    A: for<'r> Column<'r>,
    B: for<'r> Column<'r>,
    C: for<'r> Column<'r>,
{
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
    }
}

impl<A, B> FromRow for (A, B)
where
    A: for<'r> Column<'r>,
    B: for<'r> Column<'r>,
{
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok((row.try_get(0)?, row.try_get(1)?))
    }
}
