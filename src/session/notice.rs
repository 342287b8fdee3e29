//! A sentence about what was done, on its way through the browser to the page that tells it.

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use std::time::Duration;

/// Longer than a browser takes from an answer to the next request.
pub(super) const LIFE: Duration = Duration::from_secs(60);
/// The longest text in bytes; what is longer is cut, because browsers drop long cookies.
const LONGEST: usize = 600;

/// The text with a proof that this session wrote it: a sibling host may set a cookie, over plain HTTP even of this name.
pub(super) fn seal(text: &str, csrf_token: &str) -> String {
    let text = &text[..text.floor_char_boundary(LONGEST)];
    let tag = hmac::sign(&key(csrf_token), text.as_bytes());
    format!("{}.{}", BASE64URL_NOPAD.encode(text.as_bytes()), BASE64URL_NOPAD.encode(tag.as_ref()))
}

/// The text, if this session wrote it.
pub(super) fn open(sealed: &str, csrf_token: &str) -> Option<String> {
    let (text, tag) = sealed.split_once('.')?;
    let text = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
    let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).ok()?;
    hmac::verify(&key(csrf_token), &text, &tag).ok()?;
    String::from_utf8(text).ok()
}

/// The token of a session's forms is known to the session and to nobody else.
fn key(csrf_token: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, csrf_token.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_worth_something_in_its_session_only() {
        let sealed = seal("Disconnected: 2 streams have ended.", "one");
        assert_eq!(open(&sealed, "one").as_deref(), Some("Disconnected: 2 streams have ended."));
        assert_eq!(open(&sealed, "another"), None);
        let (text, tag) = sealed.split_once('.').unwrap();
        for forged in
            [String::new(), text.to_owned(), format!("{text}."), format!("{}.{tag}", BASE64URL_NOPAD.encode(b"x"))]
        {
            assert_eq!(open(&forged, "one"), None, "{forged}");
        }
        assert_eq!(open(&seal(&"\u{e9}".repeat(900), "one"), "one").unwrap().len(), LONGEST);
    }
}
