//! Whose request it is, whether it may go on, and with which credential.

use super::common::Bench;
use criterion::{BatchSize, Criterion};
use futures_util::FutureExt;
use portcullis::jose::SigningAlgorithm;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use tokio::runtime::Runtime;

const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(super) fn steps(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let bench = runtime.block_on(Bench::new(directory.path(), 9));
    let (app, token, key) = (&bench.app, bench.token(), bench.key());
    let arrived = runtime.block_on(bench.arrived(&token));
    let verified = app.tokens.verify(&token).unwrap();
    let credential = runtime.block_on(app.connections.credential(&key)).ok().unwrap();
    let limits = app.limits();

    let mut group = criterion.benchmark_group("admission");
    group.bench_function("route", |b| b.iter(|| black_box(&arrived).leads_to_an_upstream()));
    group.bench_function("token cached", |b| b.iter(|| app.tokens.verify(black_box(&token)).unwrap()));
    group.bench_function("revocation", |b| {
        b.iter(|| black_box(&verified.life).has_ended() | black_box(credential.life()).has_ended());
    });
    group.bench_function("limit of an address", |b| b.iter(|| limits.check_ip(black_box(CALLER)).unwrap()));
    group.bench_function("limits", |b| {
        b.iter(|| {
            limits.check_ip(black_box(CALLER)).unwrap();
            limits.check_user(key.user).unwrap();
            limits.check_user_upstream(key.user, &bench.authority).unwrap();
            limits.check_client("bench").unwrap();
        });
    });
    group.bench_function("route, token, limits", |b| {
        b.iter(|| arrived.is_admitted(&app.tokens, &limits).now_or_never());
    });
    group.bench_function("credential", |b| b.iter(|| app.connections.cached(black_box(&key)).unwrap()));
    group.bench_function("whole, cached", |b| {
        b.iter(|| {
            let verified = app.tokens.verify(black_box(&token)).unwrap();
            limits.check_user(verified.user).unwrap();
            limits.check_user_upstream(verified.user, &bench.authority).unwrap();
            limits.check_client(&verified.client_id).unwrap();
            app.connections.cached(&key).unwrap()
        });
    });
}

/// A token that is not in memory: its signature is verified, once.
pub(super) fn first_seen(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    for (algorithm, name) in [(SigningAlgorithm::Es256, "ES256"), (SigningAlgorithm::EdDsa, "EdDSA")] {
        let directory = tempfile::tempdir().unwrap();
        let bench = Bench::with(directory.path(), 9, |config| config.tokens.signing_algorithm = algorithm);
        let bench = runtime.block_on(bench);
        criterion.bench_function(&format!("admission/token first seen ({name})"), |b| {
            let verify = |token: String| bench.app.tokens.verify(&token).unwrap();
            b.iter_batched(|| bench.token(), verify, BatchSize::SmallInput);
        });
    }
}
