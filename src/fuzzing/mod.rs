//! Fuzz targets: what reads other people's bytes, each with an oracle that knows nothing of how it is done. `tests/fuzz`
//! runs them under libFuzzer, the tests of this module as property tests. No released program has this module.
//!
//! What is private to a module has its target there, in a file `fuzzing.rs`; this is the list of all of them.

// A target that fails says so, and is one list of what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cognitive_complexity)]

mod addresses;
mod configuration;
mod input;
mod names;
mod oauth;
mod rows;
#[cfg(test)]
mod tests;

pub(crate) use input::{Input, pieces};

/// Something that takes any bytes and panics when what it promises does not hold.
#[derive(Clone, Copy)]
pub struct Target {
    /// What it is called, and the directory of its corpus.
    pub name: &'static str,
    /// Runs it once.
    pub run: fn(&[u8]),
}

/// A row of [`TARGETS`].
const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// All of them.
pub const TARGETS: [Target; 27] = [
    target("label", names::label),
    target("host", names::host),
    target("route", crate::proxy::fuzzing::route),
    target("address", addresses::address),
    target("forwarded", crate::proxy::fuzzing::forwarded),
    target("announced", crate::server::fuzzing::announced),
    target("http1_request", crate::proxy::fuzzing::http1_request),
    target("http1_pipeline", crate::proxy::fuzzing::http1_pipeline),
    target("http1_answer", crate::proxy::fuzzing::http1_answer),
    target("http1_chunks", crate::proxy::fuzzing::http1_chunks),
    target("hygiene_request", crate::proxy::fuzzing::hygiene_request),
    target("hygiene_answer", crate::proxy::fuzzing::hygiene_answer),
    target("challenge", oauth::challenge),
    target("metadata", oauth::metadata),
    target("registration", oauth::registration),
    target("redirect", oauth::redirect),
    target("form", crate::issuer::fuzzing::form),
    target("token_answer", crate::connect::fuzzing::token_answer),
    target("broker", crate::broker::fuzzing::ask),
    target("rpc", crate::proxy::fuzzing::rpc),
    target("sse", crate::proxy::fuzzing::sse),
    target("frames", crate::proxy::fuzzing::frames),
    target("jwt", crate::tokens::fuzzing::jwt),
    target("proof", crate::tokens::fuzzing::proof),
    target("cookie", crate::session::fuzzing::cookie),
    target("config", configuration::config),
    target("vault", rows::vault),
];

/// The target of this name. Found while it is compiled, it leaves a program without everything that only the others need.
pub const fn find(name: &str) -> Option<Target> {
    let mut number = 0;
    while number < TARGETS.len() {
        if is_same(TARGETS[number].name, name) {
            return Some(TARGETS[number]);
        }
        number += 1;
    }
    None
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut place = 0;
    while place < one.len() && place < other.len() && one[place] == other[place] {
        place += 1;
    }
    place == one.len() && place == other.len()
}
