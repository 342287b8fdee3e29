//! What `portcullis demo` and the tests run around the gateway: an upstream's authorization server, upstream MCP
//! servers of every transport and protocol era, an identity provider, and a scripted browser. Everything listens on loopback, keeps its
//! state in memory, and ends when its handle is dropped.

pub mod authorization_server;
pub mod browser;
pub mod demo;
pub mod identity_provider;
pub mod mcp;
pub mod prover;
mod running;

pub use running::{Running, Stop};
