//! How far somebody gets who looks through the log without an index for what is looked for: a stretch of lines at a time, so that
//! no question costs more than reading that many, however few of them fit.

use super::super::database::{FromRow, QueryBuilder, Row, query_as};
use super::super::{Store, StoreError};
use super::bundles::{self, Span};
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

/// What is counted on the way.
enum Step {
    /// A line.
    Line(i64),
    /// A bundle that lies in the stretch as a whole, and nothing else where it lies.
    Bundle(Span),
}

impl Store {
    /// The number at the far end of the next `lines` lines, of those of one actor if there is one; `None` when there is no line at all. It
    /// may be fewer where they lie far apart, in a thousand bundles.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn audit_stretch(
        &self,
        stretch: Stretch,
        actor: Option<&str>,
        lines: u32,
    ) -> Result<Option<i64>, StoreError> {
        let spans = self.spans(stretch, actor).await?;
        if spans.is_empty() {
            return self.far_row(stretch, actor, lines).await;
        }
        let steps = self.steps(stretch, actor, lines, spans).await?;
        let (mut left, mut far) = (i64::from(lines), None);
        for step in steps {
            match step {
                _ if left <= 0 => break,
                Step::Line(number) => (left, far) = (left - 1, Some(number)),
                Step::Bundle(span) if span.lines <= left => (left, far) = (left - span.lines, Some(span.far(stretch))),
                Step::Bundle(span) => {
                    let mut numbers = self.numbers_of(span.first, actor).await?;
                    if stretch.is_backward() {
                        numbers.reverse();
                    }
                    let last = usize::try_from(left - 1).ok().and_then(|last| numbers.get(last));
                    return Ok(last.copied().or(far));
                }
            }
        }
        Ok(far)
    }

    /// The number of the last line by time that is from before `moment`: where to look for what happened then. Lines of several nodes
    /// are in the order in which they were written, which may differ by moments.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn audit_number_at(&self, moment: Timestamp) -> Result<Option<i64>, StoreError> {
        let select = query_as("SELECT at, id FROM audit WHERE at < ? ORDER BY at DESC, id DESC LIMIT 1").bind(moment);
        let row: Option<(Timestamp, i64)> = select.fetch_optional(self.database.readers()).await?;
        Ok(row.max(self.bundled_number_at(moment).await?).map(|(_, number)| number))
    }

    /// Without bundles.
    async fn far_row(&self, stretch: Stretch, actor: Option<&str>, lines: u32) -> Result<Option<i64>, StoreError> {
        let end = if stretch.is_backward() { "MIN" } else { "MAX" };
        let mut select = QueryBuilder::new(&format!("SELECT {end}(far) AS far FROM ("));
        push_numbers(&mut select, stretch, actor, lines);
        select.push(") AS stretch");
        let far: Option<Number> = select.build_query_as().fetch_optional(self.database.readers()).await?;
        Ok(far.and_then(|far| far.0))
    }

    /// Lines and bundles as they come; bundles that the stretch begins in, or that lines of others lie between, line by line.
    async fn steps(
        &self,
        stretch: Stretch,
        actor: Option<&str>,
        lines: u32,
        spans: Vec<Span>,
    ) -> Result<Vec<Step>, StoreError> {
        let mut select = QueryBuilder::new("");
        push_numbers(&mut select, stretch, actor, lines);
        let rows: Vec<Number> = select.build_query_as().fetch_all(self.database.readers()).await?;
        let mut rows: Vec<i64> = rows.into_iter().filter_map(|row| row.0).collect();
        rows.sort_unstable();
        if let Some(last) = spans.get(bundles::MOST as usize - 1) {
            // Behind it there may be bundles that nobody has asked for.
            let far = last.far(stretch);
            rows.retain(|row| if stretch.is_backward() { *row >= far } else { *row <= far });
        }
        let mut steps: Vec<Step> = Vec::new();
        for span in spans {
            let begin = rows.partition_point(|row| *row < span.first);
            let is_mixed = rows.get(begin).is_some_and(|row| *row < span.last);
            if is_mixed || !stretch.has(span.first) || !stretch.has(span.last) {
                let numbers = self.numbers_of(span.first, actor).await?;
                steps.extend(numbers.into_iter().filter(|number| stretch.has(*number)).map(Step::Line));
            } else {
                steps.push(Step::Bundle(span));
            }
        }
        steps.extend(rows.into_iter().map(Step::Line));
        steps.sort_unstable_by_key(Step::number);
        if stretch.is_backward() {
            steps.reverse();
        }
        Ok(steps)
    }
}

impl Stretch {
    fn is_backward(self) -> bool {
        matches!(self, Self::Before(_))
    }

    fn has(self, number: i64) -> bool {
        match self {
            Self::Before(edge) => number < edge,
            Self::After(edge) => number > edge,
        }
    }
}

impl Span {
    fn far(&self, stretch: Stretch) -> i64 {
        if stretch.is_backward() { self.first } else { self.last }
    }
}

impl Step {
    fn number(&self) -> i64 {
        match self {
            Self::Line(number) => *number,
            Self::Bundle(span) => span.first,
        }
    }
}

/// The numbers of the next rows.
fn push_numbers<'q>(select: &mut QueryBuilder<'q>, stretch: Stretch, actor: Option<&'q str>, lines: u32) {
    let (begin, edge, direction) = match stretch {
        Stretch::Before(number) => ("SELECT id AS far FROM audit WHERE id < ", number, " DESC"),
        Stretch::After(number) => ("SELECT id AS far FROM audit WHERE id > ", number, ""),
    };
    select.push(begin).push_bind(edge);
    if let Some(actor) = actor {
        select.push(" AND actor = ").push_bind(actor);
    }
    select.push(" ORDER BY id").push(direction).push(" LIMIT ").push_bind(lines);
}

impl FromRow for Number {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self(row.try_get("far")?))
    }
}
