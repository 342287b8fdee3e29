//! The notes for Prometheus, read when it asks.

use super::{HealthTable, Note, State};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::fmt;

/// How many upstreams have lines of their own: those with the most requests.
const MAX_SERIES: usize = 200;

impl Collector for HealthTable {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut notes = self.notes();
        notes.truncate(MAX_SERIES);
        if notes.is_empty() {
            return Ok(());
        }
        type Count = (&'static str, &'static str, fn(&Note) -> u64);
        let counters: [Count; 3] = [
            ("upstream_requests", "Requests by upstream, refused ones included", |note| note.requests),
            ("upstream_unanswered", "Requests that found no connection or got no answer", |note| note.failures),
            ("upstream_refused", "Requests refused because the upstream was out of order or busy", |note| note.refused),
        ];
        for (name, help, value) in counters {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for note in &notes {
                let label = [("upstream", note.authority.as_str())];
                family.encode_family(&label)?.encode_counter::<NoLabelSet, _, u64>(&value(note), None)?;
            }
        }
        let gauges: [Count; 2] = [
            ("upstream_waiting", "Requests without a complete answer, streams excepted", |note| note.waiting.into()),
            ("upstream_out_of_order", "Whether requests are refused", |note| (note.state != State::Closed).into()),
        ];
        for (name, help, value) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for note in &notes {
                let label = [("upstream", note.authority.as_str())];
                family.encode_family(&label)?.encode_gauge(&value(note))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for HealthTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthTable").finish_non_exhaustive()
    }
}
