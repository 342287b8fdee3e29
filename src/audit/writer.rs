//! The one task that writes the audit log: what people do at once, requests in the company in which they come, and everything that
//! waits in one transaction.

use super::collector::Batch;
use super::file::{JsonLines, put_line};
use super::{Losses, UpstreamRequest};
use crate::store::{AuditEvent, AuditLine, AuditLink, Store, StoreError};
use crate::telemetry::Metrics;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How many lines go into one transaction: others wait for it.
const BATCH: usize = 8192;
/// How many events are taken at a time.
const EVENTS: usize = 256;
/// How often a database that is busy is asked again, and after how long.
const PATIENCE: (u32, Duration) = (20, Duration::from_millis(250));

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
    losses: Arc<Losses>,
    file: Option<JsonLines>,
}

impl Writer {
    pub(super) fn new(store: Store, metrics: Arc<Metrics>, losses: Arc<Losses>) -> Self {
        Self { store, metrics, losses, file: None }
    }

    pub(super) async fn run(mut self, mut entries: mpsc::Receiver<Entry>, mut batches: mpsc::UnboundedReceiver<Batch>) {
        let (mut some, mut batch) = (Vec::with_capacity(EVENTS), None);
        let (mut has_entries, mut has_batches) = (true, true);
        loop {
            tokio::select! { biased;
                count = entries.recv_many(&mut some, EVENTS), if has_entries => has_entries = count > 0,
                next = batches.recv(), if has_batches => {
                    has_batches = next.is_some();
                    batch = next;
                }
                else => break,
            }
            let mut taken: Vec<Batch> = batch.take().into_iter().collect();
            taken.extend(std::iter::from_fn(|| batches.try_recv().ok()));
            let (mut events, mut asked) = (Vec::new(), Vec::new());
            for entry in some.drain(..) {
                match entry {
                    Entry::Event(event) => events.push(event),
                    Entry::File(file) => self.file = file,
                    Entry::Flush(done) => asked.push(done),
                }
            }
            self.write_all(&events, &taken).await;
            for done in asked {
                // Whoever asked may have given up.
                let _ = done.send(());
            }
        }
    }

    async fn write_all(&mut self, events: &[AuditEvent], batches: &[Batch]) {
        let requests = || batches.iter().flat_map(|batch| &batch.requests);
        let mut addresses: HashMap<IpAddr, String> = HashMap::new();
        for request in requests() {
            addresses.entry(request.address).or_insert_with(|| request.address.to_string());
        }
        let address = |request: &UpstreamRequest| addresses.get(&request.address).map(String::as_str);
        let requests = requests().map(|request| request.line(address(request)));
        let lines: Vec<_> = events.iter().map(AuditEvent::line).chain(requests).collect();
        for lines in lines.chunks(BATCH) {
            self.write(lines).await;
        }
    }

    async fn write(&mut self, lines: &[AuditLine<'_>]) {
        let begun = Instant::now();
        let places = self.append(lines).await;
        self.metrics.store_write(begun.elapsed(), places.is_ok());
        let places = places.unwrap_or_else(|error| {
            self.metrics.audit_lost.inc_by(lines.len() as u64);
            tracing::error!(%error, rows = lines.len(), "events are missing in the audit log");
            Vec::new()
        });
        if let Some(file) = &mut self.file {
            // What the database did not take is at least there.
            let mut text = String::new();
            for (at, line) in lines.iter().enumerate() {
                put_line(&mut text, line, places.get(at).copied());
            }
            if !file.append(text.as_bytes()).await {
                self.metrics.audit_file_failures.inc();
            }
        }
        match self.losses.told() {
            0 => {}
            requests => tracing::warn!(requests, "the audit log could not keep up: these are missing in it"),
        }
    }

    /// A database that is busy was not asked yet, so it can be asked again. After any other failure nobody knows what became of the lines,
    /// and none shall be there twice.
    async fn append(&self, lines: &[AuditLine<'_>]) -> Result<Vec<(i64, AuditLink)>, StoreError> {
        for _ in 0..PATIENCE.0 {
            match self.store.append_audit_lines(lines).await {
                Err(StoreError::Busy) => tokio::time::sleep(PATIENCE.1).await,
                written => return written,
            }
        }
        self.store.append_audit_lines(lines).await
    }
}
