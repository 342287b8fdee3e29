//! Plots, made of numbers: scales with round ticks, stacked bars and lines. Colours are in the style sheet; every series also differs
//! by its shape.
//!
//! A plot is as wide as the page lets it be. So whatever stretches is in an inner picture, a unit wide for each step, and texts are
//! outside of it, at places in percent.

use super::words::{count, milliseconds};
use crate::activity::Range;
use crate::clock::Timestamp;
use std::fmt::Write as _;

/// The height of the inner picture, in pixels.
pub(super) const HEIGHT: f64 = 120.0;
/// Where it begins, from the top: there is room for the label of the highest line.
pub(super) const TOP: f64 = 16.0;
/// A bar that is there at all can be seen.
const LEAST: f64 = 1.5;
/// How close to an edge a label below the plot may be, in percent.
const EDGE: f64 = 4.0;

/// One of several plots over the same time.
pub(super) struct Plot {
    /// In addresses within the page.
    pub(super) id: &'static str,
    /// What it shows.
    pub(super) title: &'static str,
    /// The same as a sentence or two, with the figures that matter.
    pub(super) summary: String,
    /// The lines across it, from the bottom.
    pub(super) ticks: Vec<Tick>,
    /// The moments below it.
    pub(super) moments: Vec<Moment>,
    /// What is drawn, and its legend.
    pub(super) series: Vec<Series>,
}

/// A line across a plot.
pub(super) struct Tick {
    pub(super) y: f64,
    pub(super) label: String,
}

/// A moment below a plot.
pub(super) struct Moment {
    /// In percent of the width.
    pub(super) x: f64,
    pub(super) label: String,
}

/// A series of values.
pub(super) struct Series {
    pub(super) name: &'static str,
    /// What the style sheet knows it by.
    pub(super) class: &'static str,
    /// Whether it is bars or a line.
    pub(super) shape: Shape,
    /// What is said of the whole range.
    pub(super) total: String,
    /// Of which column of the table it is, from 1.
    pub(super) column: usize,
    /// The data of an SVG `path`.
    pub(super) path: String,
}

impl Series {
    /// A sample of it for the legend, 16 wide and 12 high.
    pub(super) fn key(&self) -> &'static str {
        match self.shape {
            Shape::Bars => "M2 0h12v12h-12z",
            Shape::Line => "M0 6h16",
        }
    }
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Bars,
    Line,
}

/// What the numbers of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Things,
    Milliseconds,
}

/// From values to heights.
pub(super) struct Scale {
    step: u64,
    top: u64,
    unit: Unit,
}

impl Scale {
    /// Reaches `most`, in two to five steps of 1, 2 or 5 times a power of ten.
    pub(super) fn up_to(most: u64, unit: Unit) -> Self {
        let most = most.max(1);
        let powers = std::iter::successors(Some(1u64), |power| power.checked_mul(10));
        let steps = powers.flat_map(|power| [1, 2, 5].map(|digit| power.saturating_mul(digit)));
        let step = steps.into_iter().find(|step| most.div_ceil(*step) <= 4).unwrap_or(u64::MAX / 4);
        Self { step, top: most.div_ceil(step).saturating_mul(step), unit }
    }

    /// The lines across the plot, from the bottom.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let label = |value| match self.unit {
            Unit::Things => count(value),
            Unit::Milliseconds => milliseconds(value),
        };
        let values = (0..=self.top / self.step).map(|number| number * self.step);
        values.map(|value| Tick { y: TOP + self.y(value), label: label(value) }).collect()
    }

    fn y(&self, value: u64) -> f64 {
        round(HEIGHT - self.height(value))
    }

    // More than 2^53 requests need no exact height.
    #[allow(clippy::cast_precision_loss)]
    fn height(&self, value: u64) -> f64 {
        HEIGHT * value as f64 / self.top as f64
    }
}

/// Bars upon bars: `layers` from the bottom, each with a value for every step. A path for each layer.
pub(super) fn bars<const N: usize>(layers: [Vec<u64>; N], scale: &Scale) -> [String; N] {
    let steps = layers.iter().map(Vec::len).max().unwrap_or(0);
    let mut paths = std::array::from_fn(|_| String::new());
    for step in 0..steps {
        let mut bottom = HEIGHT;
        for (layer, path) in layers.iter().zip(&mut paths) {
            let value = layer.get(step).copied().unwrap_or(0);
            if value > 0 {
                let height = scale.height(value).max(LEAST).min(bottom);
                bottom -= height;
                // Writing to a text never fails.
                let _ = write!(path, "M{step}.1 {}h.8v{}h-.8z", round(bottom), round(height));
            }
        }
    }
    paths
}

/// A line through the middles of the steps; where nothing is known it breaks off, and a value between two such gaps is a dot.
pub(super) fn line(values: impl IntoIterator<Item = Option<u64>>, scale: &Scale) -> String {
    let (mut path, mut pen_is_down) = (String::new(), false);
    for (step, value) in values.into_iter().enumerate() {
        if let Some(value) = value {
            let command = if pen_is_down { 'L' } else { 'M' };
            let _ = write!(path, "{command}{step}.5 {}", scale.y(value));
            if !pen_is_down {
                path.push_str("h0");
            }
        }
        pen_is_down = value.is_some();
    }
    path
}

/// Round moments of a range that begins at `begin`, in UTC.
pub(super) fn moments(range: Range, begin: Timestamp) -> Vec<Moment> {
    let steps = i64::try_from(range.steps()).unwrap_or(1);
    let whole = steps * i64::try_from(range.step().as_secs()).unwrap_or(1);
    // 1970-01-05 was a Monday.
    let (every, first) = match range {
        Range::Hour => (15 * 60, 0),
        Range::Day => (6 * 3600, 0),
        Range::Month => (7 * 86_400, 4 * 86_400),
    };
    let next = begin.0 + (first - begin.0).rem_euclid(every);
    let times = std::iter::successors(Some(next), |time| Some(time + every)).take_while(|time| *time < begin.0 + whole);
    let moment = |time: i64| {
        // A month has 2.6 million seconds.
        let offset = f64::from(i32::try_from(time - begin.0).unwrap_or(0));
        let x = 100.0 * offset / f64::from(i32::try_from(whole).unwrap_or(i32::MAX));
        Moment { x: round(x), label: short(Timestamp(time), range) }
    };
    times.map(moment).filter(|moment| (EDGE..=100.0 - EDGE).contains(&moment.x)).collect()
}

/// A moment as short as the range allows: `14:15`, `16 Nov`.
fn short(at: Timestamp, range: Range) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = at.to_rfc3339();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    if range != Range::Month {
        return part(11, 16).to_owned();
    }
    let month = part(5, 7).parse().ok().and_then(|month: usize| MONTHS.get(month.checked_sub(1)?));
    format!("{} {}", part(8, 10).trim_start_matches('0'), month.unwrap_or(&""))
}

/// To a tenth: what nobody sees need not be sent.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (most, expected) in [
            (0, "0 1"),
            (1, "0 1"),
            (3, "0 1 2 3"),
            (7, "0 2 4 6 8"),
            (17, "0 5 10 15 20"),
            (1000, "0 500 1,000"),
            (1001, "0 500 1,000 1,500"),
            (9_800_000, "0 5M 10M"),
        ] {
            let labels: Vec<_> = Scale::up_to(most, Unit::Things).ticks().into_iter().map(|tick| tick.label).collect();
            assert_eq!(labels.join(" "), expected, "{most}");
        }
        let labels: Vec<_> =
            Scale::up_to(1200, Unit::Milliseconds).ticks().into_iter().map(|tick| tick.label).collect();
        assert_eq!(labels.join(", "), "0 ms, 500 ms, 1 s, 1.5 s");
        let ticks = Scale::up_to(u64::MAX, Unit::Things).ticks();
        assert!(ticks.len() <= 6 && ticks.iter().all(|tick| tick.y.is_finite()));
    }

    #[test]
    fn the_lowest_tick_is_the_bottom_and_the_highest_the_top() {
        let ticks = Scale::up_to(40, Unit::Things).ticks();
        assert_eq!((ticks[0].y, ticks[ticks.len() - 1].y), (TOP + HEIGHT, TOP));
    }

    #[test]
    fn bars_stand_upon_each_other_and_the_smallest_can_be_seen() {
        let scale = Scale::up_to(100, Unit::Things);
        let [below, above] = bars([vec![50, 0, 1], vec![50, 20, 99]], &scale);
        assert_eq!(below, "M0.1 60h.8v60h-.8zM2.1 118.5h.8v1.5h-.8z");
        assert_eq!(above, "M0.1 0h.8v60h-.8zM1.1 96h.8v24h-.8zM2.1 0h.8v118.5h-.8z");
        assert_eq!(bars([vec![]], &scale), [""]);
    }

    #[test]
    fn lines_break_off_where_nothing_is_known() {
        let scale = Scale::up_to(100, Unit::Milliseconds);
        let path = line([Some(0), Some(100), None, Some(50), None], &scale);
        assert_eq!(path, "M0.5 120h0L1.5 0M3.5 60h0");
    }

    #[test]
    fn moments_are_round_and_keep_off_the_edges() {
        let begin = Timestamp::from_rfc3339("2026-11-20T23:30:00Z").unwrap();
        let labels = |range, begin: Timestamp| {
            let moments = moments(range, begin);
            assert!(moments.iter().all(|moment| (EDGE..=100.0 - EDGE).contains(&moment.x)));
            moments.into_iter().map(|moment| moment.label).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(Range::Hour, begin), "23:45 00:00 00:15");
        assert_eq!(labels(Range::Day, begin), "06:00 12:00 18:00");
        assert_eq!(labels(Range::Month, begin), "23 Nov 30 Nov 7 Dec 14 Dec");
        assert_eq!(labels(Range::Hour, Timestamp(0)), "00:15 00:30 00:45");
    }
}
