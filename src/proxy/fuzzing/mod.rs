//! Targets of the data plane.

// A target that fails says so, and is one list of what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cognitive_complexity)]

mod heads;
mod messages;
mod naive;
mod routes;
mod streams;

pub(crate) use heads::{hygiene_answer, hygiene_request};
pub(crate) use messages::rpc;
pub(crate) use routes::{forwarded, route};
pub(crate) use streams::{frames, sse};

use super::http1::fuzzing;

/// See there.
pub(crate) fn http1_request(data: &[u8]) {
    fuzzing::request(data);
}

/// See there.
pub(crate) fn http1_pipeline(data: &[u8]) {
    fuzzing::pipeline(data);
}

/// See there.
pub(crate) fn http1_answer(data: &[u8]) {
    fuzzing::answer(data);
}

/// See there.
pub(crate) fn http1_chunks(data: &[u8]) {
    fuzzing::chunks(data);
}
