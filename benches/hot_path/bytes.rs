//! What is looked for in bodies and streams.

use super::common::inputs;
use ::bytes::Bytes;
use criterion::Criterion;
use http::HeaderMap;
use portcullis::hostname::Authority;
use portcullis::mcp::{Messages, Pattern, ToolPolicy, without_denied};
use portcullis::proxy::workbench;
use std::hint::black_box;

pub(super) fn messages(criterion: &mut Criterion) {
    let (body, none) = (inputs::message(), HeaderMap::new());
    let fields = inputs::request_fields("host", "token");
    criterion.bench_function("messages/read 300 bytes", |b| b.iter(|| Messages::read(black_box(body.as_bytes()))));
    for (name, fields) in [("messages/peek, no fields", &none), ("messages/peek, fields of 2025", &fields)] {
        criterion.bench_function(name, |b| b.iter(|| workbench::calls_a_tool(fields, black_box(body.as_bytes()))));
    }
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

pub(super) fn streams(criterion: &mut Criterion) {
    let event = inputs::event();
    let upstream = Authority::parse("mcp.example").unwrap();
    let (text, shared) = (event.as_bytes(), Bytes::from(event.clone()));
    criterion.bench_function("streams/event boundary", |b| {
        b.iter(|| workbench::event_boundaries(std::iter::once(black_box(text))));
    });
    criterion.bench_function("streams/first event", |b| {
        b.iter(|| workbench::beginning_of_events(&upstream, black_box(&shared).clone()));
    });
    let frame: Vec<u8> = [&[0x82, 126, 4, 0][..], &[0; 1024]].concat();
    criterion.bench_function("streams/frame boundary, 1 KiB", |b| {
        b.iter(|| workbench::frame_boundaries(std::iter::once(black_box(&*frame))));
    });
}
