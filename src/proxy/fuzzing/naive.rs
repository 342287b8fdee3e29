//! Readers that do it the simple way.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// An event as WHATWG HTML §9.2.6 finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) data: String,
}

/// What a whole stream says: its events, the last `id`, and the last `retry`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) events: Vec<Event>,
    pub(super) id: Option<String>,
    pub(super) retry: Option<u64>,
}

/// The events of a whole stream.
pub(super) fn events(stream: &[u8]) -> Stream {
    let text = String::from_utf8_lossy(stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream)).into_owned();
    // What follows the last line end is no line yet.
    let unified = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = unified.split('\n').collect();
    lines.pop();
    let (mut found, mut kind, mut data) = (Stream::default(), String::new(), String::new());
    for line in lines {
        if line.is_empty() {
            if !data.is_empty() {
                data.pop();
                let kind = if kind.is_empty() { "message".to_owned() } else { kind.clone() };
                found.events.push(Event { kind, data: data.clone() });
            }
            kind.clear();
            data.clear();
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut kind),
            "data" => {
                data.push_str(value);
                data.push('\n');
            }
            "id" if !value.contains('\0') => found.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                found.retry = value.parse().ok().or(found.retry);
            }
            _ => {}
        }
    }
    found
}

/// JSON of which nothing is lost: members in their order, and those that are there twice.
#[derive(Clone, Debug)]
pub(super) enum Json {
    Object(Vec<(String, Json)>),
    List(Vec<Json>),
    Text(String),
    Other,
}

impl Json {
    /// Every member that some parser takes for this one.
    pub(super) fn members<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Json> {
        let members = if let Self::Object(members) = self { &members[..] } else { &[] };
        members.iter().filter(move |(known, _)| same(known, name)).map(|(_, value)| value)
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// As Go's encoding/json compares keys: by simple folding, which takes two characters beyond ASCII for letters.
fn same(key: &str, name: &str) -> bool {
    let folded = |text: &str| text.to_lowercase().replace('\u{17f}', "s").replace('\u{212a}', "k");
    folded(key) == folded(name)
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Json::Object(members))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    elements.push(element);
                }
                Ok(Json::List(elements))
            }

            fn visit_str<E>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
