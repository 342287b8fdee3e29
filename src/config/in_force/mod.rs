//! The configuration as it is in force, for people: every setting with its value, and where that was written. It is made of the
//! checked configuration: its structures are taken apart without `..`, so that nobody can add a setting and forget it here,
//! and what a [`Secret`](crate::secret::Secret) holds cannot be shown.

mod lists;
mod sections;
mod shown;

pub use shown::Shown;

use super::Config;
use super::document::Place;
use shown::Show;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Every setting.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    /// In the order of the reference.
    pub sections: Vec<Section>,
    /// Every file that was read or is named, the configuration itself first if it is one.
    pub files: Vec<PathBuf>,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Section {
    /// Such as `server`, or `upstream[0]`.
    pub name: String,
    /// Its keys.
    pub settings: Vec<Setting>,
}

/// A key.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Without the table's name.
    pub key: &'static str,
    /// As it would be written.
    pub value: Shown,
    /// Where it was given: a line of the file, or a variable. `None`: nowhere, it is the default.
    pub given: Option<String>,
    /// Whether another value has been written since, which waits for a restart.
    pub waits: bool,
}

impl Config {
    /// What is in force. To be asked before upstreams and services are moved to where they are used.
    pub fn in_force(&self) -> InForce {
        let mut out = Out { config: self, sections: Vec::new() };
        out.all();
        InForce { sections: out.sections, files: self.files.clone() }
    }
}

/// Where the values of a configuration come from.
#[derive(Clone, Default)]
pub struct Origins {
    /// By the full names of keys.
    given: BTreeMap<String, Place>,
    /// Keys that have been written otherwise since.
    waiting: Vec<&'static str>,
}

impl Origins {
    /// Notes that a key is there.
    pub(super) fn note(&mut self, key: String, place: &Place) {
        self.given.insert(key, place.clone());
    }

    /// Notes that other values of these keys wait for a restart.
    pub(super) fn wait(&mut self, keys: &[&'static str]) {
        self.waiting = keys.to_vec();
    }

    /// Where a key was given, or the file that holds what it means.
    fn place(&self, key: &str) -> Option<String> {
        let place = self.given.get(key).or_else(|| self.given.get(&format!("{key}_file")));
        place.map(|place| match place {
            Place::Nowhere => "elsewhere".to_owned(),
            place => place.to_string(),
        })
    }
}

/// What has been told so far.
struct Out<'c> {
    config: &'c Config,
    sections: Vec<Section>,
}

impl Out<'_> {
    /// Begins a table.
    fn table(&mut self, name: impl Into<String>) {
        self.sections.push(Section { name: name.into(), settings: Vec::new() });
    }

    /// Tells a key of the table.
    fn set(&mut self, key: &'static str, value: &(impl Show + ?Sized)) {
        self.put(key, value.show());
    }

    /// Tells a key that need not have a value.
    fn option<T: Show>(&mut self, key: &'static str, value: Option<&T>) {
        self.put(key, value.map_or(Shown::Unset, Show::show));
    }

    /// Tells a key whose absence is written as a word.
    fn or<T: Show>(&mut self, key: &'static str, value: Option<&T>, word: &str) {
        self.put(key, value.map_or_else(|| Shown::text(word), Show::show));
    }

    fn put(&mut self, key: &'static str, value: Shown) {
        let Some(section) = self.sections.last_mut() else { return };
        let name = format!("{}.{key}", section.name);
        let origins = &self.config.origins;
        let waits = origins.waiting.iter().any(|waiting| is_of(&name, waiting));
        section.settings.push(Setting { key, value, given: origins.place(&name), waits });
    }
}

/// Whether a key is what is meant by the name of a key, of a table, or of keys that begin alike (`telemetry.otlp_*`).
fn is_of(key: &str, named: &str) -> bool {
    match (named.strip_suffix('*'), key.strip_prefix(named)) {
        (Some(beginning), _) => key.starts_with(beginning),
        (None, Some(rest)) => rest.is_empty() || rest.starts_with('.'),
        (None, None) => false,
    }
}
