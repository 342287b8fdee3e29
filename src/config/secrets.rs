//! Secrets: in the configuration itself, in a file of their own, or a systemd credential. None of them ever reaches an
//! error text.

use super::document::{Node, Place, Value};
use super::reader::{Found, Reader};
use crate::secret::Secret;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where relative paths and credentials are looked up.
#[derive(Default)]
pub(super) struct Directories {
    /// Of the configuration file; paths in it are relative to it.
    pub(super) configuration: PathBuf,
    /// `CREDENTIALS_DIRECTORY` (systemd.exec(5)).
    pub(super) credentials: Option<PathBuf>,
    /// Our own `PATH`, which programs that we run get too.
    pub(super) search_path: Option<String>,
    /// What was found there, so that somebody can watch it.
    pub(super) found: RefCell<Vec<PathBuf>>,
}

impl Directories {
    /// A path as the configuration means it.
    pub(super) fn resolve(&self, text: &str, place: &Place) -> PathBuf {
        self.note(match place {
            Place::Variable(_) => PathBuf::from(text),
            _ => self.configuration.join(text),
        })
    }

    /// The path of a credential, if it is there.
    pub(super) fn credential(&self, name: &str) -> Option<PathBuf> {
        let path = self.credentials.as_ref().map(|directory| directory.join(name)).filter(|path| path.is_file());
        path.map(|path| self.note(path))
    }

    fn note(&self, path: PathBuf) -> PathBuf {
        let mut found = self.found.borrow_mut();
        if !found.contains(&path) {
            found.push(path.clone());
        }
        path
    }
}

/// Takes the secret `key`, or `key_file`, or the credential of that name.
pub(super) fn take(
    reader: &mut Reader<'_>,
    (key, key_file): (&'static str, &'static str),
    credential: &str,
    directories: &Directories,
) -> Option<Found<Secret>> {
    let text = take_text(reader, key);
    let file = path(reader, key_file, directories);
    let credential = directories.credential(credential);
    refuse_repetition(reader, key, text.as_ref(), file.as_ref().map(|found| &found.place), credential.is_some());
    if text.is_some() {
        return text;
    }
    let (path, place) = match (file, credential) {
        (Some(Found { value, place }), _) => (value, place),
        (None, Some(path)) => {
            let place = Place::Variable("CREDENTIALS_DIRECTORY".to_owned());
            reader.errors.note(reader.name(key), &place);
            (path, place)
        }
        (None, None) => return None,
    };
    match read(&path) {
        Ok(secret) => Some(Found { value: secret, place }),
        Err(why) => {
            reader.error(&place, key_file, why);
            None
        }
    }
}

/// Takes a secret that is written out. Unlike other texts it is never quoted.
pub(super) fn take_text(reader: &mut Reader<'_>, key: &'static str) -> Option<Found<Secret>> {
    let Node { value, place } = reader.take(key)?;
    match value {
        Value::Text(text) | Value::Untyped(text) if !text.trim().is_empty() => {
            Some(Found { value: Secret::new(text), place })
        }
        Value::Text(_) | Value::Untyped(_) => {
            reader.error(&place, key, "must not be empty: give the secret, or remove the key");
            None
        }
        other => {
            reader.error(&place, key, format!("must be a text in quotes, and is {}", other.kind()));
            None
        }
    }
}

/// Takes the path of a file that we write: whoever watches the configuration does not look at it.
pub(super) fn unwatched_path(
    reader: &mut Reader<'_>,
    key: &'static str,
    directories: &Directories,
) -> Option<Found<PathBuf>> {
    let known = directories.found.borrow().len();
    let found = path(reader, key, directories);
    directories.found.borrow_mut().truncate(known);
    found
}

/// Takes the path of a file.
pub(super) fn path(reader: &mut Reader<'_>, key: &'static str, directories: &Directories) -> Option<Found<PathBuf>> {
    let found = reader.parsed(key, |text| match text {
        "" => Err("must not be empty: give a path, or remove the key".to_owned()),
        text => Ok(text.to_owned()),
    })?;
    Some(Found { value: directories.resolve(&found.value, &found.place), place: found.place })
}

/// Records an error when a secret comes from more than one place.
pub(super) fn refuse_repetition(
    reader: &Reader<'_>,
    key: &str,
    text: Option<&Found<Secret>>,
    file: Option<&Place>,
    credential: bool,
) {
    let ways = usize::from(text.is_some()) + usize::from(file.is_some()) + usize::from(credential);
    if ways > 1 {
        let place = file.or(text.map(|found| &found.place)).unwrap_or(&Place::Nowhere);
        reader.error(
            place,
            key,
            format!(
                "is given more than once: keep one of {key}, {key}_file and the systemd credential, remove the others"
            ),
        );
    }
}

/// The first line of a file; the error says what to do.
pub(super) fn read(path: &Path) -> Result<Secret, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("there is no file {}: create it or correct the path", path.display()));
        }
        Err(error) => {
            return Err(format!(
                "{} cannot be read ({error}): let the user that runs portcullis read it",
                path.display()
            ));
        }
    };
    match text.lines().next().map(str::trim_end) {
        Some(line) if !line.is_empty() => Ok(Secret::new(line.to_owned())),
        _ => Err(format!("the first line of {} is empty: write the secret there", path.display())),
    }
}
