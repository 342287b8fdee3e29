//! The numbered cases of docs/security/cases.md: each flaw of systems like this one (A) and each assertion about an OAuth gateway
//! (B) is held by tests that carry its number, `a4_b58_…`, or has a reasoned line in docs/security/not-applicable.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Each letter and its last number.
const ALL: [(char, u32); 2] = [('a', 49), ('b', 70)];

/// A letter and a number.
type Case = (char, u32);

#[test]
fn every_number_is_held_by_a_test() {
    let mut held: BTreeMap<Case, Vec<String>> = BTreeMap::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for directory in ["src", "tests/it"] {
        tests_below(&root.join(directory), &mut |name| {
            for case in cases(name) {
                held.entry(case).or_default().push(name.to_owned());
            }
        });
    }
    let reasons = std::fs::read_to_string(root.join("docs/security/not-applicable.md")).unwrap();
    let reasoned: BTreeSet<Case> = reasons
        .lines()
        .filter_map(|line| cases(&line.strip_prefix("| ")?.replace(' ', "_").to_lowercase()).pop())
        .collect();
    let all = || ALL.iter().flat_map(|(letter, last)| (1..=*last).map(move |number| (*letter, number)));
    let missing: Vec<Case> = all().filter(|case| !held.contains_key(case) && !reasoned.contains(case)).collect();
    assert!(missing.is_empty(), "no test carries {missing:?}");
    let unknown: Vec<_> = held.keys().filter(|case| !all().any(|known| known == **case)).collect();
    assert!(unknown.is_empty(), "there are no cases {unknown:?}");
}

#[test]
fn numbers_are_read_from_names() {
    assert_eq!(cases("a4_b58_state_is_for_one_browser"), [('a', 4), ('b', 58)]);
    assert_eq!(cases("a04_an_answer"), [('a', 4)]);
    assert_eq!(cases("b3_b4_b12_errors_go_back"), [('b', 3), ('b', 4), ('b', 12)]);
    assert!(cases("base32_b").is_empty() && cases("c_ssrf_x").is_empty() && cases("a_1").is_empty());
}

/// The leading numbers of a test's name.
fn cases(name: &str) -> Vec<Case> {
    let case = |part: &str| {
        let (letter, number) = part.split_at_checked(1)?;
        let letter = letter.chars().next().filter(|letter| ALL.iter().any(|(known, _)| known == letter))?;
        Some((letter, number.parse().ok()?))
    };
    name.split('_').map_while(case).collect()
}

/// The names of all functions that an attribute makes tests.
fn tests_below(directory: &Path, found: &mut dyn FnMut(&str)) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[") {
                    is_test |= line.starts_with("#[test") || line.starts_with("#[tokio::test");
                } else if !line.starts_with("//") {
                    let name = line.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                    if let Some(name) = name.filter(|_| is_test) {
                        found(name);
                    }
                    is_test = false;
                }
            }
        }
    }
}
