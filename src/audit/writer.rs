//! The one task that writes the audit log: what people do at once, requests in company.

use super::UpstreamRequest;
use super::file::{JsonLines, line};
use crate::store::{AuditEvent, Store};
use crate::telemetry::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How many rows go into one transaction.
const BATCH: usize = 256;
/// How long a request waits for others, so that a transaction is worth its disk write.
const COMPANY: Duration = Duration::from_millis(500);

/// What waits for the writer.
pub(super) enum Entry {
    Event(AuditEvent),
    /// From now on lines go here as well.
    File(Option<JsonLines>),
    /// Answered when everything before it is written.
    Flush(oneshot::Sender<()>),
}

/// Writes until nobody can record anything any more.
pub(super) struct Writer {
    store: Store,
    metrics: Arc<Metrics>,
    lost: Arc<AtomicU64>,
    file: Option<JsonLines>,
    entries: Vec<Entry>,
    requests: Vec<UpstreamRequest>,
}

impl Writer {
    pub(super) fn new(store: Store, metrics: Arc<Metrics>, lost: Arc<AtomicU64>) -> Self {
        let (entries, requests) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        Self { store, metrics, lost, file: None, entries, requests }
    }

    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<Entry>,
        mut requests: mpsc::Receiver<UpstreamRequest>,
    ) {
        while self.gather(&mut events, &mut requests).await {
            let mut asked = Vec::new();
            let mut rows = Vec::with_capacity(self.entries.len() + self.requests.len());
            for entry in self.entries.drain(..) {
                match entry {
                    Entry::Event(event) => rows.push(event),
                    Entry::File(file) => self.file = file,
                    Entry::Flush(done) => asked.push(done),
                }
            }
            rows.extend(self.requests.drain(..).map(UpstreamRequest::into_event));
            if !asked.is_empty() {
                rows.extend(std::iter::from_fn(|| requests.try_recv().ok()).map(UpstreamRequest::into_event));
            }
            for batch in rows.chunks(BATCH) {
                self.write(batch).await;
            }
            for done in asked {
                // Whoever asked may have given up.
                let _ = done.send(());
            }
        }
    }

    /// Waits for something to write; false when there will be nothing more.
    async fn gather(
        &mut self,
        events: &mut mpsc::Receiver<Entry>,
        requests: &mut mpsc::Receiver<UpstreamRequest>,
    ) -> bool {
        let mut open = tokio::select! { biased;
            count = events.recv_many(&mut self.entries, BATCH) => count > 0,
            count = requests.recv_many(&mut self.requests, BATCH) => count > 0,
        };
        let company = tokio::time::sleep(COMPANY);
        tokio::pin!(company);
        while open && self.entries.is_empty() && self.requests.len() < BATCH {
            let room = BATCH - self.requests.len();
            open = tokio::select! { biased;
                count = events.recv_many(&mut self.entries, BATCH) => count > 0,
                count = requests.recv_many(&mut self.requests, room) => count > 0,
                () = &mut company => break,
            };
        }
        // Both queues are closed together, by the last of those who record; what is in them is still to be written.
        if !open {
            self.entries.extend(std::iter::from_fn(|| events.try_recv().ok()));
            self.requests.extend(std::iter::from_fn(|| requests.try_recv().ok()));
        }
        open || !self.entries.is_empty() || !self.requests.is_empty()
    }

    async fn write(&mut self, rows: &[AuditEvent]) {
        let begun = Instant::now();
        let places = self.store.append_audit(rows).await;
        self.metrics.store_write(begun.elapsed(), places.is_ok());
        let places = places.unwrap_or_else(|error| {
            self.metrics.audit_lost.inc_by(rows.len() as u64);
            tracing::error!(%error, rows = rows.len(), "events are missing in the audit log");
            Vec::new()
        });
        if let Some(file) = &mut self.file {
            // What the database did not take is at least there.
            let lines: String =
                rows.iter().enumerate().map(|(at, event)| line(event, places.get(at).copied())).collect();
            if !file.append(lines.as_bytes()).await {
                self.metrics.audit_file_failures.inc();
            }
        }
        match self.lost.swap(0, Ordering::Relaxed) {
            0 => {}
            requests => tracing::warn!(requests, "the audit log could not keep up: these are missing in it"),
        }
    }
}
