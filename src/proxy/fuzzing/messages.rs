//! JSON-RPC messages, and what a policy makes of them.

use super::super::peek::Asked;
use super::super::policy::enforce;
use super::naive::Json;
use crate::fuzzing::Input;
use crate::mcp::{Message, Messages, Pattern, ToolPolicy, without_denied};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::sync::LazyLock;

/// `pay` and whatever begins with `delete` are denied.
static POLICY: LazyLock<ToolPolicy> = LazyLock::new(|| {
    let patterns = ["pay", "delete*"].map(|text| Pattern::parse(text).unwrap());
    ToolPolicy::new(None, patterns.to_vec()).unwrap()
});

/// What a message is said to ask for is what other parsers of JSON find in it; a denied tool is called in none of their readings,
/// and listed in none.
pub(crate) fn rpc(data: &[u8]) {
    let mut input = Input::new(data);
    let mirrors: HeaderMap = (0..input.below(3))
        .map(|_| {
            let name = HeaderName::from_static(input.pick(&[
                "mcp-method",
                "mcp-name",
                "mcp-protocol-version",
                "content-type",
            ]));
            let value = input.pick(&[
                "tools/call",
                "tools/list",
                "look",
                "pay",
                "2026-07-28",
                "=?base64?cGF5?=",
                "application/json",
            ]);
            (name, HeaderValue::from_static(value))
        })
        .collect();
    let body = if input.coin() { made_up(&mut input).into_bytes() } else { input.rest().to_vec() };

    let read = Messages::read(&body);
    let value = serde_json::from_slice::<Value>(&body).ok();
    let readings = serde_json::from_slice::<Json>(&body).ok();
    if let (Some(value), Some(json)) = (&value, &readings) {
        let object = |json: &Json| matches!(json, Json::Object(_));
        let readable = |message: &&Json| object(message) && message.members("params").all(object);
        compare(read.as_ref(), value, messages_of(json).iter().all(readable));
    }
    let asked = Asked::by_body(Some(&body));
    if let Some(json) = &readings {
        let all = messages_of(json);
        let calls = |message: &Json| {
            message.members("method").filter_map(Json::text).any(|method| method.eq_ignore_ascii_case("tools/call"))
        };
        assert!(asked.calls_a_tool || !all.iter().any(|message| calls(message)), "a call is taken for something else");
        if enforce(&POLICY, &mirrors, Some(&body)).is_ok() && !body.is_empty() {
            for message in all.iter().filter(|message| calls(message)) {
                let names: Vec<&str> = message
                    .members("params")
                    .flat_map(|params| params.members("name"))
                    .filter_map(Json::text)
                    .collect();
                assert!(!names.is_empty(), "a call of nobody knows what passes");
                assert!(names.iter().all(|name| POLICY.permits(name)), "{names:?} pass");
            }
        }
    } else if !body.is_empty() && value.is_none() && read.is_none() {
        assert!(enforce(&POLICY, &mirrors, Some(&body)).is_err(), "what nobody can read passes");
    }
    list(&String::from_utf8_lossy(&body));
}

/// A message out of parts that matter.
fn made_up(input: &mut Input<'_>) -> String {
    const KEYS: [&str; 10] = [
        "\"method\"",
        "\"params\"",
        "\"id\"",
        "\"jsonrpc\"",
        "\"Method\"",
        "\"m\\u0065thod\"",
        "\"param\\u017f\"",
        "\"result\"",
        "\"x\"",
        "\"PARAMS\"",
    ];
    const NAMES: [&str; 6] = ["\"name\"", "\"uri\"", "\"Name\"", "\"n\\u0061me\"", "\"arguments\"", "\"tools\""];
    const TEXTS: [&str; 12] = [
        "\"tools/call\"",
        "\"tools\\/call\"",
        "\"TOOLS/call\"",
        "\"tools/list\"",
        "\"pay\"",
        "\"PAY\"",
        "\"look\"",
        "\"delete_all\"",
        "\"p\\u0061y\"",
        "\"\\ud800\"",
        "1",
        "null",
    ];
    let object = |input: &mut Input<'_>| {
        let members: Vec<String> =
            (0..input.below(4)).map(|_| format!("{}:{}", input.pick(&NAMES), input.pick(&TEXTS))).collect();
        format!("{{{}}}", members.join(","))
    };
    let message = |input: &mut Input<'_>| {
        let members: Vec<String> = (0..input.below(6))
            .map(|_| {
                let key = input.pick(&KEYS);
                let value = match input.below(4) {
                    0 | 1 => object(input),
                    2 => input.pick(&TEXTS).to_owned(),
                    _ => format!("{{\"tools\":[{},{},{}]}}", object(input), object(input), input.pick(&TEXTS)),
                };
                let space = input.pick(&["", " ", "\n"]);
                format!("{space}{key}{space}:{value}")
            })
            .collect();
        format!("{{{}}}", members.join(","))
    };
    match input.below(4) {
        0 => {
            let batch: Vec<String> = (0..input.below(3)).map(|_| message(input)).collect();
            format!(" [{}]", batch.join(" ,"))
        }
        _ => message(input),
    }
}

fn messages_of(json: &Json) -> Vec<&Json> {
    match json {
        Json::List(batch) => batch.iter().collect(),
        message => vec![message],
    }
}

/// What was read, beside what the library makes of the same body. What is `readable` must have been.
fn compare(read: Option<&Messages<'_>>, value: &Value, readable: bool) {
    let Some(read) = read else { return assert!(!readable, "{value} was not read") };
    let expected = match value {
        Value::Array(batch) => batch.iter().collect(),
        message => vec![message],
    };
    assert_eq!(read.as_slice().len(), expected.len());
    for (message, expected) in read.as_slice().iter().zip(expected) {
        assert!(expected.is_object());
        if message.doubtful {
            continue;
        }
        let params = expected.get("params");
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let Message { method, name, uri, id, .. } = message;
        assert_eq!(method.as_deref().map(str::to_owned), text(expected.get("method")));
        assert_eq!(name.as_deref().map(str::to_owned), text(params.and_then(|params| params.get("name"))));
        assert_eq!(uri.as_deref().map(str::to_owned), text(params.and_then(|params| params.get("uri"))));
        assert_eq!(id.map(|id| serde_json::from_str::<Value>(id.get()).unwrap()).as_ref(), expected.get("id"));
    }
}

/// A list without denied tools has none, in no reading, and everything else of it.
fn list(text: &str) {
    let Some(changed) = without_denied(text, &POLICY) else { return };
    assert_eq!(without_denied(&changed, &POLICY), None, "{changed}");
    assert!(changed.len() < text.len());
    let (before, after) = (serde_json::from_str::<Value>(text), serde_json::from_str::<Value>(&changed));
    if let (Ok(before), Ok(after)) = (before, after) {
        let count = |value: &Value| value["result"]["tools"].as_array().map_or(0, Vec::len);
        assert!(count(&after) <= count(&before));
        let kept = |value: &Value| -> Vec<Value> {
            let tools = value["result"]["tools"].as_array().cloned().unwrap_or_default();
            tools.into_iter().filter(|tool| tool["name"].as_str().is_none_or(|name| POLICY.permits(name))).collect()
        };
        // A tool that has two names is gone for either.
        let (before, after) = (kept(&before), kept(&after));
        assert!(after.iter().all(|tool| before.contains(tool)));
    }
}
