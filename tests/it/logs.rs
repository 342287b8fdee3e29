//! Everything that any gateway of these tests logs, down to the most talkative level: secrets must not be in it.

use std::io::{self, Write};
use std::sync::{LazyLock, Mutex};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

static LOG: LazyLock<Mutex<Vec<u8>>> = LazyLock::new(|| {
    // Pingora traces whole heads; `telemetry::Log` never lets it.
    let levels = Targets::new().with_default(LevelFilter::DEBUG).with_target("portcullis", LevelFilter::TRACE);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Collector);
    tracing_subscriber::registry().with(lines.with_filter(levels)).init();
    Mutex::default()
});

/// Starts to collect, once.
pub fn collect() {
    LazyLock::force(&LOG);
}

/// Whether a text was ever logged.
pub fn contain(text: &str) -> bool {
    LOG.lock().unwrap().windows(text.len()).any(|window| window == text.as_bytes())
}

struct Collector;

impl Write for Collector {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
