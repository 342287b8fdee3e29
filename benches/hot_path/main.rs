//! What each step of a request costs, and a whole request with both ends in this process: `make bench`. The steps beside those
//! of another commit: `make bench-compare BASE=<commit>`.

#![allow(clippy::unwrap_used, missing_docs)] // criterion's macros; a benchmark that fails says so

mod admission;
mod bytes;
mod codec;
mod heads;
mod recording;
mod vault;
mod whole;

#[path = "../common/mod.rs"]
mod common;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    codec::labels,
    admission::steps,
    admission::first_seen,
    heads::both_ways,
    bytes::messages,
    bytes::streams,
    recording::ends,
    vault::values,
    whole::requests,
);
criterion_main!(benches);
