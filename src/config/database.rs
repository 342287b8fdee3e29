//! `[store]`: which database, and how many connections to it.

use super::document::Place;
use super::reader::{Found, Reader};
use super::secrets::{self, Directories};
use crate::secret::Secret;
use crate::store::CONNECTIONS;

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

/// `[store]`, with the database that there is where none is named.
pub(super) fn read(mut reader: Reader<'_>, directories: &Directories, default: impl FnOnce() -> String) -> Database {
    let url = secrets::take(&mut reader, ("url", "url_file"), "store.url", directories);
    if let Some(Found { value, place }) = &url
        && !is_url(value.expose())
    {
        // Not quoted: it may hold a password.
        let why = "must be a URL like \"sqlite:///var/lib/portcullis/portcullis.db\" or \
                   \"postgres://user:password@host/database\"";
        reader.error(place, "url", why.to_owned());
    }
    let connections = reader.number("connections", 2, 1000).unwrap_or(CONNECTIONS);
    reader.finish();
    Database { url: url.map_or_else(|| Secret::new(default()), |found| found.value), connections }
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
