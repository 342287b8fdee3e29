//! What is known about providers: tables of the keys that `[[service]]` has, as data.

use super::document::{Entries, Value, parse_document};
use std::sync::LazyLock;

static PRESETS: LazyLock<Entries> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // compiled in, and read by a test
    parse_document(include_str!("../services/presets.toml")).expect("presets.toml is TOML")
});

/// The keys of a preset.
pub(super) fn find(name: &str) -> Result<Entries, String> {
    match PRESETS.get(name).map(|node| &node.value) {
        Some(Value::Table(keys)) => Ok(keys.clone()),
        _ => {
            let known: Vec<&str> = names().collect();
            Err(format!("{name:?} is not a preset: there are {}, or give the endpoints yourself", known.join(", ")))
        }
    }
}

/// All of them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.keys().map(String::as_str)
}
