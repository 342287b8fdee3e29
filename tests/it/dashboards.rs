//! What the dashboard and the alert rules ask for exists: every metric, every label and every value of a label; and every alert is
//! explained.

use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, RawUpstream, post};
use crate::tls_peers::Authority;
use portcullis::config::UpstreamAuth;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
/// What Prometheus itself adds.
const ADDED: [&str; 2] = ["instance", "job"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// A metric in an expression, and what is asked of its labels.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    metric: String,
    labels: Vec<(String, Vec<String>)>,
}

/// The metrics in expressions of PromQL: of ours, all begin with one of two words.
fn wanted(text: &str) -> BTreeSet<Wanted> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("portcullis_").chain(text.match_indices("process_")) {
        if text[..at].chars().next_back().is_some_and(is_name) {
            continue;
        }
        let rest = &text[at..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (metric, rest) = rest.split_at(end);
        let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(labels, _)| labels);
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(|label| {
            let (name, value) = label.split_once('=').unwrap();
            let value = value.trim_start_matches('~').trim_matches('"');
            (name.to_owned(), value.split('|').map(str::to_owned).collect())
        });
        found.insert(Wanted { metric: metric.to_owned(), labels: labels.collect() });
    }
    found
}

/// Every text of a key, wherever it stands.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(key).and_then(Value::as_str));
            members.values().for_each(|member| texts(member, key, found));
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        _ => {}
    }
}

/// The metrics of a gateway that has served a request, and of one with a certificate.
async fn served() -> String {
    let notes = RawUpstream::answering(OK).await;
    let authority = notes.authority.clone();
    let plain = Gateway::with(move |config| config.upstream.push(upstream(&authority, UpstreamAuth::None))).await;
    let (token, _) = plain.token_for(&notes.authority).await;
    let call = post(&plain.host_of(&notes.authority), &token, LIST);
    assert_eq!(Caller::connect(plain.port()).await.send(call).await.status().await, 200);
    let tls = Authority::new("Dashboards").files(&["gw.test", "*.gw.test"]);
    let certified = Gateway::with(move |config| {
        config.tls = tls.clone();
        config.server.domain = "gw.test".to_owned();
    })
    .await;
    format!("{}{}", plain.app().metrics.encode(), certified.app().metrics.encode())
}

#[tokio::test]
async fn what_the_dashboard_and_the_alerts_ask_for_exists() {
    let metrics = served().await;
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/portcullis.json")).unwrap();
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 30, "{expressions:?}");
    let rules = read("deploy/prometheus/alerts.yml");
    let rules: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert!(rules.len() > 10, "{rules:?}");
    let wanted = wanted(&[expressions.join("\n"), rules.join("\n")].join("\n"));
    let samples: Vec<&str> = metrics.lines().filter(|line| !line.starts_with('#')).collect();
    for Wanted { metric, labels } in &wanted {
        let of_metric: Vec<_> = samples.iter().filter(|line| line.split(['{', ' ']).next() == Some(metric)).collect();
        assert!(!of_metric.is_empty(), "{metric} is not in /metrics");
        for (label, values) in labels.iter().filter(|(label, _)| !ADDED.contains(&label.as_str())) {
            for value in values {
                let text = format!("{label}=\"{value}\"");
                assert!(of_metric.iter().any(|line| line.contains(&text)), "{metric} has no {text}: {of_metric:?}");
            }
        }
    }
    // What is summed by a label has it.
    for expression in expressions.iter().chain(&rules) {
        for (_, rest) in expression.match_indices(" by (").map(|(at, found)| expression.split_at(at + found.len())) {
            let (labels, rest) = rest.split_once(')').unwrap();
            let metric = self::wanted(rest).into_iter().next().unwrap().metric;
            for label in labels.split(", ").filter(|label| !ADDED.contains(label)) {
                let has =
                    |line: &&str| line.starts_with(&format!("{metric}{{")) && line.contains(&format!("{label}=\""));
                assert!(samples.iter().any(has), "{metric} has no label {label}");
            }
        }
    }
}

#[tokio::test]
async fn the_process_is_described_under_the_usual_names() {
    let metrics = Gateway::start().await.app().metrics.encode();
    let value = |name: &str| -> f64 {
        let line =
            metrics.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or_else(|| panic!("no {name}"));
        line.split(' ').nth(1).unwrap().parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6, "{metrics}");
    assert!(value("process_open_fds") > 3.0 && value("process_max_fds") > value("process_open_fds"), "{metrics}");
    assert!(value("process_cpu_seconds_total") > 0.0, "{metrics}");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let age = now.as_secs_f64() - value("process_start_time_seconds");
    assert!((-2.0..Duration::from_secs(86_400).as_secs_f64()).contains(&age), "{age}");
    let build = format!("portcullis_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(metrics.lines().any(|line| line == build), "{metrics}");
    assert_eq!(metrics.matches("# EOF").count(), 1);
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn every_alert_is_explained() {
    let (rules, docs) = (read("deploy/prometheus/alerts.yml"), read("docs/telemetry.md"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let runbooks: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("runbook: ")).collect();
    assert_eq!(alerts.len(), runbooks.len());
    for (alert, runbook) in alerts.iter().zip(runbooks) {
        assert_eq!(runbook, format!("docs/telemetry.md#{}", alert.to_lowercase()));
        assert!(docs.lines().any(|line| line == format!("### {alert}")), "{alert} is not in docs/telemetry.md");
    }
}

#[test]
fn expressions_are_taken_apart() {
    let found = wanted("sum(rate(portcullis_a_total{instance=~\"$i\", x=~\"b|c\"}[5m])) / process_d > my_portcullis_e");
    let labels = |pairs: &[(&str, &[&str])]| {
        pairs.iter().map(|(name, all)| ((*name).to_owned(), all.iter().map(|v| (*v).to_owned()).collect())).collect()
    };
    let a = Wanted {
        metric: "portcullis_a_total".to_owned(),
        labels: labels(&[("instance", &["$i"]), ("x", &["b", "c"])]),
    };
    let d = Wanted { metric: "process_d".to_owned(), labels: Vec::new() };
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [a, d]);
}
