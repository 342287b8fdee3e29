//! The raw configuration: one tree of values from the file and the environment, each with the place it comes from.

use super::load::Source;
use super::reader::Errors;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use toml_edit::{Document, Item, TableLike, Value as Toml};

/// What variables of ours begin with; two underscores separate the parts of a key.
pub(super) const PREFIX: &str = "PORTCULLIS__";

/// Where a value comes from. The order is the one in which errors are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Nowhere: something that is missing.
    Nowhere,
    /// A line of the file, counted from 1.
    Line(usize),
    /// An environment variable, or a path of one.
    Variable(String),
}

/// A value and its place.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// What TOML can say, as far as we use it, and a variable's text, whose type is that of its key.
#[derive(Clone)]
pub(super) enum Value {
    Table(Entries),
    List(Vec<Node>),
    Text(String),
    Boolean(bool),
    /// The text of an environment variable.
    Untyped(String),
    /// A plain count. Whatever has a unit is a text.
    Integer(i64),
    /// A share.
    Fraction(f64),
    /// A date: no key takes one.
    Other,
}

/// The keys of a table.
pub(super) type Entries = BTreeMap<String, Node>;

impl Value {
    /// What a person calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Table(_) => "a table",
            Self::List(_) => "a list",
            Self::Text(_) | Self::Untyped(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Boolean(_) => "true or false",
            Self::Fraction(_) => "a fraction",
            Self::Other => "a date",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => Ok(()),
            Self::Line(line) => write!(f, "line {line}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// Reads the file, then lets the environment overrule it; `None` when the file is unreadable as a whole.
pub(super) fn read(source: &Source, errors: &Errors) -> Option<Entries> {
    let mut root = match source.file.as_deref() {
        Some(path) => read_file(path, errors)?,
        None => Entries::new(),
    };
    let mut variables: Vec<(Vec<Part>, &str, &str)> = source
        .environment
        .iter()
        .filter_map(|(name, text)| Some((parts(name.strip_prefix(PREFIX)?), name.as_str(), text.as_str())))
        .collect();
    variables.sort();
    for (path, name, text) in variables {
        let leaf = Node { value: Value::Untyped(text.to_owned()), place: Place::Variable(name.to_owned()) };
        if let Err(why) = insert(&mut root, &path, leaf) {
            errors.add(&Place::Variable(name.to_owned()), "", why);
        }
    }
    Some(root)
}

/// Parses the TOML text of a variable, such as `["a", "b"]`.
pub(super) fn parse_value(text: &str, place: &Place) -> Result<Node, String> {
    let value: Toml = text.trim().parse().map_err(|e: toml_edit::TomlError| one_line(e.message()))?;
    Ok(Node { value: from_value(&value, &|_| place.clone()), place: place.clone() })
}

/// A document of our own, compiled in: its lines are of no use to anybody.
pub(super) fn parse_document(text: &str) -> Result<Entries, String> {
    let document = Document::parse(text).map_err(|error| one_line(error.message()))?;
    Ok(from_table(document.as_table(), &|_| Place::Nowhere))
}

/// A part of a variable's name: the number of an element, or a key.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Index(usize),
    Key(String),
}

fn parts(name: &str) -> Vec<Part> {
    name.split("__")
        .map(|part| part.parse().map_or_else(|_| Part::Key(part.to_ascii_lowercase()), Part::Index))
        .collect()
}

fn insert(entries: &mut Entries, path: &[Part], leaf: Node) -> Result<(), String> {
    let (Some(Part::Key(key)), rest) = (path.first(), &path[1.min(path.len())..]) else {
        return Err("is not the name of a key".to_owned());
    };
    if rest.is_empty() {
        entries.insert(key.clone(), leaf);
        return Ok(());
    }
    let empty = if matches!(rest[0], Part::Index(_)) { Value::List(Vec::new()) } else { Value::Table(Entries::new()) };
    let place = leaf.place.clone();
    let child = entries.entry(key.clone()).or_insert(Node { value: empty, place });
    match (&mut child.value, rest) {
        (Value::Table(entries), rest) => insert(entries, rest, leaf),
        (Value::List(list), [Part::Index(index), rest @ ..]) if !rest.is_empty() => {
            if *index == list.len() {
                list.push(Node { value: Value::Table(Entries::new()), place: leaf.place.clone() });
            }
            match list.get_mut(*index).map(|node| &mut node.value) {
                Some(Value::Table(entries)) => insert(entries, rest, leaf),
                Some(_) => Err(format!("{key} is not a list of tables")),
                None => Err(format!("{key} has only {} elements: number them from 0 without gaps", list.len())),
            }
        }
        (value, _) => Err(format!("{key} is set elsewhere as {}, which has no such key", value.kind())),
    }
}

fn read_file(path: &Path, errors: &Errors) -> Option<Entries> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(why) => {
            errors.add(&Place::Nowhere, "", format!("cannot be read ({why}): name an existing file in UTF-8 with -c"));
            return None;
        }
    };
    let lines = Lines::of(&text);
    match Document::parse(text.as_str()) {
        Ok(document) => Some(from_table(document.as_table(), &|offset| lines.place(offset))),
        Err(error) => {
            // The error's own Display shows the line, and a secret may be in it.
            let place = lines.place(error.span().map_or(0, |span| span.start));
            errors.add(&place, "", format!("this is not TOML: {}", one_line(error.message())));
            None
        }
    }
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

/// Where each line begins.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    fn place(&self, offset: usize) -> Place {
        Place::Line(self.0.partition_point(|start| *start <= offset))
    }
}

type PlaceAt<'a> = &'a dyn Fn(usize) -> Place;

fn from_table(table: &dyn TableLike, place_at: PlaceAt<'_>) -> Entries {
    let mut entries = Entries::new();
    for (name, item) in table.iter() {
        let span = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        let place = place_at(span.map_or(0, |span| span.start));
        entries.insert(name.to_owned(), Node { value: from_item(item, place_at), place });
    }
    entries
}

fn from_item(item: &Item, place_at: PlaceAt<'_>) -> Value {
    match item {
        Item::None => Value::Other,
        Item::Value(value) => from_value(value, place_at),
        Item::Table(table) => Value::Table(from_table(table, place_at)),
        Item::ArrayOfTables(tables) => Value::List(
            tables
                .iter()
                .map(|table| Node {
                    value: Value::Table(from_table(table, place_at)),
                    place: place_at(table.span().map_or(0, |span| span.start)),
                })
                .collect(),
        ),
    }
}

fn from_value(value: &Toml, place_at: PlaceAt<'_>) -> Value {
    match value {
        Toml::String(text) => Value::Text(text.value().clone()),
        Toml::Integer(number) => Value::Integer(*number.value()),
        Toml::Boolean(flag) => Value::Boolean(*flag.value()),
        Toml::Float(fraction) => Value::Fraction(*fraction.value()),
        Toml::Datetime(_) => Value::Other,
        Toml::InlineTable(table) => Value::Table(from_table(table, place_at)),
        Toml::Array(array) => Value::List(
            array
                .iter()
                .map(|value| Node {
                    value: from_value(value, place_at),
                    place: place_at(value.span().map_or(0, |span| span.start)),
                })
                .collect(),
        ),
    }
}
