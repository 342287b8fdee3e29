//! HTTP Basic with a client's id and secret (RFC 6749 §2.3.1).

use data_encoding::BASE64;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use zeroize::Zeroizing;

/// The value of `Authorization`: both parts are form-encoded before they are joined.
///
/// # Errors
/// None in practice: what is base64 fits into a header.
pub fn credentials(id: &str, secret: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret)));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(pair.as_bytes())))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_are_form_encoded_first() {
        let value = credentials("a:b", "c d%").unwrap();
        assert_eq!(value.to_str().unwrap(), format!("Basic {}", BASE64.encode(b"a%3Ab:c+d%25")));
        assert!(value.is_sensitive());
    }
}
