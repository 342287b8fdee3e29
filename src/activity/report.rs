//! From rows to a report.

use super::slices::step_of;
use super::{Point, Range, Report, Share, Subject, latency};
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::store::{ActivityCounts, ActivityName, ActivityShare, ActivitySlice, ActivitySpan, OpenStreams, Store};

/// How many of the busiest are told.
const BUSIEST: u32 = 20;

pub(super) async fn read(store: &Store, now: Timestamp, range: Range, subject: &Subject) -> Result<Report, Fault> {
    let resolution = range.resolution();
    let last = step_of(now, resolution);
    let before = i64::try_from(range.steps().saturating_sub(1)).unwrap_or(0);
    let begin = Timestamp(last.0 - before * resolution);
    let span = ActivitySpan { resolution, begin, steps: range.steps() };
    let slice = slice_of(subject);
    let shares = |by| store.activity_shares(&span, &slice, by, BUSIEST);
    let (found, open, upstreams, clients, people, tools) = tokio::try_join!(
        store.activity_points(&span, &slice),
        store.open_streams(""),
        shares(ActivityName::Upstream),
        shares(ActivityName::Client),
        shares(ActivityName::Person),
        shares(ActivityName::Tool),
    )?;
    let open: Vec<_> = open.into_iter().filter(|one| has_part(one, &slice)).collect();
    let mut points = vec![Point::default(); range.steps()];
    let mut sum = ActivityCounts::default();
    for (step, counts) in found {
        sum.add(&counts);
        let at = usize::try_from((step.0 - begin.0) / resolution).unwrap_or(usize::MAX);
        if let Some(point) = points.get_mut(at) {
            *point = point_of(&counts);
        }
    }
    let told = |shares: Vec<ActivityShare>, by| shares.into_iter().map(|share| told(share, by, &open)).collect();
    Ok(Report {
        begin,
        points,
        sum: point_of(&sum),
        streams_now: open.iter().map(|one| one.streams).sum(),
        upstreams: told(upstreams, ActivityName::Upstream),
        clients: told(clients, ActivityName::Client),
        people: told(people, ActivityName::Person),
        tools: told(tools, ActivityName::Tool),
    })
}

fn slice_of(subject: &Subject) -> ActivitySlice {
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    ActivitySlice {
        person: name(&subject.person),
        upstream: name(&subject.upstream),
        client: name(&subject.client),
        tool: name(&subject.tool),
    }
}

/// Nobody knows which tool a stream belongs to.
fn has_part(open: &OpenStreams, slice: &ActivitySlice) -> bool {
    let is = |asked: &str, name: &str| asked.is_empty() || asked == name;
    slice.tool.is_empty()
        && is(&slice.person, &open.person)
        && is(&slice.upstream, &open.upstream)
        && is(&slice.client, &open.client)
}

fn told(share: ActivityShare, by: ActivityName, open: &[OpenStreams]) -> Share {
    let belongs = |one: &&OpenStreams| match by {
        ActivityName::Upstream => one.upstream == share.name,
        ActivityName::Client => one.client == share.name,
        ActivityName::Person => one.person == share.name,
        ActivityName::Tool => false,
    };
    let streams_now = open.iter().filter(belongs).map(|one| one.streams).sum();
    Share { sum: point_of(&share.counts), streams_now, name: share.name, upstream: share.upstream }
}

fn point_of(counts: &ActivityCounts) -> Point {
    let percentile = |percent| latency::percentile(&counts.latencies, percent);
    Point {
        requests: counts.requests,
        errors: counts.errors,
        refused: counts.refused,
        refreshes: counts.refreshes,
        streams: counts.streams,
        p50_ms: percentile(50),
        p95_ms: percentile(95),
        p99_ms: percentile(99),
    }
}
