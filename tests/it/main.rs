//! The integration tests: one binary, real sockets, port 0.

mod gateway;
mod layers;
mod raw;

mod datapath;
mod isolation;
mod streams;
mod websocket;
