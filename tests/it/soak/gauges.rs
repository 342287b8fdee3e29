//! What the process takes, seen from outside every few seconds, and whether that grows.

use crate::raw::Caller;
use std::fmt::{self, Display};
use std::time::{Duration, Instant};

/// Samples are averaged to this many points: neighbours in time are not independent of each other.
const POINTS: usize = 20;
/// Of Student's distribution with `POINTS - 2` degrees of freedom: 95 % lie within so many standard errors.
const T: f64 = 2.101;

/// What is looked at, in the order of [`Sample::values`].
pub const NAMES: [&str; 7] = [
    "resident memory, MiB",
    "anonymous memory, MiB",
    "descriptors",
    "threads",
    "connections",
    "streams",
    "database, MiB",
];
/// Places in [`NAMES`] whose slope decides, and what a short run may show for nothing, an hour: what is filled once, such as caches
/// and tables, is still being filled then. A kilobyte that every request leaves behind would be 180 MiB. Resident memory does not
/// decide: it is also pages of the program's file, which the kernel takes away and brings back as others need room.
pub const DECIDING: [(usize, f64); 2] = [(1, 64.0), (2, 60.0)];

/// One look.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Since the beginning.
    pub at: Duration,
    pub values: [f64; NAMES.len()],
}

/// Looks at a process by way of its metrics and of what the kernel says.
pub struct Watch {
    pub process: u32,
    /// Where its metrics are.
    pub admin: u16,
    pub began: Instant,
}

impl Watch {
    pub async fn look(&self, database: u64) -> Sample {
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let (_, metrics) = Caller::connect(self.admin).await.send(request).await.response().await;
        let gauge = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
        };
        let of_kernel = |file: &str, name: &str| {
            let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.process)).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        // Its own alone. A proportional share of the program's file doubles when somebody else's process of the same program ends.
        let anonymous = of_kernel("status", "RssAnon:").expect("a kernel that tells kinds of memory apart") / 1024.0;
        let values = [
            gauge("process_resident_memory_bytes") / MIB,
            anonymous,
            gauge("process_open_fds"),
            of_kernel("status", "Threads:").unwrap_or_default(),
            gauge("portcullis_connections"),
            gauge("portcullis_open_streams"),
            database as f64 / MIB,
        ];
        Sample { at: self.began.elapsed(), values }
    }
}

const MIB: f64 = 1024.0 * 1024.0;

/// A straight line through samples, by least squares.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub mean: f64,
    /// For each hour.
    pub slope: f64,
    /// Half of the interval in which the slope is with 95 % confidence.
    pub error: f64,
}

impl Line {
    /// Through the value at `place` of samples in the order of their times, at least two for each point.
    pub fn through(samples: &[Sample], place: usize) -> Self {
        let size = samples.len() / POINTS;
        assert!(size >= 2, "{} samples are too few", samples.len());
        let points: Vec<(f64, f64)> = samples[samples.len() - size * POINTS..]
            .chunks(size)
            .map(|chunk| {
                let sum = chunk.iter().fold((0.0, 0.0), |sum, sample| {
                    (sum.0 + sample.at.as_secs_f64() / 3600.0, sum.1 + sample.values[place])
                });
                (sum.0 / size as f64, sum.1 / size as f64)
            })
            .collect();
        let count = points.len() as f64;
        let middle = points.iter().map(|(x, _)| x).sum::<f64>() / count;
        let mean = points.iter().map(|(_, y)| y).sum::<f64>() / count;
        let spread = points.iter().map(|(x, _)| (x - middle).powi(2)).sum::<f64>();
        let slope = points.iter().map(|(x, y)| (x - middle) * (y - mean)).sum::<f64>() / spread;
        let rest = points.iter().map(|(x, y)| (y - mean - slope * (x - middle)).powi(2)).sum::<f64>();
        let error = T * (rest / (count - 2.0) / spread).sqrt();
        Self { mean, slope, error }
    }

    /// Whether it rises by more than that an hour, and not by chance.
    pub fn rises_by_more_than(self, tolerated: f64) -> bool {
        self.slope - self.error > tolerated
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} | {:+.2} ± {:.2}", self.mean, self.slope, self.error)
    }
}

#[test]
fn a_line_is_found_and_noise_is_not_one() {
    let samples = |value: fn(u64) -> f64| -> Vec<Sample> {
        let look = |second| Sample { at: Duration::from_secs(second), values: [value(second); NAMES.len()] };
        (0..600).map(look).collect()
    };
    let noise = |second: u64| (second * 7919 % 101) as f64;
    let flat = Line::through(&samples(noise), 0);
    assert!(!flat.rises_by_more_than(0.0) && flat.error > flat.slope.abs(), "{flat}");
    let leak = Line::through(&samples(|second| second as f64 / 36.0 + (second * 7919 % 101) as f64 / 10.0), 0);
    assert!(
        leak.rises_by_more_than(0.0) && !leak.rises_by_more_than(100.0) && (leak.slope - 100.0).abs() < leak.error,
        "{leak}"
    );
    assert!(!Line::through(&samples(|second| 600.0 - second as f64), 0).rises_by_more_than(0.0));
    assert!(!Line::through(&samples(|_| 7.0), 0).rises_by_more_than(0.0));
}
