//! Logs and metrics.

mod log;
mod metrics;

pub use log::{check_level, init};
pub use metrics::{Kind, Metrics, Outcome};
