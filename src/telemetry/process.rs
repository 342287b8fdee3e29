//! What the system says about this process, under the names that Prometheus' client libraries give it, and which version runs.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use std::fs;

/// What the kernel counts time in for programs: the same on every architecture that we run on (time(7)).
const USER_HZ: f64 = 100.0;

/// What the kernel says of this process, a field in each line (proc_pid_status(5)).
pub const STATUS: &str = "/proc/self/status";

/// A registry without a prefix.
pub(super) fn registry() -> Registry {
    let mut registry = Registry::default();
    let build = Family::<Build, Gauge>::default();
    build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
    registry.register("portcullis_build_info", "Which version runs", build);
    registry.register_collector(Box::new(Process));
    registry
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// `/proc/self`, read when somebody asks.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: Option<f64>| match value {
            Some(value) => {
                let value = ConstGauge::new(value);
                value.encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
            }
            None => Ok(()),
        };
        let seconds = Some(&Unit::Seconds);
        gauge("process_start_time", "When the process began, since the Unix epoch", seconds, start_time())?;
        #[allow(clippy::cast_precision_loss)] // below 2^53
        let memory = resident_memory().map(|bytes| bytes as f64);
        gauge("process_resident_memory", "Resident memory", Some(&Unit::Bytes), memory)?;
        gauge("process_open_fds", "Open file descriptors", None, open_descriptors())?;
        gauge("process_max_fds", "The most file descriptors", None, most_descriptors())?;
        if let Some(cpu) = cpu() {
            let counter = encoder.encode_descriptor("process_cpu", "CPU time", seconds, MetricType::Counter)?;
            ConstCounter::new(cpu).encode(counter)?;
        }
        Ok(())
    }
}

/// The fields of `/proc/self/stat` behind the name, which may have anything in it: the first one is number 3 of proc(5).
fn stat(number: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu() -> Option<f64> {
    Some((stat(14)? + stat(15)?) / USER_HZ)
}

fn start_time() -> Option<f64> {
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat(22)? / USER_HZ)
}

/// What of this process is in the machine's memory, in bytes (proc_pid_status(5), `VmRSS`); `None` where the system does not say.
pub fn resident_memory() -> Option<i64> {
    let status = fs::read_to_string(STATUS).ok()?;
    memory_in(&status, "VmRSS")?.try_into().ok()
}

/// The memory that a process's status gives in this field, in bytes (proc_pid_status(5)).
pub fn memory_in(status: &str, field: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[allow(clippy::cast_precision_loss)] // far below
fn open_descriptors() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

#[allow(clippy::cast_precision_loss)] // far below
fn most_descriptors() -> Option<f64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map(|most| most as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_known() {
        assert!(resident_memory().unwrap() > 1 << 20);
    }

    #[test]
    fn a_status_is_read_by_its_field() {
        let status = "Name:\tVmRSS: 1 kB\nVmRSS:\t   12 kB\nVmRSSX:\t3 kB\nThreads:\t4\nVmPTE:\t18014398509481984 kB\n";
        assert_eq!(memory_in(status, "VmRSS"), Some(12 * 1024));
        for field in ["RssAnon", "Threads", "VmPTE", "Vm"] {
            assert_eq!(memory_in(status, field), None, "{field}");
        }
    }
}
