//! From rows to a report.

use super::slices::step_of;
use super::{Point, Range, Report, Share, Subject, latency};
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::store::{
    ActivityCounts, ActivityName, ActivityShare, ActivitySlice, ActivitySpan, OpenStreams, Store, StoreError,
};

/// How many of the busiest are told.
const BUSIEST: u32 = 20;
/// Among how many people of an upstream those are looked for who call one of its tools.
const CALLERS: u32 = 100;

pub(super) async fn read(store: &Store, now: Timestamp, range: Range, subject: &Subject) -> Result<Report, Fault> {
    let resolution = range.resolution();
    let last = step_of(now, resolution);
    let before = i64::try_from(range.steps().saturating_sub(1)).unwrap_or(0);
    let begin = Timestamp(last.0 - before * resolution);
    let span = ActivitySpan { resolution, begin, steps: range.steps() };
    let slice = slice_of(subject);
    let parts = parts(&span, range, now);
    let shares = |by| store.activity_shares(&parts, &slice, (by, &[]), BUSIEST);
    let (found, open, upstreams, clients, people, tools) = tokio::try_join!(
        store.activity_points(&span, &slice),
        store.open_streams(""),
        shares(ActivityName::Upstream),
        shares(ActivityName::Client),
        people(store, &parts, &slice),
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
    let list = |shares: Vec<ActivityShare>, by| shares.into_iter().map(|share| told(share, by, &open)).collect();
    Ok(Report {
        begin,
        points,
        sum: point_of(&sum),
        streams_now: open.iter().map(|one| one.streams).sum(),
        upstreams: list(upstreams, ActivityName::Upstream),
        clients: list(clients, ActivityName::Client),
        people: list(people, ActivityName::Person),
        tools: list(tools, ActivityName::Tool),
    })
}

/// The same time in few steps: long ones as far as they fit, and the usual ones before.
fn parts(span: &ActivitySpan, range: Range, now: Timestamp) -> [ActivitySpan; 2] {
    let longer = range.longer_resolution();
    let first = step_of(Timestamp(span.begin.0 + longer - 1), longer);
    let count = |from: Timestamp, to: Timestamp, step| usize::try_from((to.0 - from.0) / step).unwrap_or(0);
    [
        ActivitySpan { steps: count(span.begin, first, span.resolution), ..*span },
        ActivitySpan { resolution: longer, begin: first, steps: 1 + count(first, step_of(now, longer), longer) },
    ]
}

/// Who has the largest part. The people of a tool are looked for among the busiest of its upstream.
async fn people(
    store: &Store,
    parts: &[ActivitySpan],
    slice: &ActivitySlice,
) -> Result<Vec<ActivityShare>, StoreError> {
    let by = ActivityName::Person;
    if slice.tool.is_empty() || slice.upstream.is_empty() {
        return store.activity_shares(parts, slice, (by, &[]), BUSIEST).await;
    }
    let of_upstream = ActivitySlice { upstream: slice.upstream.clone(), ..ActivitySlice::default() };
    let busiest = store.activity_shares(parts, &of_upstream, (by, &[]), CALLERS).await?;
    let names: Vec<_> = busiest.into_iter().map(|share| share.name).collect();
    match names.is_empty() {
        true => Ok(Vec::new()),
        false => store.activity_shares(parts, slice, (by, &names), BUSIEST).await,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_span_are_the_span() {
        for range in Range::ALL {
            for now in (1_700_000_000..1_700_100_000).step_by(617) {
                let resolution = range.resolution();
                let last = step_of(Timestamp(now), resolution).0;
                let steps = range.steps();
                let begin = Timestamp(last - i64::try_from(steps - 1).unwrap() * resolution);
                let [before, after] = parts(&ActivitySpan { resolution, begin, steps }, range, Timestamp(now));
                let end = |span: &ActivitySpan| span.begin.0 + i64::try_from(span.steps).unwrap() * span.resolution;
                assert_eq!((before.begin, end(&before)), (begin, after.begin.0));
                assert!(end(&after) > now && end(&after) <= now + after.resolution);
                assert!(before.steps + after.steps < 40, "{range:?}: {} and {}", before.steps, after.steps);
            }
        }
    }
}
