use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn policy(allow: Option<&[&str]>, deny: &[&str]) -> ToolPolicy {
    let patterns = |list: &[&str]| list.iter().map(|text| Pattern::parse(text).unwrap()).collect();
    ToolPolicy::new(allow.map(patterns), patterns(deny)).unwrap()
}

fn one(body: &str) -> Message<'_> {
    match Messages::read(body.as_bytes()) {
        Some(Messages::One(message)) => message,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn a_call_is_read_without_copying() {
    let message =
        one(r#"{"jsonrpc":"2.0","id":007.5e1,"params":{"arguments":{"name":"x"},"name":"get"},"method":"tools/call"}"#
            .replace("007", "7")
            .leak());
    assert!(matches!(&message.method, Some(std::borrow::Cow::Borrowed("tools/call"))));
    assert_eq!((message.name.as_deref(), message.uri.as_deref()), (Some("get"), None));
    assert_eq!(message.id.map(|id| id.get()), Some("7.5e1"));
    assert!(!message.doubtful);
}

#[test]
fn escapes_hide_nothing() {
    let message = one(r#"{"meth\u006fd":"tools\/call","params":{"n\u0061me":"del\u0065te"}}"#);
    assert_eq!((message.method.as_deref(), message.name.as_deref()), (Some("tools/call"), Some("delete")));
    assert!(!message.doubtful);
}

#[test]
fn what_parsers_disagree_about_is_doubtful() {
    for body in [
        r#"{"method":"ping","method":"tools/call"}"#,
        r#"{"method":"ping","meth\u006fd":"tools/call"}"#,
        r#"{"method":"ping","Method":"tools/call"}"#,
        r#"{"method":"tools/call","params":{"name":"a"},"params":{"name":"b"}}"#,
        r#"{"method":"tools/call","params":{"name":"a"},"paramſ":{"name":"b"}}"#,
        r#"{"method":"tools/call","params":{"name":"a","name":"b"}}"#,
        r#"{"method":"tools/call","params":{"name":"a","NAME":"b"}}"#,
        r#"{"method":"tools/call","params":["a",{}]}"#,
        r#"{"method":"tools/call","params":{"name":["a"]}}"#,
        r#"{"method":"tools/call","params":{"name":"\ud800"}}"#,
        r#"{"method":["tools/call"]}"#,
        r#"{"method":"ping","id":1,"id":2}"#,
    ] {
        assert!(one(body).doubtful, "{body}");
    }
    for body in [
        r#"{"method":"tools/call","params":{"name":"a","arguments":{"name":1,"Name":2,"x":"\ud800"}}}"#,
        r#"{"id":1,"result":{"name":[],"method":null}}"#,
        r#"{"method":"ping"}"#,
        r#"{"method":"tools/list","params":null}"#,
        "{}",
    ] {
        assert!(!one(body).doubtful, "{body}");
    }
}

#[test]
fn what_is_no_message_is_not_read() {
    let deep = format!("{{\"method\":\"ping\",\"x\":{}", "[".repeat(100_000));
    for body in [
        "",
        "1",
        "\"tools/call\"",
        "null",
        "[1]",
        "[[{}]]",
        "{} {}",
        "{}\n{\"method\":\"tools/call\"}",
        "\u{feff}{}",
        "{'method':'tools/call'}",
        "{\"a\":NaN}",
        "{\"a\":1,}",
        "{\"method\":\"tools/call\",\"params\":\"x\"}",
        "{\"a\"",
        "// x\n{}",
        &deep,
    ] {
        assert!(Messages::read(body.as_bytes()).is_none(), "{body}");
    }
    assert!(Messages::read(b"{\"a\":\"\xc0\xa2\"}").is_none(), "overlong");
    assert!(Messages::read(b"{\0\"\0}\0").is_none(), "UTF-16");
}

#[test]
fn depth_costs_no_stack() {
    let body = format!("{{\"x\":{}{},\"method\":\"ping\"}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(one(&body).method.as_deref(), Some("ping"));
}

#[test]
fn batches_are_read_element_by_element() {
    let body = br#" [{"method":"ping","id":1},{"method":"tools/call","params":{"name":"a"}},{"id":2,"result":{}}]"#;
    let Some(Messages::Batch(all)) = Messages::read(body) else { panic!("no batch") };
    let methods: Vec<_> = all.iter().map(|message| message.method.as_deref()).collect();
    assert_eq!(methods, [Some("ping"), Some("tools/call"), None]);
    assert!(matches!(Messages::read(b"[]"), Some(Messages::Batch(all)) if all.is_empty()));
}

#[test]
fn methods_are_known_or_other() {
    for method in Method::all() {
        assert_eq!(Method::of(method.label()), method);
    }
    assert_eq!(Method::of("tools/call"), Method::TOOLS_CALL);
    assert_eq!(Method::of("tools/list"), Method::TOOLS_LIST);
    assert_eq!(Method::BATCH.label(), "(batch)");
    assert_eq!(Method::NONE.label(), "(none)");
    assert_eq!(Method::of("x").label(), "(other)");
}

#[test]
fn deny_wins_and_allow_is_everything_when_absent() {
    let both = policy(Some(&["get_*", "search"]), &["get_secret*"]);
    for (tool, permitted) in [
        ("get_x", true),
        ("search", true),
        ("search2", false),
        ("get_secrets", false),
        ("get_SECRET", false),
        ("Get_x", false),
    ] {
        assert_eq!(both.permits(tool), permitted, "{tool}");
    }
    let denying = policy(None, &["delete_?", "*drop*"]);
    for (tool, permitted) in [
        ("delete_a", false),
        ("delete_ab", true),
        ("delete_", true),
        ("raindrops", false),
        ("", true),
        ("delete_ä", false),
    ] {
        assert_eq!(denying.permits(tool), permitted, "{tool}");
    }
    assert!(!policy(Some(&[]), &[]).permits("anything"));
    assert_eq!(ToolPolicy::new(None, Vec::new()), None);
    for bad in ["", "a b", "a[bc]", "{a,b}", "!a", "a\\*", "a\n"] {
        assert!(Pattern::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a38_a_pattern_made_to_be_slow_is_not() {
    let slow = policy(None, &["*a*a*a*a*a*a*a*a*a*a*b"]);
    assert!(slow.permits(&"a".repeat(10_000)));
}

#[test]
fn denied_tools_are_cut_out_and_nothing_else_changes() {
    let policy = policy(None, &["no*"]);
    for (list, kept) in [
        (r#"[{"name":"no"}]"#, "[]"),
        (r#"[ {"name":"no"} , {"name":"no2"} ]"#, "[  ]"),
        (r#"[{"name":"no"}, {"name":"a"}]"#, r#"[{"name":"a"}]"#),
        (r#"[{"name":"a"}, {"name":"no"}]"#, r#"[{"name":"a"}]"#),
        (
            r#"[{"name":"a"}, {"name":"no"},{"name":"no"},  {"name":"b"} , {"name":"no"} ]"#,
            r#"[{"name":"a"}, {"name":"b"} ]"#,
        ),
        (
            r#"[{"title":"é","name":"a"},{"x":[1,{"name":"no"}],"n\u0061me":"\u006eo"}]"#,
            r#"[{"title":"é","name":"a"}]"#,
        ),
        (r#"[{"name":"a","name":"no"}, 1]"#, "[1]"),
    ] {
        let message = |list: &str| {
            format!(r#"{{ "x":1.50, "result": {{"nextCursor":"c","tools": {list} ,"_meta":{{}}}},"id":1}} "#)
        };
        assert_eq!(without_denied(&message(list), &policy), Some(message(kept)), "{list}");
    }
    let batch = |list: &str| format!(r#"[{{"id":1,"result":{{}}}}, {{"id":2,"result":{{"tools":[{list}]}}}}]"#);
    assert_eq!(without_denied(&batch(r#"{"name":"no"}"#), &policy), Some(batch("")));
    for unchanged in [
        "",
        "[",
        "/messages?session=1",
        r#"{"result":{"tools":[{"name":"a"}]}}"#,
        r#"{"result":{"tools":{"name":"no"}}}"#,
        r#"{"result":{"content":[{"name":"no"}]}}"#,
        r#"{"params":{"tools":[{"name":"no"}]}}"#,
        r#"{"result":null}"#,
        r#"{"result":{"tools":[{"name":["no"]}]}}"#,
    ] {
        assert_eq!(without_denied(unchanged, &policy), None, "{unchanged}");
    }
}

#[test]
fn mirrors_are_true_from_2026_on() {
    for (version, truth) in [
        ("2026-07-28", true),
        ("2027-01-01", true),
        ("2025-11-25", false),
        ("2024-11-05", false),
        ("", false),
        ("9", false),
        ("draft-2026", false),
    ] {
        assert_eq!(mirrors_are_true(version), truth, "{version}");
    }
}

/// JSON that looks like messages, keys and escapes included.
fn json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("method".to_owned()),
        Just("params".to_owned()),
        Just("name".to_owned()),
        Just("id".to_owned()),
        Just("result".to_owned()),
        Just("tools".to_owned()),
        Just("uri".to_owned()),
        "[a-z\"\\\\é]{0,4}",
    ];
    let text =
        prop_oneof![Just("tools/call".to_owned()), Just("no".to_owned()), "\\PC{0,6}", "[\"\\\\\u{1}-\u{1f}]{0,4}"];
    let leaf = prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), text.prop_map(Value::from)];
    leaf.prop_recursive(6, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn text_of(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

proptest! {
    #[test]
    fn reading_agrees_with_a_whole_parser(value in json(), pretty: bool) {
        let body = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let params_fit = |message: &Value| {
            matches!(message.get("params"), None | Some(Value::Null | Value::Array(_) | Value::Object(_)))
        };
        let is_message = |value: &Value| value.is_object() && params_fit(value);
        let expected: Option<Vec<&Value>> = match &value {
            Value::Array(all) if all.iter().all(is_message) => Some(all.iter().collect()),
            one if is_message(one) => Some(vec![one]),
            _ => None,
        };
        let read = Messages::read(body.as_bytes());
        prop_assert_eq!(read.is_some(), expected.is_some());
        for (message, value) in read.iter().flat_map(Messages::as_slice).zip(expected.into_iter().flatten()) {
            prop_assert_eq!(message.method.as_deref(), text_of(value.get("method")));
            let params = value.get("params");
            prop_assert_eq!(message.name.as_deref(), text_of(params.and_then(|params| params.get("name"))));
            prop_assert_eq!(message.uri.as_deref(), text_of(params.and_then(|params| params.get("uri"))));
            prop_assert_eq!(message.id.is_some(), value.get("id").is_some());
            let wrong = |value: Option<&Value>| value.is_some_and(|value| !value.is_string());
            let doubtful = wrong(value.get("method")) || params.is_some_and(Value::is_array)
                || wrong(params.and_then(|params| params.get("name"))) || wrong(params.and_then(|params| params.get("uri")));
            prop_assert_eq!(message.doubtful, doubtful);
        }
    }

    #[test]
    fn reading_survives_anything(bytes: Vec<u8>) {
        let _ = Messages::read(&bytes);
        let _ = without_denied(&String::from_utf8_lossy(&bytes), &policy(None, &["no"]));
    }

    #[test]
    fn cutting_agrees_with_a_whole_parser(value in json(), pretty: bool) {
        let wrapped = serde_json::json!({ "id": 1, "result": { "tools": [value.clone(), { "name": "no" }, value] } });
        let message = if pretty { serde_json::to_string_pretty(&wrapped) } else { serde_json::to_string(&wrapped) }.unwrap();
        let cut: Value = serde_json::from_str(&without_denied(&message, &policy(None, &["no"])).unwrap()).unwrap();
        let mut expected = wrapped;
        expected["result"]["tools"].as_array_mut().unwrap().retain(|tool| tool.get("name") != Some(&Value::from("no")));
        prop_assert_eq!(cut, expected);
    }

    #[test]
    fn patterns_agree_with_the_obvious_matcher(pattern in "[ab*?]{1,8}", name in "[ab]{0,10}") {
        fn obvious(pattern: &[u8], name: &[u8]) -> bool {
            match (pattern, name) {
                ([], []) => true,
                ([b'*', rest @ ..], _) => (0..=name.len()).any(|skip| obvious(rest, &name[skip..])),
                ([b'?', rest @ ..], [_, name @ ..]) => obvious(rest, name),
                ([c, rest @ ..], [d, name @ ..]) => c == d && obvious(rest, name),
                _ => false,
            }
        }
        let allowing = ToolPolicy::new(Some(vec![Pattern::parse(&pattern).unwrap()]), Vec::new()).unwrap();
        prop_assert_eq!(allowing.permits(&name), obvious(pattern.as_bytes(), name.as_bytes()));
    }
}

#[test]
fn of_two_who_have_a_say_both_count_and_the_reason_is_told() {
    let both = policy(Some(&["get_*", "put"]), &[]).and(&policy(Some(&["*_a", "put", "get_x"]), &["PUT"]));
    let pattern = Pattern::parse("PUT").unwrap();
    assert_eq!(both.verdict("get_a"), Verdict::Permitted);
    assert_eq!(both.verdict("get_b"), Verdict::NotAllowed);
    assert_eq!(both.verdict("put"), Verdict::Denied(&pattern));
    assert_eq!(pattern.to_string(), "PUT");
    assert!(policy(None, &["x"]).and(&policy(None, &["y"])).permits("z"));
    assert!(!ToolPolicy::nothing().permits("z"));
    for (name, writable) in
        [("get_x", true), ("a*", false), ("a?", false), ("a b", false), ("a[1]", false), ("", false)]
    {
        assert_eq!(Pattern::of_name(name).is_some(), writable, "{name}");
    }
}
