//! Cookies.

// A target that fails says so, and is one list of what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cognitive_complexity)]

use super::cookie::Cookie;
use crate::fuzzing::Input;
use crate::hostname::Scheme;
use data_encoding::BASE64URL_NOPAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use std::time::Duration;

/// A cookie that is read was sent under its own name, to the letter; what is set comes back.
pub(crate) fn cookie(data: &[u8]) {
    let mut input = Input::new(data);
    let scheme = input.pick(&[Scheme::Https, Scheme::Http]);
    let cookie = Cookie::new("portcullis", scheme);
    let name = if scheme == Scheme::Https { "__Host-portcullis" } else { "portcullis" };
    let mut headers = HeaderMap::new();
    let mut lines = Vec::new();
    for _ in 0..=input.below(3) {
        let line = match input.below(3) {
            0 => input.text(80),
            1 => format!("a=b; {name}={}", BASE64URL_NOPAD.encode(input.bytes(34))),
            _ => format!("{}{name}={}; x", input.text(6), input.text(50)),
        };
        if let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) {
            headers.append(COOKIE, value);
            lines.push(line);
        }
    }
    let sent = |value: &str| lines.iter().any(|line| line.contains(&format!("{name}={value}")));
    if let Some(value) = cookie.find(&headers) {
        assert!(sent(value) && !value.contains(';'), "{value:?} of {lines:?}");
    }
    if let Some(token) = cookie.read(&headers) {
        assert!(sent(token), "{token:?} of {lines:?}");
        assert_eq!((token.len(), BASE64URL_NOPAD.decode(token.as_bytes()).unwrap().len()), (43, 32));
    }
    // Another name that only looks like ours is not ours.
    let mut others = HeaderMap::new();
    for other in [format!("x{name}"), format!("{name}x"), name.to_ascii_uppercase(), format!("{name} ")] {
        let line = format!("{other}={}", BASE64URL_NOPAD.encode(&[7; 32]));
        others.append(COOKIE, HeaderValue::from_str(&line).unwrap());
    }
    assert!(cookie.read(&others).is_none());

    let mut secret = [0; 32];
    input.rest().iter().zip(&mut secret).for_each(|(byte, place)| *place = *byte);
    let token = BASE64URL_NOPAD.encode(&secret);
    let set = cookie.set(&token, Some(Duration::from_secs(60)));
    let text = set.to_str().unwrap();
    assert!(text.contains("; HttpOnly; SameSite=Lax; Path=/") && !text.contains("Domain"));
    assert_eq!(text.contains("; Secure"), scheme == Scheme::Https);
    let mut back = HeaderMap::new();
    let pair = text.split(';').next().unwrap();
    back.append(COOKIE, HeaderValue::from_str(&format!("a=b;{pair}; c=\"d\"")).unwrap());
    assert_eq!(cookie.read(&back), Some(token.as_str()));
}
