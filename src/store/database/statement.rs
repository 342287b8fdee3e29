//! Statements: one text for both databases, with `?` for its arguments, or `?1`, `?2`, … where one occurs twice.

use super::On;
use super::value::{Bind, Column, FromRow, Row, Value};
use parking_lot::RwLock;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

/// A statement whose rows do not matter.
pub(in crate::store) fn query<'q>(sql: &'static str) -> Query<'q> {
    Query::new(Text::Fixed(sql))
}

/// A statement whose rows become records.
pub(in crate::store) fn query_as<'q, T: FromRow>(sql: &'static str) -> QueryAs<'q, T> {
    QueryAs { query: query(sql), rows: PhantomData }
}

/// A statement of whose rows the first column matters.
pub(in crate::store) fn query_scalar<'q, T: for<'r> Column<'r>>(sql: &'static str) -> QueryScalar<'q, T> {
    QueryScalar { query: query(sql), rows: PhantomData }
}

pub(in crate::store) struct Query<'q> {
    text: Text,
    rows: Rows,
    values: Vec<Value<'q>>,
    is_persistent: bool,
}

pub(in crate::store) struct QueryAs<'q, T> {
    query: Query<'q>,
    rows: PhantomData<fn() -> T>,
}

pub(in crate::store) struct QueryScalar<'q, T> {
    query: Query<'q>,
    rows: PhantomData<fn() -> T>,
}

/// How many rows a statement changed.
pub(in crate::store) struct Done(pub(super) u64);

impl Done {
    pub(in crate::store) fn rows_affected(&self) -> u64 {
        self.0
    }
}

impl<'q> Query<'q> {
    fn new(text: Text) -> Self {
        let is_persistent = matches!(text, Text::Fixed(_));
        Self { text, rows: Rows::Free, values: Vec::new(), is_persistent }
    }

    /// Whether connections remember it; they do when it is part of the program, and not when it was built.
    pub(in crate::store) fn persistent(mut self, is_persistent: bool) -> Self {
        self.is_persistent = is_persistent;
        self
    }

    pub(in crate::store) fn bind(mut self, value: impl Bind<'q>) -> Self {
        self.values.push(value.value());
        self
    }

    pub(in crate::store) async fn execute<'e>(self, on: impl Into<On<'e>>) -> sqlx::Result<Done> {
        on.into().execute(self).await
    }

    /// What `SqliteConnection` runs.
    pub(super) fn for_sqlite(self) -> sqlx::Result<Prepared<sqlx::Sqlite>> {
        let text = match self.text {
            Text::Fixed(text) => text.into_sql_str(),
            Text::Built(text) => AssertSqlSafe(text).into_sql_str(),
        };
        let mut arguments = SqliteArguments::default();
        for value in self.values {
            value.add_to_sqlite(&mut arguments).map_err(sqlx::Error::Encode)?;
        }
        Ok(sqlx::query_with(text, arguments).persistent(self.is_persistent))
    }

    /// What `PgConnection` runs.
    pub(super) fn for_postgres(self) -> sqlx::Result<Prepared<sqlx::Postgres>> {
        let text = match self.text {
            Text::Fixed(text) => remembered(text, self.rows),
            Text::Built(text) => AssertSqlSafe(numbered(&text, self.rows)).into_sql_str(),
        };
        let mut arguments = PgArguments::default();
        for value in self.values {
            value.add_to_postgres(&mut arguments).map_err(sqlx::Error::Encode)?;
        }
        Ok(sqlx::query_with(text, arguments).persistent(self.is_persistent))
    }
}

pub(super) type Prepared<D> = sqlx::query::Query<'static, D, <D as sqlx::Database>::Arguments>;

impl<'q, T: FromRow> QueryAs<'q, T> {
    pub(in crate::store) fn bind(mut self, value: impl Bind<'q>) -> Self {
        self.query = self.query.bind(value);
        self
    }

    /// Lets nobody else change the rows until the transaction ends. (In SQLite nobody else can.)
    pub(in crate::store) fn locked(mut self) -> Self {
        self.query.rows = Rows::Locked;
        self
    }

    pub(in crate::store) async fn fetch_all<'e>(self, on: impl Into<On<'e>>) -> sqlx::Result<Vec<T>> {
        on.into().records(self.query, T::from_row).await
    }

    pub(in crate::store) async fn fetch_optional<'e>(self, on: impl Into<On<'e>>) -> sqlx::Result<Option<T>> {
        on.into().row(self.query).await?.as_ref().map(T::from_row).transpose()
    }

    pub(in crate::store) async fn fetch_one<'e>(self, on: impl Into<On<'e>>) -> sqlx::Result<T> {
        self.fetch_optional(on).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

impl<'q, T: for<'r> Column<'r>> QueryScalar<'q, T> {
    pub(in crate::store) fn bind(mut self, value: impl Bind<'q>) -> Self {
        self.query = self.query.bind(value);
        self
    }

    /// As [`QueryAs::locked`].
    pub(in crate::store) fn locked(mut self) -> Self {
        self.query.rows = Rows::Locked;
        self
    }

    /// Lets nobody change the rows until the transaction ends, although others may ask for the same. (In SQLite nobody
    /// else can change anything.)
    pub(in crate::store) fn held(mut self) -> Self {
        self.query.rows = Rows::Held;
        self
    }

    pub(in crate::store) async fn fetch_all<'e>(self, on: impl Into<On<'e>>) -> sqlx::Result<Vec<T>> {
        on.into().records(self.query, first).await
    }

    pub(in crate::store) async fn fetch_optional<'e>(self, on: impl Into<On<'e>>) -> sqlx::Result<Option<T>> {
        on.into().row(self.query).await?.as_ref().map(first).transpose()
    }

    pub(in crate::store) async fn fetch_one<'e>(self, on: impl Into<On<'e>>) -> sqlx::Result<T> {
        self.fetch_optional(on).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

fn first<T: for<'r> Column<'r>>(row: &Row) -> sqlx::Result<T> {
    row.try_get(0)
}

/// Puts a statement together whose shape depends on what is asked for.
pub(in crate::store) struct QueryBuilder<'q>(String, Vec<Value<'q>>);

impl<'q> QueryBuilder<'q> {
    pub(in crate::store) fn new(sql: &str) -> Self {
        Self(sql.to_owned(), Vec::new())
    }

    pub(in crate::store) fn push(&mut self, sql: &str) -> &mut Self {
        self.0.push_str(sql);
        self
    }

    pub(in crate::store) fn push_bind(&mut self, value: impl Bind<'q>) -> &mut Self {
        self.0.push('?');
        self.1.push(value.value());
        self
    }

    /// `(?, ?, …)`
    pub(in crate::store) fn push_tuple(&mut self, values: impl IntoIterator<Item = Value<'q>>) -> &mut Self {
        self.0.push('(');
        let before = self.1.len();
        self.1.extend(values);
        for number in before..self.1.len() {
            self.0.push_str(if number == before { "?" } else { ", ?" });
        }
        self.0.push(')');
        self
    }

    pub(in crate::store) fn build(self) -> Query<'q> {
        Query { values: self.1, ..Query::new(Text::Built(self.0)) }
    }

    pub(in crate::store) fn build_query_as<T: FromRow>(self) -> QueryAs<'q, T> {
        QueryAs { query: self.build(), rows: PhantomData }
    }
}

enum Text {
    /// Prepared once on each connection.
    Fixed(&'static str),
    Built(String),
}

/// What a statement does to the rows that it reads, where there are several writers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Rows {
    Free,
    Held,
    Locked,
}

/// What [`numbered`] makes of a text that is part of the program: its address tells it apart.
fn remembered(text: &'static str, rows: Rows) -> SqlStr {
    /// By address and length.
    type Known = HashMap<(usize, usize, Rows), Arc<str>>;
    static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);
    let key = (text.as_ptr().addr(), text.len(), rows);
    let known = KNOWN.read().get(&key).cloned();
    let numbered = known.unwrap_or_else(|| KNOWN.write().entry(key).or_insert(numbered(text, rows).into()).clone());
    AssertSqlSafe(numbered).into_sql_str()
}

/// Writes placeholders as PostgreSQL wants them: `$1`, `$2`, ….
fn numbered(text: &str, rows: Rows) -> String {
    let mut numbered = String::with_capacity(text.len() + 32);
    let (mut count, mut is_quoted) = (0, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        is_quoted ^= character == '\'';
        if character != '?' || is_quoted {
            numbered.push(character);
        } else if characters.peek().is_some_and(char::is_ascii_digit) {
            numbered.push('$');
        } else {
            count += 1;
            // Writing to a String does not fail.
            let _ = write!(numbered, "${count}");
        }
    }
    numbered.push_str(match rows {
        Rows::Free => "",
        Rows::Held => " FOR SHARE",
        Rows::Locked => " FOR UPDATE",
    });
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_outside_of_quotes() {
        let text = "SELECT '?' || a FROM b WHERE c = ? AND d > ?";
        assert_eq!(numbered(text, Rows::Free), "SELECT '?' || a FROM b WHERE c = $1 AND d > $2");
        assert_eq!(numbered("a = ?2 AND b = ?1", Rows::Held), "a = $2 AND b = $1 FOR SHARE");
        assert_eq!(remembered("a = ?", Rows::Free).as_str(), "a = $1");
        assert_eq!(remembered("a = ?", Rows::Locked).as_str(), "a = $1 FOR UPDATE");
    }

    #[test]
    fn a_statement_grows_with_its_arguments() {
        let mut builder = QueryBuilder::new("DELETE FROM a WHERE b IN ");
        builder.push_tuple([1_i64.value(), "x".value()]).push(" AND c = ").push_bind(true);
        assert_eq!(builder.0, "DELETE FROM a WHERE b IN (?, ?) AND c = ?");
        assert_eq!(builder.1.len(), 3);
    }
}
