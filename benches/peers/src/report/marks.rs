//! What is asked of the gateway, and how far it got. Ratios are medians of ratios within a round.

use crate::peers::{
    AGENTGATEWAY, AGENTGATEWAY_ES256, DIRECT, FLOOR, HAPROXY_ES256, HAPROXY_HS256, NGINX, PINGORA, PORTCULLIS,
};
use crate::rows::{CPU, MEMORY, P50, P99, Rows};
use crate::scenarios::streams::KIB_EACH;
use crate::scenarios::tls::CPU_EACH;
use crate::scenarios::tokens::{ADDED, OTHERS};
use crate::scenarios::whole::{FILE, READY};
use std::fmt::Write;

const ONE: &str = "one core, 1 connection";
const MANY: &str = "one core, 32 connections";
const PACED: &str = "one core, 1 stream of 200 events/s";
const SPLIT_PACED: &str = "split, 1 stream of 200 events/s";
const HANDSHAKES: &str = "one core, 4 at once";

/// The limits of a mark: first mark, goal, moonshot. Above the first, it is missed.
type Limits = &'static [f64];

/// Appends the table of marks.
pub(super) fn table(text: &mut String, rows: &Rows) {
    let _ = write!(
        text,
        "\n## The marks\n\nWhat is asked, and what this run measured. CPU on one core unless said.\n\n\
         | # | what | first mark, goal, moonshot | measured | reached |\n|---|---|---|---|---|\n"
    );
    for (number, what, measured, limits) in all(rows) {
        let asked: Vec<String> = limits.iter().map(|limit| format!("{limit}")).collect();
        let (measured, reached) = match measured {
            Some(value) => (format!("{value:.2}"), reached(value, limits)),
            None => ("not in this run".to_owned(), ""),
        };
        let _ = writeln!(text, "| {number} | {what} | {} | {measured} | {reached} |", asked.join(", "));
    }
    text.push_str(
        "\nNot here: agentgateway's MCP mode (of 4), and growth with upstreams, tokens and people (12, 13), which a bench inside \
         the library measures.\n",
    );
}

fn reached(value: f64, limits: Limits) -> &'static str {
    match limits.iter().filter(|limit| value <= **limit).count() {
        _ if limits.is_empty() => "",
        0 => "missed",
        1 => "first mark",
        2 => "goal",
        _ => "moonshot",
    }
}

const fn mark(number: u8, what: &'static str, measured: Option<f64>, limits: Limits) -> Mark {
    (number, what, measured, limits)
}

type Mark = (u8, &'static str, Option<f64>, Limits);

fn all(rows: &Rows) -> Vec<Mark> {
    [requests(rows), streams(rows), others(rows)].concat()
}

fn requests(rows: &Rows) -> Vec<Mark> {
    let hot = |case, other| rows.ratio(("hot", case, CPU), PORTCULLIS, other);
    let added = |value| rows.paired(("hot", ONE, value), (PORTCULLIS, DIRECT), |ours, direct| ours - direct);
    vec![
        mark(1, "hot / bare Pingora, 1 connection", hot(ONE, PINGORA), &[1.15, 1.05, 1.0]),
        mark(1, "hot / bare Pingora, 32 connections", hot(MANY, PINGORA), &[1.15, 1.05, 1.0]),
        mark(2, "hot / nginx, 1 connection", hot(ONE, NGINX), &[2.2, 1.5, 1.2]),
        mark(2, "hot / nginx, 32 connections", hot(MANY, NGINX), &[2.2, 1.5, 1.2]),
        mark(3, "hot / HAProxy ES256, 32 connections", hot(MANY, HAPROXY_ES256), &[0.28, 0.18, 0.14]),
        mark(3, "hot / HAProxy HS256, 32 connections", hot(MANY, HAPROXY_HS256), &[1.1, 0.8, 0.6]),
        mark(4, "hot / agentgateway ES256, 32 connections", hot(MANY, AGENTGATEWAY_ES256), &[0.28, 0.18, 0.14]),
        mark(4, "hot / agentgateway, 32 connections", hot(MANY, AGENTGATEWAY), &[0.95, 0.7, 0.55]),
        mark(5, "hot / floor, 1 connection", hot(ONE, FLOOR), &[3.2, 2.2, 1.7]),
        mark(5, "hot / floor, 32 connections", hot(MANY, FLOOR), &[5.0, 3.3, 2.5]),
        mark(6, "added p50 µs, 1 connection", added(P50), &[45.0, 30.0, 20.0]),
        mark(6, "added p99 µs, 1 connection", added(P99), &[130.0, 100.0, 80.0]),
        mark(7, "a new token adds µs", rows.median("cold", ONE, PORTCULLIS, ADDED), &[110.0, 75.0]),
        mark(7, "p99 of others with new tokens / without", beside(rows), &[]),
    ]
}

fn beside(rows: &Rows) -> Option<f64> {
    let p99 = |case| rows.median("cold-beside", case, PORTCULLIS, OTHERS);
    Some(p99("split, 8 others, new tokens")? / p99("split, 8 others, no new tokens")?)
}

fn streams(rows: &Rows) -> Vec<Mark> {
    let flood = rows.all.iter().find(|row| row.scenario == "sse-flood").map_or("", |row| row.case.as_str());
    let idle = rows.all.iter().find(|row| row.scenario == "sse-idle").map_or("", |row| row.case.as_str());
    let late = |case| rows.paired(("sse-paced", case, P50), (PORTCULLIS, DIRECT), |ours, direct| ours - direct);
    let echo = |case| rows.ratio(("ws-echo", case, CPU), PORTCULLIS, NGINX);
    vec![
        mark(8, "CPU of an event / nginx", rows.ratio(("sse-flood", flood, CPU), PORTCULLIS, NGINX), &[1.8, 1.3, 1.1]),
        mark(8, "event, added p50 µs, one core", late(PACED), &[300.0, 150.0]),
        mark(8, "event, added p50 µs, split", late(SPLIT_PACED), &[300.0, 150.0]),
        mark(9, "KiB of an idle stream", rows.median("sse-idle", idle, PORTCULLIS, KIB_EACH), &[40.0, 20.0, 10.0]),
        mark(10, "WebSocket message / nginx, 1 connection", echo(ONE), &[1.5, 1.2]),
        mark(10, "WebSocket message / nginx, 32 connections", echo(MANY), &[2.0, 1.4]),
    ]
}

fn others(rows: &Rows) -> Vec<Mark> {
    let start = |case, value| rows.median("start", case, PORTCULLIS, value);
    let handshake = rows.ratio(("tls-handshake", HANDSHAKES, CPU_EACH), PORTCULLIS, NGINX);
    vec![
        mark(11, "TLS kept connections / nginx", rows.ratio(("tls-hot", MANY, CPU), PORTCULLIS, NGINX), &[1.7, 1.3]),
        mark(11, "TLS handshake / nginx", handshake, &[0.65, 0.5]),
        mark(14, "idle memory MiB", start("one upstream", MEMORY), &[40.0, 20.0]),
        mark(14, "ready with 10,000 upstreams, ms", start("10,000 upstreams", READY), &[300.0, 150.0]),
        mark(14, "program MiB", start("one upstream", FILE), &[40.0, 30.0]),
    ]
}
