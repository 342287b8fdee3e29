//! `[store]`: which database, and how many connections to it.

use super::document::Place;
use super::ground;
use super::reader::{Found, Reader};
use super::secrets::{self, Directories};
use crate::secret::Secret;
use crate::store::CONNECTIONS;
use std::path::{Path, PathBuf};

/// Which database.
#[derive(Clone)]
pub struct Database {
    /// `sqlite:///path`, `sqlite::memory:`, or `postgres://user:password@host/database`: that one is a secret.
    pub url: Secret,
    /// How many connections to PostgreSQL there are at most; SQLite has its own number.
    pub connections: u32,
}

impl Database {
    /// Whether several gateways may share it.
    pub fn is_shared(&self) -> bool {
        is_of_postgres(self.url.expose())
    }
}

/// `[store]`, and its `spool`; what is not named is below `state`.
pub(super) fn read(mut reader: Reader<'_>, directories: &Directories, state: &Path) -> (Database, Option<PathBuf>) {
    let url = secrets::take(&mut reader, ("url", "url_file"), "store.url", directories);
    if let Some(Found { value, place }) = &url
        && !is_url(value.expose())
    {
        // Not quoted: it may hold a password.
        let why = "must be a URL like \"sqlite:///var/lib/portcullis/portcullis.db\" or \
                   \"postgres://user:password@host/database\"";
        reader.error(place, "url", why);
    }
    let connections = reader.number("connections", 2, 1000).unwrap_or(CONNECTIONS);
    // Not resolved like a file: what is written there must not count as a change of the configuration.
    let spool = reader.parsed("spool", |text| match Path::new(text) {
        path if path.is_absolute() => Ok(path.to_owned()),
        _ => Err("must be the absolute path of a directory, like \"/var/lib/portcullis/spool\"".to_owned()),
    });
    reader.finish();
    let default = || Secret::new(format!("sqlite://{}", state.join("portcullis.db").display()));
    let url = url.map_or_else(default, |found| found.value);
    let spool = spool.map(|found| found.value).or_else(|| default_spool(url.expose(), state));
    (Database { url, connections }, spool)
}

/// Beside the file of SQLite and named after it, since others may be there.
fn default_spool(url: &str, state: &Path) -> Option<PathBuf> {
    match ground::database_file(url) {
        Some(file) => {
            let mut name = file.as_os_str().to_owned();
            name.push("-spool");
            Some(PathBuf::from(name))
        }
        None if url.starts_with("sqlite:") => None,
        None => Some(state.join("spool")),
    }
}

/// Several gateways seal what they store with one key; each would make its own where none is given.
pub(super) fn needs_given_key(reader: &Reader<'_>, url: &str) {
    if is_of_postgres(url) {
        let place = if reader.place == Place::Nowhere { &Place::Nowhere } else { &reader.place };
        let why = "must be given with PostgreSQL, since all nodes need the same key: make one with `portcullis vault \
                   keygen`";
        reader.error(place, "key_file", why);
    }
}

fn is_url(text: &str) -> bool {
    match text.split_once(':') {
        Some(("sqlite", ":memory:")) => true,
        Some(("sqlite", rest)) => rest.strip_prefix("//").is_some_and(|path| !path.is_empty()),
        _ => is_of_postgres(text),
    }
}

fn is_of_postgres(text: &str) -> bool {
    matches!(text.split_once("://"), Some(("postgres" | "postgresql", rest)) if !rest.is_empty())
}
