//! libFuzzer on one of the gateway's targets, which `PORTCULLIS_FUZZ_TARGET` names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::fuzzing::{TARGETS, Target, find};
use std::sync::LazyLock;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var_os("PORTCULLIS_FUZZ_TARGET").unwrap_or_default();
    name.to_str().and_then(find).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        panic!("PORTCULLIS_FUZZ_TARGET must be one of {}", names.join(", "))
    })
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
