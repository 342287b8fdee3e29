//! HTTP/1.1 (RFC 9112) as the data path needs it, toward callers and toward upstreams.
//!
//! A session reads through one buffer of its thread and keeps nothing while nothing arrives, so that an idle stream costs
//! what its task costs. What is written is collected as long as more can be had without waiting: a head and a small body are
//! one system call each way. Where the framing of a message could be understood in two ways, it is refused: behind us is a
//! server that may understand it in the other.

mod body;
mod chunks;
mod client;
mod connection;
mod encode;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod head;
mod server;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use client::{ClientSession, Line};
pub(super) use encode::{Framing, field, size_of};
pub(super) use head::Malformed;
pub(super) use server::{Begins, BodyOfAnswer, NextHead, ServerSession};
pub use wire::Wire;
