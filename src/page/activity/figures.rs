//! Figures over time, as small plots of the same width, and the busiest of all kinds.

use super::{Choice, Chosen, EXPORT, FIGURES, LOG, LONGEST};
use crate::activity::{Point, Range, Report, Share};
use crate::clock::Timestamp;
use crate::page::answer::{Frame, talking_page};
use crate::page::place::{Account, Place};
use crate::page::plot::{self, HEIGHT, Plot, Scale, Series, Shape, TOP, Unit, bars, line};
use crate::page::words::{count, cut, milliseconds, things};
use askama::Template;
use axum::response::Response;
use http::StatusCode;
use std::collections::HashMap;

/// How many of each kind are named.
const BUSIEST: usize = 10;

/// Figures of a range and a subject.
pub struct FiguresPage<'a> {
    /// Who looks. Members see their own figures only.
    pub account: Account<'a>,
    /// What the address says.
    pub choice: &'a Choice,
    /// The range.
    pub range: Range,
    /// The figures; `None` where none are kept, see [`Choice::has_figures`].
    pub report: Option<&'a Report>,
    /// Names of clients by id, where they are known.
    pub client_names: &'a HashMap<String, String>,
}

/// Figures of a range and a subject.
pub fn figures(page: &FiguresPage<'_>) -> Response {
    let (choice, range) = (page.choice, page.range);
    let client_name = page.client_names.get(&choice.client).map(String::as_str);
    let ranges = [(Range::Hour, "Hour"), (Range::Day, "Day"), (Range::Month, "30 days")].map(|(other, name)| {
        let address = Choice { range: Choice::name_of(other), ..choice.clone() }.address(FIGURES, &[]);
        (name, address, other == range)
    });
    let since = page.report.filter(|report| !report.points.is_empty()).map(|report| report.begin.to_rfc3339());
    let log = Choice { range: "", since: since.unwrap_or_default(), ..choice.clone() };
    talking_page(
        StatusCode::OK,
        &Figures {
            frame: Frame::at(Place::Activity, &page.account),
            page,
            here: choice.address(FIGURES, &[]),
            ranges,
            chosen: choice.chosen(FIGURES, client_name, !page.account.administrator),
            log: log.address(LOG, &[]),
            export: log.address(EXPORT, &[("format", "csv")]),
            refresh: if range == Range::Month { 300 } else { 60 },
            drawn: page
                .report
                .filter(|report| report.points.iter().any(happened))
                .map(|report| Drawn::of(report, page)),
        },
    )
}

#[derive(Template)]
#[template(path = "activity.html")]
struct Figures<'a> {
    frame: Frame<'a>,
    page: &'a FiguresPage<'a>,
    here: String,
    ranges: [(&'static str, String, bool); 3],
    chosen: Vec<Chosen>,
    log: String,
    export: String,
    /// After how many seconds a page that somebody looks at is fetched again.
    refresh: u32,
    drawn: Option<Drawn>,
}

/// A report as it is drawn.
struct Drawn {
    facts: Vec<(&'static str, String)>,
    plots: Vec<Plot>,
    steps: usize,
    rows: Vec<Row>,
    busiest: Vec<Busiest>,
}

/// A step in the table.
struct Row {
    at: String,
    values: [String; 8],
}

/// The busiest of a kind.
struct Busiest {
    title: &'static str,
    rows: Vec<BusyRow>,
}

struct BusyRow {
    name: String,
    /// Whose tool it is.
    host: String,
    /// To its figures; none where the name is too long for an address.
    address: Option<String>,
    requests: String,
    failed: String,
    p95: String,
    streams: u64,
}

impl Drawn {
    fn of(report: &Report, page: &FiguresPage<'_>) -> Self {
        let (range, sum) = (page.range, &report.sum);
        let step = i64::try_from(range.step().as_secs()).unwrap_or(1);
        let times: Vec<String> = (0i64..)
            .zip(&report.points)
            .map(|(number, _)| report.begin.0.saturating_add(number.saturating_mul(step)))
            .map(|at| Timestamp(at).to_rfc3339().get(..16).unwrap_or_default().replace('T', " "))
            .collect();
        // Refreshes have neither client nor tool, and streams are kept by one name only.
        let names = [&page.choice.person, &page.choice.upstream, &page.choice.client];
        let names = names.into_iter().filter(|name| !name.is_empty()).count();
        let is_tool = !page.choice.tool.is_empty();
        let mut plots = vec![requests(report, &times, range), latency(report)];
        if page.choice.client.is_empty() && !is_tool {
            plots.push(refreshes(report, range));
        }
        let mut facts = vec![
            ("Requests", count(sum.requests)),
            ("Failed", share(sum.errors, sum.requests)),
            ("95 of 100 within", time(sum.p95_ms)),
        ];
        if names <= 1 && !is_tool {
            plots.push(streams(report, &times));
            facts.push(("Streams open now", count(report.streams_now)));
        }
        let moments = || plot::moments(range, report.begin);
        let rows = times.iter().zip(&report.points).map(|(at, point)| Row { at: at.clone(), values: values(point) });
        Self {
            facts,
            rows: rows.collect(),
            steps: report.points.len(),
            busiest: busiest(report, page),
            plots: plots.into_iter().map(|plot| Plot { moments: moments(), ..plot }).collect(),
        }
    }
}

fn requests(report: &Report, times: &[String], range: Range) -> Plot {
    let points = &report.points;
    let scale = Scale::up_to(points.iter().map(|point| point.requests).max().unwrap_or(0), Unit::Things);
    let layers = [
        values_of(points, |point| point.errors),
        values_of(points, |point| point.refused),
        values_of(points, answered),
    ];
    let [failed_bars, refused_bars, answered_bars] = bars(layers, &scale);
    let sum = &report.sum;
    let mut summary = format!(
        "{}: {} answered, {} refused, {} failed.",
        things(sum.requests, "request"),
        count(answered(sum)),
        count(sum.refused),
        count(sum.errors)
    );
    if let Some((point, at)) = points.iter().zip(times).max_by_key(|(point, _)| point.requests) {
        let step = match range {
            Range::Hour => "minute",
            Range::Day => "quarter of an hour",
            Range::Month => "six hours",
        };
        summary.push_str(&format!(" The busiest {step} began at {at}, with {}.", count(point.requests)));
    }
    Plot {
        id: "requests",
        title: "Requests",
        summary,
        ticks: scale.ticks(),
        moments: Vec::new(),
        series: vec![
            Series {
                name: "Answered",
                class: "answered",
                shape: Shape::Bars,
                total: count(answered(sum)),
                column: 1,
                path: answered_bars,
            },
            Series {
                name: "Refused",
                class: "refused",
                shape: Shape::Bars,
                total: count(sum.refused),
                column: 2,
                path: refused_bars,
            },
            Series {
                name: "Failed",
                class: "failed",
                shape: Shape::Bars,
                total: count(sum.errors),
                column: 3,
                path: failed_bars,
            },
        ],
    }
}

fn latency(report: &Report) -> Plot {
    let sum = &report.sum;
    let all = |of: fn(&Point) -> Option<u32>| report.points.iter().map(move |point| of(point).map(u64::from));
    let (half, most, nearly_all) = (all(|point| point.p50_ms), all(|point| point.p95_ms), all(|point| point.p99_ms));
    let highest = half.clone().chain(most.clone()).chain(nearly_all.clone()).flatten().max().unwrap_or(0);
    let scale = Scale::up_to(highest, Unit::Milliseconds);
    let summary = match (sum.p50_ms, sum.p95_ms, sum.p99_ms) {
        (Some(_), _, _) => format!(
            "Half of the requests took no longer than {}, 95 of a hundred than {}, 99 of a hundred than {}.",
            time(sum.p50_ms),
            time(sum.p95_ms),
            time(sum.p99_ms)
        ),
        _ => "Nothing was measured: there was no request that ended.".to_owned(),
    };
    Plot {
        id: "latency",
        title: "How long they took",
        summary,
        ticks: scale.ticks(),
        moments: Vec::new(),
        series: vec![
            Series {
                name: "Half",
                class: "p50",
                shape: Shape::Line,
                total: time(sum.p50_ms),
                column: 4,
                path: line(half, &scale),
            },
            Series {
                name: "95 of 100",
                class: "p95",
                shape: Shape::Line,
                total: time(sum.p95_ms),
                column: 5,
                path: line(most, &scale),
            },
            Series {
                name: "99 of 100",
                class: "p99",
                shape: Shape::Line,
                total: time(sum.p99_ms),
                column: 6,
                path: line(nearly_all, &scale),
            },
        ],
    }
}

fn refreshes(report: &Report, range: Range) -> Plot {
    let refreshed = values_of(&report.points, |point| point.refreshes);
    let scale = Scale::up_to(refreshed.iter().max().copied().unwrap_or(0), Unit::Things);
    let [path] = bars([refreshed], &scale);
    let total = count(report.sum.refreshes);
    let time = match range {
        Range::Hour => "hour",
        Range::Day => "day",
        Range::Month => "30 days",
    };
    Plot {
        id: "refreshes",
        title: "Tokens refreshed",
        summary: format!("{} of servers refreshed within the {time}.", things(report.sum.refreshes, "token")),
        ticks: scale.ticks(),
        moments: Vec::new(),
        series: vec![Series { name: "Refreshed", class: "refreshed", shape: Shape::Bars, total, column: 7, path }],
    }
}

fn streams(report: &Report, times: &[String]) -> Plot {
    let open = values_of(&report.points, |point| point.streams);
    let most = open.iter().zip(times).max_by_key(|(open, _)| **open);
    let scale = Scale::up_to(most.map_or(0, |(open, _)| *open), Unit::Things);
    let now = report.streams_now;
    let mut summary = format!(
        "{} open now.",
        if now == 1 { "1 stream is".to_owned() } else { format!("{} streams are", count(now)) }
    );
    if let Some((open, at)) = most.filter(|(open, _)| **open > 0) {
        summary.push_str(&format!(" The most at once were {}, at {at}.", count(*open)));
    }
    let path = line(open.iter().copied().map(Some), &scale);
    Plot {
        id: "streams",
        title: "Streams open",
        summary,
        ticks: scale.ticks(),
        moments: Vec::new(),
        series: vec![Series {
            name: "Most at once",
            class: "open",
            shape: Shape::Line,
            total: count(most.map_or(0, |(open, _)| *open)),
            column: 8,
            path,
        }],
    }
}

fn busiest(report: &Report, page: &FiguresPage<'_>) -> Vec<Busiest> {
    let choice = page.choice;
    let row = |share: &Share, name: &str, choice: Choice| BusyRow {
        name: cut(name),
        host: share.upstream.as_deref().map(cut).unwrap_or_default(),
        address: (share.name.len() <= LONGEST).then(|| choice.address(FIGURES, &[])),
        requests: count(share.sum.requests),
        failed: count(share.sum.errors),
        p95: time(share.sum.p95_ms),
        streams: share.streams_now,
    };
    let upstream = |share: &Share| {
        row(
            share,
            &share.name,
            Choice { upstream: share.name.clone(), client: String::new(), tool: String::new(), ..choice.clone() },
        )
    };
    let tool = |share: &Share| {
        let upstream = share.upstream.clone().unwrap_or_else(|| choice.upstream.clone());
        row(share, &share.name, Choice { tool: share.name.clone(), upstream, client: String::new(), ..choice.clone() })
    };
    let client = |share: &Share| {
        let name = page.client_names.get(&share.name).unwrap_or(&share.name);
        row(
            share,
            name,
            Choice { client: share.name.clone(), upstream: String::new(), tool: String::new(), ..choice.clone() },
        )
    };
    let person = |share: &Share| row(share, &share.name, Choice { person: share.name.clone(), ..choice.clone() });
    fn list(title: &'static str, shares: &[Share], row: impl FnMut(&Share) -> BusyRow) -> Busiest {
        Busiest { title, rows: shares.iter().take(BUSIEST).map(row).collect() }
    }
    let mut lists = vec![
        list("Servers", &report.upstreams, upstream),
        list("Tools", &report.tools, tool),
        list("Clients", &report.clients, client),
    ];
    if page.account.administrator {
        lists.push(list("People", &report.people, person));
    }
    lists.retain(|list| !list.rows.is_empty());
    lists
}

fn values(point: &Point) -> [String; 8] {
    let times = [point.p50_ms, point.p95_ms, point.p99_ms].map(time);
    let [half, most, nearly_all] = times;
    let counts = [answered(point), point.refused, point.errors, point.refreshes, point.streams].map(count);
    let [answered, refused, failed, refreshes, streams] = counts;
    [answered, refused, failed, half, most, nearly_all, refreshes, streams]
}

fn values_of(points: &[Point], of: impl FnMut(&Point) -> u64) -> Vec<u64> {
    points.iter().map(of).collect()
}

fn answered(point: &Point) -> u64 {
    point.requests.saturating_sub(point.errors).saturating_sub(point.refused)
}

fn happened(point: &Point) -> bool {
    point.requests > 0 || point.refreshes > 0 || point.streams > 0
}

fn time(milliseconds_taken: Option<u32>) -> String {
    milliseconds_taken.map_or_else(|| "–".to_owned(), |taken| milliseconds(u64::from(taken)))
}

/// A part with its share of the whole: `12 (0.4 %)`.
fn share(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return count(part);
    }
    let tenths = u128::from(part) * 1000 / u128::from(whole);
    let share = if tenths == 0 { "< 0.1".to_owned() } else { format!("{}.{}", tenths / 10, tenths % 10) };
    format!("{} ({share} %)", count(part))
}
