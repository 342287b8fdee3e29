//! The report: a table for each scenario, the marks, who was missing; plots beside it.

mod marks;
mod svg;

use crate::bench::Bench;
use crate::peers::versions;
use crate::rows::{CPU, P99, RATE, Row, distinct};
use crate::scenarios::SCENARIOS;
use crate::scenarios::streams::KIB_EACH;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use svg::Chart;

/// Writes `report.md` and the plots; where it is.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write(bench: &Bench) -> Result<PathBuf, String> {
    let mut text = String::from("# Portcullis and its peers\n\n");
    conditions(&mut text, bench);
    for scenario in bench.rows.scenarios() {
        let about = SCENARIOS.iter().find(|known| known.name == scenario).map_or("", |known| known.about);
        let _ = write!(text, "\n## {scenario}\n\n{about}\n\n");
        table(&mut text, bench, scenario);
    }
    marks::table(&mut text, &bench.rows);
    text.push_str(&plots(bench)?);
    for (scenario, remark) in &bench.remarks {
        let _ = write!(text, "\n## {scenario}: remark\n\n{remark}\n");
    }
    let path = bench.options.out.join("report.md");
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

const CHARTS: &[Chart] = &[
    Chart {
        file: "hot-cpu.svg",
        title: "CPU seconds of the proxy per 100,000 calls, everything on one core",
        scenario: "hot",
        value: CPU,
        cases: "one core",
    },
    Chart {
        file: "hot-rate.svg",
        title: "Calls per second, the proxy alone on one core",
        scenario: "hot",
        value: RATE,
        cases: "split",
    },
    Chart {
        file: "hot-p99.svg",
        title: "p99 of a call in µs, the proxy alone on one core",
        scenario: "hot",
        value: P99,
        cases: "split",
    },
    Chart {
        file: "events-cpu.svg",
        title: "CPU seconds of the proxy per 100,000 events",
        scenario: "sse-flood",
        value: CPU,
        cases: "",
    },
    Chart {
        file: "idle-memory.svg",
        title: "KiB of memory for each idle event stream",
        scenario: "sse-idle",
        value: KIB_EACH,
        cases: "",
    },
    Chart {
        file: "websocket-cpu.svg",
        title: "CPU seconds of the proxy per 100,000 messages",
        scenario: "ws-echo",
        value: CPU,
        cases: "one core",
    },
    Chart {
        file: "tls-cpu.svg",
        title: "CPU seconds of the proxy per 100,000 calls over TLS",
        scenario: "tls-hot",
        value: CPU,
        cases: "one core",
    },
];

/// Writes the plots; the list of them.
fn plots(bench: &Bench) -> Result<String, String> {
    let mut text = String::new();
    for chart in CHARTS {
        let path = bench.options.out.join(chart.file);
        // A plot of an earlier run would not fit this report.
        let _ = fs::remove_file(&path);
        let Some(svg) = svg::draw(&bench.rows, chart, crate::scenarios::everybody()) else { continue };
        fs::write(&path, svg).map_err(|error| format!("{}: {error}", path.display()))?;
        let _ = write!(text, "\n![{}]({})\n", chart.title, chart.file);
    }
    Ok(text)
}

fn conditions(text: &mut String, bench: &Bench) {
    let options = &bench.options;
    let _ = writeln!(
        text,
        "{} rounds of {} s, interleaved and shuffled; medians. {} cores, everything on loopback. *One core*: load, proxy and mock \
         share a core. *Split*: the proxy has a core to itself, load and mock share another.\n",
        options.rounds,
        options.duration.as_secs(),
        bench.cores.len()
    );
    let _ = writeln!(text, "| program | version |\n|---|---|");
    for (name, version) in versions(options) {
        let _ = writeln!(text, "| {name} | {version} |");
    }
    if !bench.missing.is_empty() {
        let _ = writeln!(text, "\nMissing:\n");
        for (name, why) in &bench.missing {
            let _ = writeln!(text, "- {name}: {why}");
        }
    }
}

/// Rows are cases and targets, columns what the scenario measures.
fn table(text: &mut String, bench: &Bench, scenario: &str) {
    let rows: Vec<&Row> = bench.rows.all.iter().filter(|row| row.scenario == scenario).collect();
    let columns = distinct(rows.iter().filter_map(|row| row.outcome.as_ref().ok()).flatten().map(|(name, _)| *name));
    let _ = writeln!(text, "| case | target | {} |", columns.join(" | "));
    let _ = writeln!(text, "|---|---|{}", "---|".repeat(columns.len()));
    for case in distinct(rows.iter().map(|row| row.case.as_str())) {
        let mut targets = distinct(rows.iter().filter(|row| row.case == case).map(|row| row.target.as_str()));
        targets.sort_by_key(|target| order(target));
        for target in targets {
            let cells = columns.iter().map(|column| match bench.rows.median(scenario, case, target, column) {
                Some(value) => number(value),
                None => String::new(),
            });
            let _ = writeln!(text, "| {case} | {target} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
    }
    for row in rows {
        if let Err(error) = &row.outcome {
            let _ = writeln!(text, "\nRound {} of {}, {}, failed: {error}", row.round + 1, row.target, row.case);
        }
    }
}

/// Targets are shuffled in every round; a table has one order.
fn order(target: &str) -> usize {
    let names = crate::scenarios::everybody();
    names.iter().position(|known| *known == target).unwrap_or(names.len())
}

/// Three significant digits are more than these figures have.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
