//! JSON of strangers. What a specification calls an object has to be one: serde would read a list as a struct, member by member.

use serde::de::{DeserializeOwned, Error as _};

/// Reads an object.
///
/// # Errors
/// When it is something else, or no JSON.
pub fn object<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    if !text.trim_ascii_start().starts_with(b"{") {
        return Err(serde_json::Error::custom("expected a JSON object"));
    }
    serde_json::from_slice(text)
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
