//! Every target as a property: its corpus, and inputs that are made of it or of nothing.

use super::{TARGETS, Target, find};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// How many inputs beside the corpus.
const CASES: u32 = 1500;

/// What happens to an input.
#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    /// The end of another one from somewhere.
    Splice(prop::sample::Index, prop::sample::Index),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let index = any::<prop::sample::Index>;
    prop::collection::vec(
        prop_oneof![
            (index(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
            (index(), prop::collection::vec(any::<u8>(), 1..6)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
            (index(), 1..9_usize).prop_map(|(at, count)| Change::Remove(at, count)),
            (index(), index()).prop_map(|(at, other)| Change::Splice(at, other)),
        ],
        1..5,
    )
}

fn changed(corpus: &[Vec<u8>], which: prop::sample::Index, changes: &[Change]) -> Vec<u8> {
    let mut input = which.get(corpus).clone();
    for change in changes {
        match change {
            Change::Set(at, byte) if !input.is_empty() => {
                let at = at.index(input.len());
                input[at] = *byte;
            }
            Change::Set(..) => {}
            Change::Insert(at, bytes) => {
                let at = at.index(input.len() + 1);
                input.splice(at..at, bytes.iter().copied());
            }
            Change::Remove(at, count) => {
                let at = at.index(input.len() + 1);
                input.drain(at..(at + count).min(input.len()));
            }
            Change::Splice(at, other) => {
                let other = other.get(corpus);
                input.truncate(at.index(input.len() + 1));
                input.extend_from_slice(&other[other.len() / 2..]);
            }
        }
    }
    input
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let files = fs::read_dir(&directory).unwrap_or_else(|why| panic!("{}: {why}", directory.display()));
    files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

fn hold(name: &str) {
    let Target { run, .. } = find(name).unwrap();
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    corpus.iter().for_each(|input| run(input));
    let inputs = prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..300),
        3 => (any::<prop::sample::Index>(), changes())
            .prop_map(move |(which, changes)| changed(&corpus, which, &changes)),
    ];
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let held = TestRunner::new(config).run(&inputs, |input| {
        let ran = catch_unwind(AssertUnwindSafe(|| run(&input)));
        ran.map_err(|_| TestCaseError::fail(format!("b\"{}\"", input.escape_ascii())))
    });
    held.unwrap_or_else(|why| panic!("{name}: {why}"));
}

macro_rules! targets {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                hold(stringify!($name));
            }
        )*
    };
}

targets! {
    label host route address forwarded announced http1_request http1_pipeline http1_answer http1_chunks hygiene_request
    hygiene_answer challenge metadata registration redirect form token_answer broker rpc sse frames jwt proof cookie config
    vault
}

#[test]
fn every_target_is_tested_here_and_has_a_small_corpus() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(TESTED, names);
    for name in names {
        let corpus = corpus(name);
        let size: usize = corpus.iter().map(Vec::len).sum();
        assert!(corpus.len() <= 60 && size <= 100 * 1024, "{name}: {} files, {size} bytes", corpus.len());
    }
}
