//! The integration tests: one binary, real sockets, port 0.

#![allow(unreachable_pub)] // what the tests share with each other is public to nobody
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that fails says so

// Helpers.
mod client;
mod gateway;
mod logs;
mod raw;
mod tls_peers;
mod upstreams;
mod visitors;

mod bad_input;
mod clients;
mod conformance;
mod datapath;
mod flows;
mod forgery;
mod hostile;
mod isolation;
mod layers;
mod liars;
mod process;
mod python;
mod revocation;
mod routes;
mod shapes;
mod streams;
mod tls;
mod websocket;
