//! Takes keys out of the raw tree, one by one and typed; what nobody took is unknown.

use super::document::{Entries, Node, Place, Value, parse_value};
use super::in_force::Origins;
use super::load::ConfigErrors;
use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

/// Everything wrong so far.
pub(super) struct Errors {
    /// The file's path as it was given.
    file: Option<PathBuf>,
    list: RefCell<Vec<(Place, String)>>,
    origins: RefCell<Origins>,
}

impl Errors {
    pub(super) fn new(file: Option<&Path>) -> Self {
        Self { file: file.map(Path::to_owned), list: RefCell::default(), origins: RefCell::default() }
    }

    /// Records that something is wrong with `key` (empty: with the place as a whole). Never put a secret into `why`.
    pub(super) fn add(&self, place: &Place, key: &str, why: impl AsRef<str>) {
        let mut text = match (place, &self.file) {
            (Place::Line(line), Some(file)) => format!("{}:{line}: ", file.display()),
            (Place::Nowhere, Some(file)) => format!("{}: ", file.display()),
            (Place::Variable(name), _) => format!("{name}: "),
            (_, None) => String::new(),
        };
        if !key.is_empty() {
            text.push_str(key);
            text.push_str(": ");
        }
        text.push_str(why.as_ref());
        self.list.borrow_mut().push((place.clone(), plain(&text)));
    }

    /// Notes that somebody wrote a key.
    pub(super) fn note(&self, key: String, place: &Place) {
        self.origins.borrow_mut().note(key, place);
    }

    /// Which keys somebody wrote, and where.
    pub(super) fn take_origins(&self) -> Origins {
        self.origins.take()
    }

    /// All of them, in the order of the file, those of the environment last.
    pub(super) fn into_list(self) -> ConfigErrors {
        let mut list = self.list.into_inner();
        list.sort();
        list.dedup();
        ConfigErrors(list.into_iter().map(|(_, text)| text).collect())
    }
}

/// One line that looks like what it says, whatever control characters a value has.
fn plain(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// A value that was found, with its place for the errors that come later.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A table whose keys are being taken.
pub(super) struct Reader<'e> {
    pub(super) errors: &'e Errors,
    /// Where the table itself begins.
    pub(super) place: Place,
    path: String,
    entries: Entries,
    asked: Vec<&'static str>,
    /// The keys of which a default is there that is known from elsewhere.
    beneath: Vec<String>,
}

impl<'e> Reader<'e> {
    /// The whole configuration.
    pub(super) fn root(entries: Entries, errors: &'e Errors) -> Self {
        Self { errors, place: Place::Nowhere, path: String::new(), entries, asked: Vec::new(), beneath: Vec::new() }
    }

    /// A table that stands for itself.
    pub(super) fn at(name: &str, place: Place, entries: Entries, errors: &'e Errors) -> Self {
        Self { errors, place, path: name.to_owned(), entries, asked: Vec::new(), beneath: Vec::new() }
    }

    /// The full name of a key, such as `server.listen`.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Records an error about a key.
    pub(super) fn error(&self, place: &Place, key: &str, why: impl AsRef<str>) {
        self.errors.add(place, &self.name(key), why);
    }

    /// Takes a table; an empty one when it is not there.
    pub(super) fn table(&mut self, key: &'static str) -> Reader<'e> {
        let (entries, place) = match self.take(key) {
            None => (Entries::new(), Place::Nowhere),
            Some(Node { value: Value::Table(entries), place }) => (entries, place),
            Some(node) => {
                self.wrong_type(key, &node, "a table of keys");
                (Entries::new(), node.place)
            }
        };
        Reader { errors: self.errors, place, path: self.name(key), entries, asked: Vec::new(), beneath: Vec::new() }
    }

    /// Takes a list of tables.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Reader<'e>> {
        let Some(list) = self.nodes(key, "a list of tables") else { return Vec::new() };
        Self::all_of(&self.name(key), list.value, self.errors)
    }

    /// A reader for each table of a list that is called `name`.
    pub(super) fn all_of(name: &str, list: Vec<Node>, errors: &'e Errors) -> Vec<Reader<'e>> {
        let mut readers = Vec::new();
        for (index, node) in list.into_iter().enumerate() {
            let path = format!("{name}[{index}]");
            match node.value {
                Value::Table(entries) => {
                    readers.push(Reader {
                        errors,
                        place: node.place,
                        path,
                        entries,
                        asked: Vec::new(),
                        beneath: Vec::new(),
                    });
                }
                other => errors.add(&node.place, &path, format!("must be a table of keys, and is {}", other.kind())),
            }
        }
        readers
    }

    /// Takes a text.
    pub(super) fn text(&mut self, key: &'static str) -> Option<Found<String>> {
        let node = self.take(key)?;
        match node.value {
            Value::Text(text) | Value::Untyped(text) => Some(Found { value: text, place: node.place }),
            _ => {
                self.wrong_type(key, &node, "a text in quotes");
                None
            }
        }
    }

    /// Takes a text that must not be empty and means something.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Found<T>> {
        let found = self.text(key)?;
        match parse(&found.value) {
            Ok(value) => Some(Found { value, place: found.place }),
            Err(why) => {
                self.error(&found.place, key, why);
                None
            }
        }
    }

    /// Takes `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.flag_found(key).map(|found| found.value)
    }

    /// The same, with its place.
    pub(super) fn flag_found(&mut self, key: &'static str) -> Option<Found<bool>> {
        let node = self.take(key)?;
        let value = match &node.value {
            Value::Boolean(flag) => *flag,
            Value::Untyped(text) if text == "true" || text == "1" => true,
            Value::Untyped(text) if text == "false" || text == "0" => false,
            _ => {
                self.wrong_type(key, &node, "true or false");
                return None;
            }
        };
        Some(Found { value, place: node.place })
    }

    /// Takes a whole number from `least` to `most`.
    pub(super) fn number(&mut self, key: &'static str, least: u32, most: u32) -> Option<u32> {
        let node = self.take(key)?;
        let number = match &node.value {
            Value::Integer(number) => u32::try_from(*number).ok(),
            Value::Untyped(text) => text.trim().parse().ok(),
            _ => {
                self.wrong_type(key, &node, "a whole number without quotes");
                return None;
            }
        };
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.error(&node.place, key, format!("must be a whole number from {least} to {most}"));
        }
        number
    }

    /// Takes a list of texts, each of which means something. In a variable: separated by commas, or as in TOML.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Found<Vec<T>>> {
        let list = self.nodes(key, "a list of texts")?;
        let mut values = Vec::new();
        for node in list.value {
            match &node.value {
                Value::Text(text) | Value::Untyped(text) => match parse(text) {
                    Ok(value) => values.push(value),
                    Err(why) => self.error(&node.place, key, why),
                },
                other => self.error(&node.place, key, format!("must have texts in quotes, and has {}", other.kind())),
            }
        }
        Some(Found { value: values, place: list.place })
    }

    /// Takes a text, or a list of texts.
    pub(super) fn words(&mut self, key: &'static str) -> Option<Found<Vec<String>>> {
        let is_list = match &self.entries.get(key)?.value {
            Value::List(_) => true,
            Value::Untyped(text) => text.trim_start().starts_with('['),
            _ => false,
        };
        if is_list {
            return self.list(key, |text| Ok(text.to_owned()));
        }
        self.text(key).map(|Found { value, place }| Found { value: vec![value], place })
    }

    /// Whether a key is there and has not been taken.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether a key is there, has not been taken, and is no empty list.
    pub(super) fn has_some(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|node| !matches!(&node.value, Value::List(list) if list.is_empty()))
    }

    /// Takes a key as it is.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.asked.push(key);
        let node = self.entries.remove(key)?;
        if !self.beneath.iter().any(|known| known == key) {
            self.errors.note(self.name(key), &node.place);
        }
        Some(node)
    }

    /// Puts defaults under what is there, as if they had been written where `place` is.
    pub(super) fn underlay(&mut self, defaults: Entries, place: &Place) {
        for (key, node) in defaults {
            if let Entry::Vacant(vacant) = self.entries.entry(key) {
                self.beneath.push(vacant.key().clone());
                vacant.insert(Node { place: place.clone(), ..node });
            }
        }
    }

    /// Takes all keys of this table as texts, in order.
    pub(super) fn texts(self) -> Vec<(String, String)> {
        self.named_texts().into_iter().map(|(key, found)| (key, found.value)).collect()
    }

    /// The same, each with its place.
    pub(super) fn named_texts(mut self) -> Vec<(String, Found<String>)> {
        let mut texts = Vec::new();
        for (key, node) in std::mem::take(&mut self.entries) {
            match node.value {
                Value::Text(text) | Value::Untyped(text) => texts.push((key, Found { value: text, place: node.place })),
                _ => self.wrong_type(&key, &node, "a text in quotes"),
            }
        }
        texts
    }

    /// Reports what nobody took.
    pub(super) fn finish(self) {
        for (key, node) in &self.entries {
            let similar = self
                .asked
                .iter()
                .map(|known| (strsim::jaro_winkler(known, key), known))
                .filter(|(similarity, _)| *similarity > 0.8)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let place = match &node.value {
                Value::List(list) => list.first().map_or(&node.place, |first| &first.place),
                _ => &node.place,
            };
            match similar {
                Some((_, known)) => {
                    self.error(place, key, format!("unknown key; did you mean {:?}?", self.name(known)))
                }
                None => {
                    self.error(place, key, "unknown key: remove it, or see docs/configuration.md for the right name")
                }
            }
        }
    }

    fn nodes(&mut self, key: &'static str, expected: &str) -> Option<Found<Vec<Node>>> {
        let node = self.take(key)?;
        let place = node.place.clone();
        let value = match node.value {
            Value::List(list) => list,
            Value::Untyped(text) if text.trim_start().starts_with('[') => match parse_value(&text, &place) {
                Ok(Node { value: Value::List(list), .. }) => list,
                Ok(_) => Vec::new(),
                Err(why) => {
                    self.error(&place, key, format!("this is not a list in TOML: {why}"));
                    return None;
                }
            },
            Value::Untyped(text) => text
                .split(',')
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(|text| Node { value: Value::Untyped(text.to_owned()), place: place.clone() })
                .collect(),
            value => {
                self.wrong_type(key, &Node { value, place }, expected);
                return None;
            }
        };
        Some(Found { value, place })
    }

    fn wrong_type(&self, key: &str, node: &Node, expected: &str) {
        let why = match &node.value {
            Value::Untyped(_) => format!("must be {expected}"),
            value => format!("must be {expected}, and is {}", value.kind()),
        };
        self.error(&node.place, key, why);
    }
}
