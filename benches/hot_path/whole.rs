//! A request, and an event of a stream, from a socket of the caller through the gateway to one of an upstream and back. All three
//! are in one thread, so that the figure is the work of all, without waiting for another core.

use super::common::Bench;
use super::common::exchange::{Caller, Listener, Upstream};
use criterion::Criterion;
use portcullis::server::Running;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;

pub(super) fn requests(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let upstream = runtime.block_on(Upstream::start());
    let mut bench = runtime.block_on(Bench::new(directory.path(), upstream.port));
    let bound = bench.bound.take().unwrap();
    let running = runtime.block_on(Running::start(bench.app.clone(), bound)).unwrap();
    let (gateway, token) = (running.address(), bench.token());
    let host = format!("{}.localhost:{}", bench.label(), gateway.port());
    let timed = |work: &mut dyn FnMut()| -> Duration {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    let mut caller = runtime.block_on(Caller::connect(gateway, &host, &token));
    criterion.bench_function("whole/request", |b| {
        b.iter_custom(|times| timed(&mut || runtime.block_on(caller.exchanges(times))));
    });
    let mut listener = runtime.block_on(Listener::open(gateway, &host, &token, &upstream));
    criterion.bench_function("whole/event", |b| {
        b.iter_custom(|times| timed(&mut || runtime.block_on(listener.events(times))));
    });
    drop((caller, listener));
    runtime.block_on(running.stop());
}
