//! How far somebody gets who looks through the log without an index for what is looked for: a stretch of lines at a time, so that
//! no question costs more than reading that many, however few of them fit.

use super::super::database::{FromRow, QueryBuilder, Row, query_scalar};
use super::super::{Store, StoreError};
use crate::clock::Timestamp;

/// The next lines in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// Those with a lower number than this.
    Before(i64),
    /// Those with a higher number than this.
    After(i64),
}

/// The only column of a row.
struct Number(Option<i64>);

impl Store {
    /// The number at the far end of the next `lines` lines, of those of one actor if there is one; `None` when there is no line at all.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn audit_stretch(
        &self,
        stretch: Stretch,
        actor: Option<&str>,
        lines: u32,
    ) -> Result<Option<i64>, StoreError> {
        let (end, edge, direction) = match stretch {
            Stretch::Before(number) => {
                ("SELECT MIN(id) AS far FROM (SELECT id FROM audit WHERE id < ", number, " DESC")
            }
            Stretch::After(number) => ("SELECT MAX(id) AS far FROM (SELECT id FROM audit WHERE id > ", number, ""),
        };
        let mut select = QueryBuilder::new(end);
        select.push_bind(edge);
        if let Some(actor) = actor {
            select.push(" AND actor = ").push_bind(actor);
        }
        select.push(" ORDER BY id").push(direction).push(" LIMIT ").push_bind(lines).push(") AS stretch");
        let far: Option<Number> = select.build_query_as().fetch_optional(self.database.readers()).await?;
        Ok(far.and_then(|far| far.0))
    }

    /// The number of the last line by time that is from before `moment`: where to look for what happened then. Lines of several nodes
    /// are in the order in which they were written, which may differ by moments.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn audit_number_at(&self, moment: Timestamp) -> Result<Option<i64>, StoreError> {
        let select = query_scalar("SELECT id FROM audit WHERE at < ? ORDER BY at DESC, id DESC LIMIT 1").bind(moment);
        Ok(select.fetch_optional(self.database.readers()).await?)
    }
}

impl FromRow for Number {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self(row.try_get("far")?))
    }
}
