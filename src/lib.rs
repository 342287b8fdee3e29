//! Portcullis: a self-hosted reverse-proxy gateway that puts OAuth 2.1 in front of MCP servers.
//!
//! ARCHITECTURE.md explains the layers; `tests/it/layers.rs` holds the modules to them.

// L0: words. Pure, no I/O.
mod checkpoints;
pub mod clock;
pub mod error;
pub mod hostname;
pub mod ids;
pub mod jose;
pub mod json;
pub mod life;
pub mod mcp;
pub mod oauth;
pub mod paths;
pub mod request;
pub mod secret;
pub mod table;

// L1: ground.
pub mod config;
pub mod http;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod vault;

// L2: services.
pub mod activity;
pub mod administration;
pub mod apikey;
pub mod audit;
pub mod backup;
pub mod certificates;
pub mod connect;
pub mod csrf;
pub mod doctor;
pub mod factors;
pub mod freshness;
pub mod identity;
pub mod jwks;
pub mod machine;
pub mod mcp_client;
pub mod moving;
pub mod overload;
pub mod page;
pub mod providers;
pub mod ratelimit;
pub mod revocation;
pub mod services;
pub mod session;
pub mod stdio;
pub mod tokens;
pub mod upstream;

// L3: doors.
pub mod api;
pub mod broker;
pub mod dashboard;
pub mod forward_auth;
pub mod issuer;
pub mod proxy;
pub mod unified;

// Assembly.
mod admin;
pub mod app;
pub mod bridge;
pub mod cli;
pub mod devkit;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod server;
