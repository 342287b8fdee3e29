//! The heads of request and answer, as they go on.

use super::common::{Bench, inputs};
use criterion::Criterion;
use http::{Method, StatusCode};
use portcullis::proxy::workbench::{Answer, Request};
use std::hint::black_box;
use tokio::runtime::Runtime;

pub(super) fn both_ways(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let bench = runtime.block_on(Bench::new(directory.path(), 9));
    let credential = runtime.block_on(bench.app.connections.credential(&bench.key())).ok().unwrap();
    let request = Request::new(Method::POST, b"/mcp", &inputs::request_fields("host", &bench.token())).unwrap();
    let answer = Answer::new(StatusCode::OK, &inputs::answer_fields()).unwrap();
    let mut out = Vec::with_capacity(4096);
    criterion.bench_function("head/to the upstream", |b| {
        b.iter(|| {
            out.clear();
            black_box(&request).write(&mut out, "mcp.example", &credential, 300);
        });
    });
    criterion.bench_function("head/to the caller", |b| {
        b.iter(|| {
            out.clear();
            black_box(&answer).write(&mut out, &bench.authority);
        });
    });
}
