//! libFuzzer on one of the gateway's targets, which `PORTCULLIS_FUZZ_TARGET` names when this is compiled. After every input
//! libFuzzer goes through the counters of all that is in the program, so there is nothing in it of the other targets.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::fuzzing::{Target, find};

const TARGET: Target = match find(env!("PORTCULLIS_FUZZ_TARGET")) {
    Some(target) => target,
    None => panic!("PORTCULLIS_FUZZ_TARGET names no target: they are the directories in tests/fuzz/corpus"),
};

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
