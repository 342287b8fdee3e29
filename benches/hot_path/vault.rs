//! A token as the database has it: sealed once, opened when it is read.

use criterion::Criterion;
use portcullis::ids::Random;
use portcullis::vault::{Place, Vault};
use std::hint::black_box;

const PLACE: Place<'static> = Place {
    table: "connections",
    row: "5f2b6c1e7d0a4f57",
    column: "tokens",
    person: "9f0d0d6d3a2a9c11",
    upstream: "mcp.example",
};

pub(super) fn values(criterion: &mut Criterion) {
    let vault = Vault::new(&Vault::generate_key(&Random::default()), &[]).unwrap();
    let token = [b'x'; 1024];
    let sealed = vault.seal(&PLACE, &token);
    criterion.bench_function("vault/seal 1 KiB", |b| b.iter(|| vault.seal(&PLACE, black_box(&token))));
    criterion.bench_function("vault/open 1 KiB", |b| b.iter(|| vault.open(&PLACE, black_box(&sealed)).unwrap()));
}
