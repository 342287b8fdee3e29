//! What a JSON-RPC message asks for, read without copying it and without believing in any one parser: where two of them
//! could understand different things, the message is called doubtful.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The messages of one body.
#[derive(Debug)]
pub enum Messages<'a> {
    /// One message.
    One(Message<'a>),
    /// A batch (MCP 2025-03-26 and before).
    Batch(Vec<Message<'a>>),
}

/// One request, notification or response.
#[derive(Debug, Default)]
pub struct Message<'a> {
    /// `method`; a response has none.
    pub method: Option<Cow<'a, str>>,
    /// `params.name`: the tool or the prompt.
    pub name: Option<Cow<'a, str>>,
    /// `params.uri`: the resource.
    pub uri: Option<Cow<'a, str>>,
    /// `id` as it was written; a notification has none.
    pub id: Option<&'a RawValue>,
    /// Whether parsers may disagree about any of these: a key is there twice, or in a spelling that some take for the same
    /// (Go's standard library ignores case), or a value has a type that it must not have.
    pub doubtful: bool,
}

impl<'a> Messages<'a> {
    /// Reads a body (JSON-RPC 2.0 §4, §6). Nothing is copied but names that are written with escapes, and how deep a
    /// message is nested costs no stack.
    ///
    /// `None`: it is not strict JSON of that shape in UTF-8. Some parser may take it nevertheless.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let body = std::str::from_utf8(body).ok()?;
        if body.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('[') {
            let batch: Vec<&RawValue> = serde_json::from_str(body).ok()?;
            batch.into_iter().map(|message| Message::read(message.get())).collect::<Option<_>>().map(Messages::Batch)
        } else {
            Message::read(body).map(Messages::One)
        }
    }

    /// All of them, in their order.
    pub fn as_slice(&self) -> &[Message<'a>] {
        match self {
            Messages::One(message) => std::slice::from_ref(message),
            Messages::Batch(messages) => messages,
        }
    }
}

impl<'a> Message<'a> {
    /// In one pass; whatever is not looked at is skipped, not read.
    fn read(object: &'a str) -> Option<Self> {
        let mut fields = Fields::default();
        let mut deserializer = serde_json::Deserializer::from_str(object);
        deserializer.deserialize_map(Top(&mut fields)).ok()?;
        deserializer.end().ok()?;
        let mut doubtful = fields.doubtful;
        let mut text_of = |value: Option<&'a RawValue>| {
            let read = value.map(text);
            doubtful |= matches!(read, Some(None));
            read.flatten()
        };
        let (method, name, uri) = (text_of(fields.method), text_of(fields.name), text_of(fields.uri));
        Some(Self { method, name, uri, id: fields.id, doubtful })
    }
}

/// What is looked at, as it was written.
#[derive(Default)]
struct Fields<'a> {
    method: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    has_params: bool,
    name: Option<&'a RawValue>,
    uri: Option<&'a RawValue>,
    doubtful: bool,
}

/// Visits a message.
struct Top<'f, 'a>(&'f mut Fields<'a>);

impl<'de> Visitor<'de> for Top<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let fields = self.0;
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "method" => fields.doubtful |= fields.method.replace(map.next_value()?).is_some(),
                "id" => fields.doubtful |= fields.id.replace(map.next_value()?).is_some(),
                "params" => {
                    fields.doubtful |= std::mem::replace(&mut fields.has_params, true);
                    map.next_value_seed(Params(fields))?;
                }
                other => {
                    fields.doubtful |= ["method", "params", "id"].iter().any(|name| looks_like(other, name));
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Visits `params`: an object, or nothing. By position (JSON-RPC 2.0 §4.2) is not used in MCP, and doubtful.
struct Params<'f, 'a>(&'f mut Fields<'a>);

impl<'de> DeserializeSeed<'de> for Params<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Params<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parameters by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let fields = self.0;
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "name" => fields.doubtful |= fields.name.replace(map.next_value()?).is_some(),
                "uri" => fields.doubtful |= fields.uri.replace(map.next_value()?).is_some(),
                other => {
                    fields.doubtful |= ["name", "uri"].iter().any(|name| looks_like(other, name));
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.0.doubtful = true;
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Calls `each` with every member of an object, in their order, repeated ones included. `None`: it is no object.
pub(super) fn members<'a>(object: &'a str, each: impl FnMut(Cow<'a, str>, &'a RawValue)) -> Option<()> {
    struct Walk<F>(F);
    impl<'de, F: FnMut(Cow<'de, str>, &'de RawValue)> Visitor<'de> for Walk<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((Text(key), value)) = map.next_entry()? {
                self.0(key, value);
            }
            Ok(())
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(object);
    deserializer.deserialize_map(Walk(each)).ok()?;
    deserializer.end().ok()
}

/// A JSON text, if it is one that says the same to every parser: half of a surrogate pair does not.
pub(super) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|Text(text)| text)
}

/// Whether a key is `name` to a parser that ignores case. Go folds as Unicode does: two characters from beyond ASCII are
/// letters of ASCII then.
fn looks_like(key: &str, name: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    // The two have two and three bytes.
    (name.len()..=3 * name.len()).contains(&key.len()) && key.chars().map(fold).eq(name.chars())
}

/// A text, borrowed unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}
