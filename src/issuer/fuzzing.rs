//! Forms, queries, and what stands in them.

// A target that fails says so, and is one list of what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cognitive_complexity)]

use super::authentication::basic;
use super::documents::DocumentUrl;
use super::parameters::Parameters;
use crate::fuzzing::Input;
use crate::oauth;
use data_encoding::BASE64;
use http::HeaderValue;
use url::Url;

/// The parameters of a form are what another reader of forms finds, and none of them is there twice.
pub(crate) fn form(data: &[u8]) {
    let read = Parameters::parse(data);
    let pairs: Vec<(String, String)> = naive(data).into_iter().take(64).collect();
    for (name, value) in &pairs {
        let first = &pairs.iter().find(|(known, _)| known == name).unwrap().1;
        assert_eq!(read.get(name), Some(first.as_str()).filter(|value| !value.is_empty()), "{name:?}");
        let of_name = || pairs.iter().filter(|(known, _)| known == name);
        let same = name == "resource" && of_name().all(|(_, other)| other == value);
        assert_eq!(read.is_repeated(name), of_name().count() > 1 && !same, "{name:?}");
    }
    let repeated = pairs.iter().any(|(name, _)| read.is_repeated(name));
    assert_eq!(read.refuse_repetition().is_err(), repeated);
    for absent in ["client_id", "code", "resource"] {
        assert!(pairs.iter().any(|(name, _)| name == absent) || read.get(absent).is_none());
    }

    // HTTP Basic, as a client library writes it.
    let mut input = Input::new(data);
    let (id, secret) = (input.text(20), input.text(20));
    let (read_id, read_secret) = basic(&oauth::basic::credentials(&id, &secret).unwrap()).unwrap();
    assert_eq!((read_id, read_secret.expose()), (id, secret.as_str()));
    let rest = input.rest();
    let _ = basic(&HeaderValue::from_str(&format!("bAsIc {}", BASE64.encode(rest))).unwrap());
    if let Ok(value) = HeaderValue::from_bytes(rest) {
        assert!(basic(&value).is_none() || rest.to_ascii_lowercase().starts_with(b"basic "));
    }
}

/// A form, taken apart as the URL standard says (§5.1).
fn naive(form: &[u8]) -> Vec<(String, String)> {
    let decoded = |part: &[u8]| {
        let (mut bytes, mut at) = (Vec::new(), 0);
        while at < part.len() {
            let hex = |at: usize| part.get(at).and_then(|byte| char::from(*byte).to_digit(16));
            match (part[at], hex(at + 1), hex(at + 2)) {
                (b'%', Some(high), Some(low)) => {
                    bytes.push((high << 4 | low) as u8);
                    at += 2;
                }
                (b'+', ..) => bytes.push(b' '),
                (byte, ..) => bytes.push(byte),
            }
            at += 1;
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let pairs = form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            (decoded(&pair[..at]), decoded(pair.get(at + 1..).unwrap_or_default()))
        })
        .collect()
}

/// The address of a client's document is canonical, and nobody else's.
pub(crate) fn document_url(text: &str) {
    for allow_private in [false, true] {
        let Ok(document) = DocumentUrl::parse(text, allow_private) else { continue };
        let url = Url::parse(text).unwrap();
        assert_eq!(url.as_str(), text);
        let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        assert!(url.scheme() == "https" || allow_private && here);
        assert!(url.path().len() > 1 && url.fragment().is_none() && !text.contains(['#', '\\', ' ', '|', '{']));
        assert!(url.username().is_empty() && url.password().is_none());
        assert!(!url.path().split('/').any(|part| matches!(part, "." | "..")));
        assert_eq!(document.host(), url.host_str().unwrap());
    }
}
