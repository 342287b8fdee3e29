//! Reading what was added up: the steps of one subject, and those who have the largest part in it.

use super::super::database::{Bind as _, FromRow, QueryBuilder, Row};
use super::*;
use std::collections::HashMap;

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

    /// The column of whose it is; only tools are somebody's.
    fn owner(self) -> &'static str {
        if self == Self::Tool { "upstream" } else { "''" }
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
    /// rows are kept. Only some of them where `among` is not empty: rows are found by person first, and naming the people of a
    /// tool saves looking through everything that anybody called.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn activity_shares(
        &self,
        spans: &[ActivitySpan],
        of: &ActivitySlice,
        (by, among): (ActivityName, &[String]),
        limit: u32,
    ) -> Result<Vec<ActivityShare>, StoreError> {
        let Some(kind) = kept(of.kind() | by.bit()).filter(|_| of.name(by).is_empty()) else { return Ok(Vec::new()) };
        // Who they are first: sums of one column are a fraction of the work.
        let mut rank = QueryBuilder::new("SELECT name, CAST(SUM(requests) AS BIGINT), upstream FROM (");
        let narrow = format!("{} AS name, {} AS upstream, requests", by.column(), by.owner());
        select_shares(&mut rank, &narrow, (kind, spans), of, &[(by, among)]);
        rank.push(") AS parts GROUP BY name, upstream ORDER BY 2 DESC, name, upstream LIMIT ").push_bind(limit);
        let busiest: Vec<(String, i64, String)> = rank.build_query_as().fetch_all(self.database.readers()).await?;
        if busiest.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = busiest.iter().map(|(name, ..)| name.clone()).collect();
        let owners: Vec<String> =
            busiest.iter().map(|(.., owner)| owner.clone()).filter(|one| !one.is_empty()).collect();
        let mut select = QueryBuilder::new(&format!("SELECT name, {}, upstream FROM (", selected_sums()));
        let wide = format!("{} AS name, {} AS upstream, streams, {}", by.column(), by.owner(), SUMS.join(", "));
        select_shares(&mut select, &wide, (kind, spans), of, &[(by, &names), (ActivityName::Upstream, &owners)]);
        select.push(") AS parts GROUP BY name, upstream");
        let shares: Vec<ActivityShare> = select.build_query_as().fetch_all(self.database.readers()).await?;
        let mut found: HashMap<_, _> =
            shares.into_iter().map(|share| ((share.name.clone(), share.upstream.clone()), share)).collect();
        let known = |(name, _, owner): (String, i64, String)| (name, Some(owner).filter(|owner| !owner.is_empty()));
        Ok(busiest.into_iter().map(known).filter_map(|one| found.remove(&one)).collect())
    }
}

/// The rows of all spans, one after the other: each look knows how long its steps are.
fn select_shares<'q>(
    select: &mut QueryBuilder<'q>,
    columns: &str,
    (kind, spans): (i64, &[ActivitySpan]),
    of: &'q ActivitySlice,
    among: &[(ActivityName, &[String])],
) {
    for (number, span) in spans.iter().filter(|span| span.steps > 0).enumerate() {
        select.push(if number == 0 { "" } else { " UNION ALL " }).push(&format!("SELECT {columns} FROM activity"));
        select_rows(select, kind, span, of, kind & !of.kind());
        for (name, among) in among.iter().filter(|(_, among)| !among.is_empty()) {
            select.push(" AND ").push(name.column()).push(" IN ");
            select.push_tuple(among.iter().map(|one| one.clone().value()));
        }
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

impl FromRow for ActivityShare {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        let upstream: String = row.try_get("upstream")?;
        Ok(Self {
            name: row.try_get("name")?,
            upstream: Some(upstream).filter(|upstream| !upstream.is_empty()),
            counts: ActivityCounts::from_row(row)?,
        })
    }
}
