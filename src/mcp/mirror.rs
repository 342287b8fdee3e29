//! How a text travels in a header field: as it is where it can, in base64 between two marks otherwise (MCP 2026-07-28, Streamable
//! HTTP, Value Encoding).

use data_encoding::BASE64;
use http::HeaderValue;
use std::borrow::Cow;

const BEFORE: &str = "=?base64?";
const AFTER: &str = "?=";

/// A text as the value of a field.
pub fn encoded(text: &str) -> HeaderValue {
    let visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) && text.trim() == text;
    let marked = text.starts_with(BEFORE) && text.ends_with(AFTER);
    let value = match visible && !marked {
        true => HeaderValue::from_str(text),
        false => HeaderValue::from_str(&format!("{BEFORE}{}{AFTER}", BASE64.encode(text.as_bytes()))),
    };
    // What is visible, and base64, are values of a field.
    value.unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The text that a value stands for; `None` when it is marked as base64 and is none.
pub fn decoded(value: &str) -> Option<Cow<'_, str>> {
    let Some(encoded) = value.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(AFTER)) else {
        return Some(Cow::Borrowed(value));
    };
    let bytes = BASE64.decode(encoded.as_bytes()).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The table of the specification.
    #[test]
    fn values_are_encoded_as_the_specification_shows() {
        for (text, value) in [
            ("us-west1", "us-west1"),
            ("Hello, \u{4e16}\u{754c}", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("", ""),
        ] {
            assert_eq!(encoded(text), value, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_text_travels(text in "\\PC{0,40}|[ \\t\\n\\x00]{1,3}|=\\?base64\\?x\\?=") {
            let field = encoded(&text);
            prop_assert_eq!(field.to_str().ok().and_then(decoded).map(Cow::into_owned), Some(text));
        }
    }
}
