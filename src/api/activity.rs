//! `/activity`: what happened, counted.

use super::answer::Found;
use super::door::Administrator;
use super::extract::Query;
use super::problem::Problem;
use crate::activity::{self, Range, Subject};
use crate::administration::records::Moment;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which part of it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct Selection {
    /// How far back: 60 minutes, 96 quarters of an hour, or 120 times six hours.
    #[param(inline)]
    range: ReportRange,
    /// Only what this person did, by name.
    person: Option<String>,
    /// Only what was for this upstream, by its authority.
    upstream: Option<String>,
    /// Only what came by this client, by its id. Not with an upstream or a tool: such figures are not kept.
    client: Option<String>,
    /// Only calls of this tool.
    tool: Option<String>,
}

/// How far back somebody looks.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReportRange {
    /// By the minute.
    #[default]
    Hour,
    /// By the quarter of an hour.
    Day,
    /// By six hours.
    Month,
}

/// What happened, as steps of time and as parts in the whole.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActivityReport {
    /// When the first step begins.
    begin: Moment,
    /// How long each step is, in seconds.
    step: u64,
    /// One for each step, the oldest first; the last one is still going on.
    points: Vec<ActivityPoint>,
    /// Over all steps.
    sum: ActivityPoint,
    /// Streams that are open now.
    streams_now: u64,
    /// The busiest upstreams, the busiest first, 20 at most.
    upstreams: Vec<ActivityShare>,
    /// The busiest clients.
    clients: Vec<ActivityShare>,
    /// The busiest people.
    people: Vec<ActivityShare>,
    /// The busiest tools.
    tools: Vec<ActivityShare>,
}

/// What happened in one step, or in all of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActivityPoint {
    /// Requests to upstreams that have ended.
    requests: u64,
    /// Those of them without an answer of the upstream, or with one of 500 and above.
    errors: u64,
    /// Those of them that were refused because of what an administrator decided.
    refused: u64,
    /// Tokens of upstreams that were refreshed.
    refreshes: u64,
    /// The most streams that were open at once; 0 where that is not kept.
    streams: u64,
    /// Half of the requests took no longer, in milliseconds.
    p50_ms: Option<u32>,
    /// 95 of a hundred took no longer.
    p95_ms: Option<u32>,
    /// 99 of a hundred took no longer.
    p99_ms: Option<u32>,
}

/// One of those who have a part in it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActivityShare {
    /// An authority, a client's id, a person's or a tool's name; `(other)` stands for those that were too many.
    name: String,
    /// Of a tool: whose it is.
    upstream: Option<String>,
    /// Over all steps.
    sum: ActivityPoint,
    /// Streams that are open now.
    streams_now: u64,
}

/// Read what happened
///
/// Requests, errors, latencies, refreshes and streams, up to a few seconds ago.
#[utoipa::path(get, path = "/activity", operation_id = "read_activity", tag = "activity", params(Selection))]
pub(super) async fn read(
    admin: Administrator,
    Query(selection): Query<Selection>,
) -> Result<Found<ActivityReport>, Problem> {
    let range = match selection.range {
        ReportRange::Hour => Range::Hour,
        ReportRange::Day => Range::Day,
        ReportRange::Month => Range::Month,
    };
    if selection.client.is_some() && (selection.upstream.is_some() || selection.tool.is_some()) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "figures of a client at one upstream are not kept: leave out client, or upstream and tool",
        ));
    }
    let Selection { person, upstream, client, tool, .. } = selection;
    let report = admin.activity().report(range, &Subject { person, upstream, client, tool }).await?;
    let shares = |shares: Vec<activity::Share>| shares.into_iter().map(ActivityShare::from).collect();
    Ok(Found(ActivityReport {
        begin: Moment(report.begin),
        step: range.step().as_secs(),
        points: report.points.into_iter().map(ActivityPoint::from).collect(),
        sum: report.sum.into(),
        streams_now: report.streams_now,
        upstreams: shares(report.upstreams),
        clients: shares(report.clients),
        people: shares(report.people),
        tools: shares(report.tools),
    }))
}

impl From<activity::Point> for ActivityPoint {
    fn from(point: activity::Point) -> Self {
        let activity::Point { requests, errors, refused, refreshes, streams, p50_ms, p95_ms, p99_ms } = point;
        Self { requests, errors, refused, refreshes, streams, p50_ms, p95_ms, p99_ms }
    }
}

impl From<activity::Share> for ActivityShare {
    fn from(share: activity::Share) -> Self {
        let activity::Share { name, upstream, sum, streams_now } = share;
        Self { name, upstream, sum: sum.into(), streams_now }
    }
}
