//! The data, and the texts that people type.

use super::check::{Check, TEXTS};
use super::{Rules, Target};
use std::path::Path;

#[test]
fn every_check_has_words_and_a_section_in_the_documentation() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md");
    let page = std::fs::read_to_string(page).unwrap();
    for check in Check::ALL {
        let texts = TEXTS.get(check).unwrap_or_else(|| panic!("{} has no texts", check.id()));
        assert!(!texts.title.is_empty() && !texts.why.is_empty() && !texts.fix.is_empty(), "{}", check.id());
        assert!(page.contains(&format!("\n### {}\n", check.id())), "{} is not in docs/doctor.md", check.id());
    }
    assert_eq!(TEXTS.len(), Check::ALL.len());
    assert!(Check::ALL.is_sorted());
}

#[test]
fn clients_are_read_and_found() {
    let ids: Vec<_> = Rules::all().iter().map(|rules| rules.id.as_str()).collect();
    assert_eq!(ids, ["claude", "claude-code", "chatgpt", "cursor", "vscode"]);
    for rules in Rules::all().iter().chain([Rules::gateway()]) {
        assert!(rules.opening_headers().count() == rules.opening.headers.len(), "{}: a header has no name", rules.id);
        assert!(!rules.opening.probes.is_empty() && !rules.discovery.server.is_empty(), "{}", rules.id);
        let uri = &rules.authorization.redirect_uri;
        let registered = rules.registration.dynamic.as_ref().map(|members| members["redirect_uris"].to_string());
        assert!(registered.is_none_or(|all| all.contains(uri)), "{}: {uri} is not registered", rules.id);
        assert!(Rules::find(&rules.id).is_some() != (rules.id == "portcullis"));
    }
}

#[test]
fn targets_as_people_type_them() {
    for (text, url) in [
        ("gw.example", "https://gw.example/"),
        (" GW.Example:443 ", "https://gw.example/"),
        ("gw.example/mcp?x=1", "https://gw.example/mcp?x=1"),
        ("http://gw.example:8080/mcp", "http://gw.example:8080/mcp"),
        ("notes.localhost:8080", "http://notes.localhost:8080/"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000/"),
    ] {
        assert_eq!(text.parse::<Target>().unwrap().url.as_str(), url, "{text}");
    }
    for bad in ["", " ", "ftp://x", "https://", "https://a:b@x", "x#y", "a b", "[::1]", "x:0", "x:99999", "-x.example"]
    {
        assert!(bad.parse::<Target>().is_err(), "{bad}");
    }
}
