//! Bar charts as SVG: one group for each case, one bar for each target.

use crate::rows::Rows;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 170.0;
const BAR: f64 = 16.0;
const GAP: f64 = 26.0;
const TOP: f64 = 48.0;

/// One chart: a value of a scenario.
pub(super) struct Chart {
    pub file: &'static str,
    pub title: &'static str,
    pub scenario: &'static str,
    pub value: &'static str,
    /// Only cases that begin so.
    pub cases: &'static str,
}

/// The chart as text; none where nothing was measured. Bars are horizontal, so that names can be read.
pub(super) fn draw(rows: &Rows, chart: &Chart, order: &[&str]) -> Option<String> {
    let matching = rows.all.iter().filter(|row| row.scenario == chart.scenario && row.case.starts_with(chart.cases));
    let cases = crate::rows::distinct(matching.map(|row| row.case.as_str()));
    let groups: Vec<(&str, Vec<(&str, f64)>)> = cases
        .into_iter()
        .map(|case| {
            let bars = order
                .iter()
                .filter_map(|name| Some((*name, rows.median(chart.scenario, case, name, chart.value)?.max(0.0))));
            (case, bars.collect::<Vec<_>>())
        })
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    let largest = groups.iter().flat_map(|(_, bars)| bars).map(|(_, value)| *value).fold(0.0, f64::max);
    if largest <= 0.0 {
        return None;
    }
    let bars: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let height = TOP + bars as f64 * BAR + groups.len() as f64 * GAP + 12.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"16\">{}</text>\n",
        escape(chart.title)
    );
    let mut y = TOP;
    for (case, bars) in &groups {
        let _ = writeln!(svg, "<text x=\"12\" y=\"{}\" font-weight=\"bold\">{}</text>", y + 12.0, escape(case));
        y += GAP - 6.0;
        for (name, value) in bars {
            bar(&mut svg, y, name, *value, largest);
            y += BAR;
        }
        y += 6.0;
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn bar(svg: &mut String, y: f64, name: &str, value: f64, largest: f64) {
    let length = (WIDTH - LEFT - 90.0) * value / largest;
    let colour = if name == crate::peers::PORTCULLIS { "#b3541e" } else { "#8a9bb0" };
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"{}\" fill=\"{colour}\"/>\
         <text x=\"{:.1}\" y=\"{}\">{}</text>",
        LEFT - 8.0,
        y + 12.0,
        escape(name),
        y + 2.0,
        BAR - 4.0,
        LEFT + length + 6.0,
        y + 12.0,
        super::number(value)
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
