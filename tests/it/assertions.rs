//! The numbered assertions about an OAuth gateway (authorization server 1 to 49, resource 50 to 56, client 57 to 70): each is
//! held by tests that carry its number, `b33_…`, or cannot apply for a reason that is given here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const ALL: std::ops::RangeInclusive<u32> = 1..=70;

/// What cannot apply, and why.
const CANNOT_APPLY: [(u32, &str); 0] = [];

#[test]
fn every_number_is_held_by_a_test() {
    let mut held: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for directory in ["src", "tests/it"] {
        tests_below(&root.join(directory), &mut |name| {
            for number in numbers(name) {
                held.entry(number).or_default().push(name.to_owned());
            }
        });
    }
    let cannot: BTreeSet<u32> = CANNOT_APPLY.iter().map(|(number, _)| *number).collect();
    let missing: Vec<u32> = ALL.filter(|number| !held.contains_key(number) && !cannot.contains(number)).collect();
    assert!(missing.is_empty(), "no test carries the numbers {missing:?}");
    let both: Vec<_> = held.keys().filter(|number| cannot.contains(number)).collect();
    assert!(both.is_empty(), "{both:?} are said not to apply, and have tests");
    let unknown: Vec<_> = held.keys().filter(|number| !ALL.contains(number)).collect();
    assert!(unknown.is_empty(), "there are no assertions {unknown:?}");
}

#[test]
fn numbers_are_read_from_names() {
    assert_eq!(numbers("a4_b58_state_is_for_one_browser"), [58]);
    assert_eq!(numbers("b3_b4_b12_errors_go_back"), [3, 4, 12]);
    assert!(numbers("base32_b").is_empty());
}

/// The leading numbers of a test's name: `b…`, between others such as `a4`.
fn numbers(name: &str) -> Vec<u32> {
    let is_number = |part: &&str| part.len() > 1 && part[1..].bytes().all(|byte| byte.is_ascii_digit());
    let leading = name.split('_').take_while(is_number);
    leading.filter_map(|part| part.strip_prefix('b')?.parse().ok()).collect()
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
