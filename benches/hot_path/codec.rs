//! Labels of hostnames. The gateway remembers the ones that it has seen lately.

use criterion::Criterion;
use portcullis::hostname::{Authority, Label};
use std::hint::black_box;

pub(super) fn labels(criterion: &mut Criterion) {
    let authority = Authority::parse("mcp.atlassian.com").unwrap();
    let text = Label::encode(&authority).unwrap().to_string();
    criterion.bench_function("label/encode", |b| b.iter(|| Label::encode(black_box(&authority)).unwrap().to_string()));
    criterion.bench_function("label/decode", |b| b.iter(|| Label::parse(black_box(&text)).unwrap()));
    criterion.bench_function("label/refuse", |b| b.iter(|| Label::parse(black_box("not-base32-at-all-enc")).is_err()));
}
