//! Logs and metrics.

mod log;
mod metrics;

pub use log::{check_level, init};
pub use metrics::{CONTENT_TYPE, Fate, Kind, Metrics, Outcome};
