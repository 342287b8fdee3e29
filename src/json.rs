//! JSON of strangers. What a specification calls an object has to be one: serde would read a list as a struct, member by member.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// What was written as an object.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData))
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

/// Reads an object.
///
/// # Errors
/// When it is something else, or no JSON.
pub fn object<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(text).map(|Object(read)| read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Said {
        name: String,
        size: Option<u8>,
    }

    #[test]
    fn an_object_is_read_and_nothing_else_is_one() {
        let said = Said { name: "a".to_owned(), size: Some(1) };
        assert_eq!(object::<Said>(br#" {"size":1,"name":"a","other":[]} "#).unwrap(), said);
        assert_eq!(object::<Said>(b"{}").unwrap(), Said::default());
        assert_eq!(serde_json::from_slice::<Said>(br#"["a",1]"#).unwrap(), said, "which is why");
        for text in [r#"["a",1]"#, "[]", "[{}]", "null", "1", "\"{}\"", "{}{}", "{", ""] {
            assert!(object::<Said>(text.as_bytes()).is_err(), "{text}");
        }
        let why = object::<Said>(b"[]").unwrap_err().to_string();
        assert!(why.contains("expected a JSON object"), "{why}");
    }
}
