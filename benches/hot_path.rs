//! What a request costs before it goes anywhere: the codec and admission.

#![allow(clippy::unwrap_used, missing_docs)] // criterion's macros; a benchmark that fails says so

mod common;

use common::Bench;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use portcullis::hostname::{Authority, Label};
use portcullis::mcp::{Messages, Pattern, ToolPolicy, without_denied};
use std::hint::black_box;

fn codec(criterion: &mut Criterion) {
    let authority = Authority::parse("mcp.atlassian.com").unwrap();
    let text = Label::encode(&authority).unwrap().to_string();
    criterion.bench_function("label/encode", |b| b.iter(|| Label::encode(black_box(&authority)).unwrap().to_string()));
    criterion.bench_function("label/decode", |b| b.iter(|| Label::parse(black_box(&text)).unwrap()));
    criterion.bench_function("label/refuse", |b| b.iter(|| Label::parse(black_box("not-base32-at-all-enc")).is_err()));
}

fn admission(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bench = runtime.block_on(Bench::new(directory.path(), 9));
    let (app, token, key) = (&bench.app, bench.token(), bench.key());
    app.tokens.verify(&token).unwrap();
    runtime.block_on(app.connections.credential(&key)).ok().unwrap();

    criterion.bench_function("admission/token cached", |b| b.iter(|| app.tokens.verify(black_box(&token)).unwrap()));
    criterion.bench_function("admission/token first seen (ES256)", |b| {
        b.iter_batched(|| bench.token(), |token| app.tokens.verify(&token).unwrap(), BatchSize::SmallInput);
    });
    let limits = app.limits();
    criterion.bench_function("admission/limits", |b| {
        b.iter(|| {
            limits.check_ip([127, 0, 0, 1].into()).unwrap();
            limits.check_user(key.user).unwrap();
            limits.check_user_upstream(key.user, &bench.authority).unwrap();
            limits.check_client("bench").unwrap();
        });
    });
    criterion.bench_function("admission/credential", |b| b.iter(|| app.connections.cached(black_box(&key)).unwrap()));
    criterion.bench_function("admission/whole, cached", |b| {
        b.iter(|| {
            let verified = app.tokens.verify(black_box(&token)).unwrap();
            limits.check_user(verified.user).unwrap();
            limits.check_user_upstream(verified.user, &bench.authority).unwrap();
            limits.check_client(&verified.client_id).unwrap();
            app.connections.cached(&key).unwrap()
        });
    });
}

fn messages(criterion: &mut Criterion) {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{{"name":"get_weather","arguments":{{"note":"{}"}}}}}}"#,
        "x".repeat(200)
    );
    criterion.bench_function("messages/read 300 bytes", |b| b.iter(|| Messages::read(black_box(body.as_bytes()))));
    let parse = |text: &str| Pattern::parse(text).unwrap();
    let policy = ToolPolicy::new(Some(vec![parse("get_*"), parse("search")]), vec![parse("*_secret")]).unwrap();
    criterion.bench_function("messages/policy", |b| b.iter(|| policy.permits(black_box("get_weather"))));
    let tool = |number| format!(r#"{{"name":"get_{number}","description":"{}"}}"#, "d".repeat(300));
    let tools: Vec<String> = (0..50).map(tool).collect();
    let list = format!(r#"{{"id":1,"result":{{"tools":[{},{{"name":"drop"}}]}}}}"#, tools.join(","));
    criterion.bench_function("messages/filter a list of 16 KiB", |b| {
        b.iter(|| without_denied(black_box(&list), &policy));
    });
}

criterion_group!(benches, codec, admission, messages);
criterion_main!(benches);
