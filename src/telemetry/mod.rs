//! Logs and metrics.

mod log;
mod metrics;

pub use log::{Log, check_level};
pub use metrics::{CONTENT_TYPE, Fate, Kind, Metrics, Outcome};
