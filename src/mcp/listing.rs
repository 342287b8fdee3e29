//! Answers to `tools/list`, with tools cut out of them.

use super::ToolPolicy;
use super::message::{members, text};
use serde_json::value::RawValue;
use std::ops::Range;

/// The text of a message without the tools that `policy` denies; `None` when there is nothing to remove. A message is an
/// answer to `tools/list` when it has `result.tools`, whatever its `id`: a stream that is resumed carries answers to
/// requests that this process never saw. Everything else stays as it is, byte for byte.
pub fn without_denied(message: &str, policy: &ToolPolicy) -> Option<String> {
    let cuts = cuts(message, policy);
    let (mut kept, mut from) = (String::with_capacity(message.len()), 0);
    for cut in &cuts {
        kept.push_str(message.get(from..cut.start)?);
        from = cut.end;
    }
    kept.push_str(message.get(from..)?);
    (!cuts.is_empty()).then_some(kept)
}

/// What must go, in order.
fn cuts(message: &str, policy: &ToolPolicy) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let mut one = |message_of_many: &str| {
        each(message_of_many, "result", |result| {
            each(result.get(), "tools", |list| {
                let tools: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
                cut(message, &tools, policy, &mut cuts);
            });
        });
    };
    // Batches exist in MCP 2025-03-26.
    match serde_json::from_str::<Vec<&RawValue>>(message) {
        Ok(batch) => batch.into_iter().for_each(|message_of_many| one(message_of_many.get())),
        Err(_) => one(message),
    }
    cuts
}

/// The denied elements of one list, each with a comma beside it.
fn cut(message: &str, tools: &[&RawValue], policy: &ToolPolicy, cuts: &mut Vec<Range<usize>>) {
    let place = |tool: &RawValue| {
        let start = tool.get().as_ptr() as usize - message.as_ptr() as usize;
        start..start + tool.get().len()
    };
    let (Some(first), Some(last)) = (tools.first(), tools.last()) else { return };
    let Some(last_kept) = tools.iter().rposition(|tool| !is_denied(tool, policy)) else {
        cuts.push(place(first).start..place(last).end);
        return;
    };
    for (tool, next) in tools.iter().zip(tools.iter().skip(1)).take(last_kept) {
        if is_denied(tool, policy) {
            cuts.push(place(tool).start..place(next).start);
        }
    }
    if let (Some(kept), true) = (tools.get(last_kept), last_kept + 1 < tools.len()) {
        cuts.push(place(kept).end..place(last).end);
    }
}

fn is_denied(tool: &RawValue, policy: &ToolPolicy) -> bool {
    let mut denied = false;
    each(tool.get(), "name", |name| denied |= text(name).is_some_and(|name| !policy.permits(&name)));
    denied
}

/// Every member of that name: parsers differ in which of several they take.
fn each<'a>(object: &'a str, name: &str, mut found: impl FnMut(&'a RawValue)) {
    members(object, |key, value| {
        if key == name {
            found(value);
        }
    });
}
