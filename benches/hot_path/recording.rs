//! What counting and recording a request costs that request. What is done later, by others, is in `make bench-activity`.

use super::common::Bench;
use criterion::Criterion;
use portcullis::config::AuditedRequests;
use portcullis::mcp::Method;
use portcullis::telemetry::{Fate, Kind};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// As many as the queue takes, less than fills it.
const BATCH: u64 = 4096;

pub(super) fn ends(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let bench = runtime.block_on(Bench::new(directory.path(), 9));
    let (app, token, upstream) = (&bench.app, bench.token(), bench.upstream());
    let verified = app.tokens.verify(&token).unwrap();

    let mut group = criterion.benchmark_group("recording");
    group.bench_function("metrics", |b| {
        b.iter(|| {
            app.metrics.mcp_request(black_box(Method::TOOLS_CALL), Fate::Answered);
            app.metrics.request(Kind::Upstream, black_box(200), Duration::from_micros(300));
        });
    });
    let counted = app.audit.wanting(AuditedRequests::None);
    group.bench_function("counted only", |b| b.iter(|| counted.request(bench.ended_request(&verified, &upstream))));
    // The queue is emptied between two batches, so that it never is full; that takes far longer than filling it.
    group.sample_size(10).warm_up_time(Duration::from_millis(50)).measurement_time(Duration::from_millis(100));
    group.bench_function("counted and queued for the audit log", |b| {
        b.iter_custom(|times| {
            let mut took = Duration::ZERO;
            for begun in (0..times).step_by(BATCH as usize) {
                let started = Instant::now();
                (begun..times.min(begun + BATCH))
                    .for_each(|_| app.audit.request(bench.ended_request(&verified, &upstream)));
                took += started.elapsed();
                runtime.block_on(app.audit.flush());
            }
            took
        });
    });
}
