//! Secrets with a mark, the forms that they may take, and where they are looked for.

use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXUPPER};
use memchr::memmem;
use portcullis::ids::Random;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// As it is, percent-encoded, as a form, in JSON, in HTML, in hexadecimal digits (two), in base64 (three alignments, two alphabets).
pub const FORMS: usize = 13;
/// Shorter ones are found by chance.
const SHORTEST: usize = 8;

/// A secret.
struct Canary {
    what: &'static str,
    text: String,
    /// The pieces of evidence that it belongs into, by the end of their names.
    belongs: &'static [&'static str],
}

/// All of them.
#[derive(Default)]
pub struct Canaries(Vec<Canary>);

impl Canaries {
    /// One that the test chooses. It has characters that look different in addresses, JSON and HTML.
    pub fn make(&mut self, what: &'static str) -> String {
        let text = format!("canary+{}/%&<>", &*Random::default().token());
        self.know(what, &text, &["portcullis.toml", "program.key"]);
        text
    }

    /// One that somebody else chose.
    pub fn know(&mut self, what: &'static str, text: &str, belongs: &'static [&'static str]) {
        assert!(text.len() >= SHORTEST, "{what} is too short to be looked for: {text:?}");
        if !self.0.iter().any(|known| known.text == text) {
            self.0.push(Canary { what, text: text.to_owned(), belongs });
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// What a gateway left behind, by name.
#[derive(Default)]
pub struct Evidence(Vec<(String, Vec<u8>)>);

impl Evidence {
    pub fn add(&mut self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.0.push((name.to_owned(), bytes.into()));
    }

    pub fn add_files(&mut self, files: &[PathBuf], when: &str) {
        for file in files {
            // A file of the database may go between the listing and this.
            if let Ok(bytes) = std::fs::read(file) {
                self.add(&format!("{when}: {}", file.display()), bytes);
            }
        }
    }

    /// The last piece of that name.
    pub fn text_of(&self, name: &str) -> String {
        let found = self.0.iter().rev().find(|(known, _)| known.ends_with(name));
        String::from_utf8_lossy(&found.unwrap_or_else(|| panic!("there is no {name}")).1).into_owned()
    }

    pub fn pieces(&self) -> usize {
        self.0.len()
    }

    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Every secret in every form where it does not belong, and every signed token whosever it is.
    pub fn search(&self, canaries: &Canaries) -> Vec<String> {
        let mut found = Vec::new();
        for canary in &canaries.0 {
            for form in forms(&canary.text) {
                let finder = memmem::Finder::new(&form);
                for (name, bytes) in &self.0 {
                    let at_home = canary.belongs.iter().any(|home| name.ends_with(home));
                    if let Some(at) = finder.find(bytes).filter(|_| !at_home) {
                        let around = &bytes[at.saturating_sub(160)..(at + 40).min(bytes.len())];
                        found.push(format!("{} in {name}: …{}…", canary.what, String::from_utf8_lossy(around)));
                    }
                }
            }
        }
        for (name, bytes) in &self.0 {
            if has_signed_token(bytes) {
                found.push(format!("a signed token in {name}"));
            }
        }
        found
    }
}

/// The ways in which a text may stand somewhere.
fn forms(text: &str) -> BTreeSet<Vec<u8>> {
    let form: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let json = serde_json::to_string(text).unwrap();
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let html_by_number = text.replace('&', "&#38;").replace('<', "&#60;").replace('>', "&#62;");
    let mut forms = BTreeSet::from([
        text.as_bytes().to_vec(),
        form.replace('+', "%20").into_bytes(),
        form.into_bytes(),
        json.trim_matches('"').as_bytes().to_vec(),
        html.into_bytes(),
        html_by_number.into_bytes(),
        HEXLOWER.encode(text.as_bytes()).into_bytes(),
        HEXUPPER.encode(text.as_bytes()).into_bytes(),
    ]);
    for before in 0..3 {
        // What stands before and behind it in the encoded bytes decides about the characters at the ends.
        let bytes = [&[0; 3][..before], text.as_bytes()].concat();
        let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for encoding in [BASE64, BASE64URL] {
            forms.insert(encoding.encode(&bytes).as_bytes()[from..to].to_vec());
        }
    }
    forms
}

/// Three parts of base64url of which the first is the beginning of a JSON object (RFC 7515 §3.1).
fn has_signed_token(bytes: &[u8]) -> bool {
    let length =
        |part: &[u8]| part.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)).count();
    memmem::find_iter(bytes, b"eyJ").any(|at| {
        let header = length(&bytes[at..]);
        let payload = at + header + 1;
        if header < 16 || bytes.get(payload - 1) != Some(&b'.') {
            return false;
        }
        let signature = payload + length(&bytes[payload..]) + 1;
        signature - payload > 16 && bytes.get(signature - 1) == Some(&b'.') && length(&bytes[signature..]) >= 40
    })
}

#[test]
fn what_is_looked_for_is_found_in_every_form() {
    let mut canaries = Canaries::default();
    let secret = canaries.make("a secret");
    let around = |text: &str| format!("xyz{text}");
    for hidden in [
        secret.clone(),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        serde_json::to_string(&secret).unwrap(),
        secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
        HEXLOWER.encode(secret.as_bytes()),
        HEXUPPER.encode(secret.as_bytes()),
        BASE64.encode(secret.as_bytes()),
        BASE64.encode(format!("a{secret}b").as_bytes()),
        BASE64.encode(format!("ab{secret}cde").as_bytes()),
        BASE64URL.encode(format!("user:{secret}").as_bytes()),
    ] {
        let mut evidence = Evidence::default();
        evidence.add("a log", around(&hidden));
        assert_eq!(evidence.search(&canaries).len(), 1, "{hidden}");
    }
    let mut evidence = Evidence::default();
    evidence.add("portcullis.toml", secret);
    evidence.add("a log", "nothing, eyJ.either, eyJhbGciOiJub25lIn0");
    assert!(evidence.search(&canaries).is_empty());
    let token = format!("bearer {}.{}.{}", "eyJhbGciOiJFUzI1NiJ9", "eyJzdWIiOiJhbGljZSJ9abc", "s".repeat(86));
    evidence.add("another", token);
    assert_eq!(evidence.search(&canaries), ["a signed token in another"]);
}
