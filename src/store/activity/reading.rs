//! Reading what was added up: the steps of one subject, and those who have the largest part in it.

use super::super::database::{Bind as _, FromRow, QueryBuilder, Row};
use super::*;

/// What a row can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityName {
    /// A person's name.
    Person,
    /// An upstream's authority.
    Upstream,
    /// A client's id.
    Client,
    /// A tool's name.
    Tool,
}

/// Some steps of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivitySpan {
    /// How long each is, in seconds.
    pub resolution: i64,
    /// When the first one begins.
    pub begin: Timestamp,
    /// How many there are.
    pub steps: usize,
}

/// One of those who have a part in something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityShare {
    /// Who or what.
    pub name: String,
    /// Of a tool: whose it is.
    pub upstream: Option<String>,
    /// In the whole span.
    pub counts: ActivityCounts,
}

/// The kinds of rows that there are (`activity::slices` writes them), as bits.
const KEPT: [i64; 8] = [
    0,
    ActivityName::Upstream.bit(),
    ActivityName::Client.bit(),
    ActivityName::Person.bit(),
    ActivityName::Upstream.bit() | ActivityName::Tool.bit(),
    ActivityName::Person.bit() | ActivityName::Upstream.bit(),
    ActivityName::Person.bit() | ActivityName::Client.bit(),
    ActivityName::Person.bit() | ActivityName::Upstream.bit() | ActivityName::Tool.bit(),
];

impl ActivityName {
    /// In the order of the columns.
    pub(super) const ALL: [Self; 4] = [Self::Person, Self::Upstream, Self::Client, Self::Tool];

    pub(super) const fn bit(self) -> i64 {
        match self {
            Self::Person => 1,
            Self::Upstream => 2,
            Self::Client => 4,
            Self::Tool => 8,
        }
    }

    fn column(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Upstream => "upstream",
            Self::Client => "client",
            Self::Tool => "tool",
        }
    }
}

impl Store {
    /// The steps in which something happened to a subject, oldest first. None where no such rows are kept.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn activity_points(
        &self,
        span: &ActivitySpan,
        of: &ActivitySlice,
    ) -> Result<Vec<(Timestamp, ActivityCounts)>, StoreError> {
        let Some(kind) = kept(of.kind()) else { return Ok(Vec::new()) };
        let mut select = QueryBuilder::new(&format!("SELECT step, {} FROM activity", selected_sums()));
        select_rows(&mut select, kind, span, of, kind & !of.kind());
        select.push(" GROUP BY step ORDER BY step");
        let points: Vec<Point> = select.build_query_as().fetch_all(self.database.readers()).await?;
        Ok(points.into_iter().map(|point| (point.0, point.1)).collect())
    }

    /// Those who have the largest part in what happened to a subject: the most requests, most first. None where no such
    /// rows are kept.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn activity_shares(
        &self,
        span: &ActivitySpan,
        of: &ActivitySlice,
        by: ActivityName,
        limit: u32,
    ) -> Result<Vec<ActivityShare>, StoreError> {
        if !of.name(by).is_empty() {
            return Ok(Vec::new());
        }
        let Some(kind) = kept(of.kind() | by.bit()) else { return Ok(Vec::new()) };
        let columns = if by == ActivityName::Tool { "tool, upstream" } else { by.column() };
        let mut select = QueryBuilder::new(&format!("SELECT {columns}, {} FROM activity", selected_sums()));
        select_rows(&mut select, kind, span, of, kind & !of.kind());
        // By number: in SQLite a name could mean the column itself.
        let requests = if by == ActivityName::Tool { 4 } else { 3 };
        select.push(&format!(" GROUP BY {columns} ORDER BY {requests} DESC, {columns} LIMIT "));
        select.push_bind(limit);
        let shares: Vec<Share> = select.build_query_as().fetch_all(self.database.readers()).await?;
        let of_tool = by == ActivityName::Tool;
        let shares = shares
            .into_iter()
            .map(|Share(share)| ActivityShare { upstream: share.upstream.filter(|_| of_tool), ..share });
        Ok(shares.collect())
    }
}

/// The smallest kind of rows that says this.
fn kept(names: i64) -> Option<i64> {
    KEPT.into_iter().filter(|kind| kind & names == names).min_by_key(|kind| kind.count_ones())
}

/// Every column of the primary key is given, apart from those that are `free`: then it is a number of short looks at it.
fn select_rows<'q>(select: &mut QueryBuilder<'q>, kind: i64, span: &ActivitySpan, of: &'q ActivitySlice, free: i64) {
    select.push(" WHERE resolution = ").push_bind(span.resolution).push(" AND kind = ").push_bind(kind);
    let steps = (0..i64::try_from(span.steps).unwrap_or(0)).map(|step| span.begin.0 + step * span.resolution);
    select.push(" AND step IN ").push_tuple(steps.map(|step| step.value()));
    for name in ActivityName::ALL.into_iter().filter(|name| free & name.bit() == 0) {
        select.push(" AND ").push(name.column()).push(" = ").push_bind(of.name(name));
    }
}

struct Point(Timestamp, ActivityCounts);

impl FromRow for Point {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self(row.try_get("step")?, ActivityCounts::from_row(row)?))
    }
}

struct Share(ActivityShare);

impl FromRow for Share {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        // The name comes first, and a tool's upstream behind it.
        Ok(Self(ActivityShare {
            name: row.try_get(0)?,
            upstream: row.try_get("upstream").ok(),
            counts: ActivityCounts::from_row(row)?,
        }))
    }
}
