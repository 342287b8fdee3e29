//! The integration tests: one binary, real sockets, port 0.

#![allow(unreachable_pub)] // what the tests share with each other is public to nobody
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that fails says so

// Helpers.
mod balancer;
mod cable;
mod chaos_proxy;
mod chromium;
mod client;
mod client_libraries;
mod gateway;
mod github;
mod h2_attacks;
mod logs;
mod openid;
#[path = "../support/postgres.rs"]
#[allow(dead_code)]
mod postgres;
mod raw;
mod shim;
mod speaker;
mod suite;
mod tls_peers;
mod upstreams;
mod visitors;

mod access;
mod announced;
mod api;
mod assertions;
mod bad_input;
mod bodies;
mod broker;
mod chaos;
mod clients;
mod conformance;
mod conformance_client;
mod conformance_server;
mod datapath;
mod device;
mod dpop;
mod endings;
mod enterprise;
mod factors;
mod fidelity;
mod flows;
mod forgery;
mod forward_auth;
mod forward_proxies;
mod hostile;
mod http2;
mod introspection;
mod isolation;
mod keys;
mod kosoku;
mod layers;
mod liars;
mod lifecycle;
mod moving;
mod nodes;
mod on_postgres;
mod passkeys;
mod peers;
mod policy;
mod process;
mod providers;
mod python;
mod registration;
mod reload;
mod remembered;
mod revocation;
mod routes;
mod shapes;
mod slow;
mod stdio;
mod stepup;
mod streams;
mod tls;
mod trespass;
mod unified_children;
mod unified_conformance;
mod unified_crowd;
mod unified_real;
mod uploads;
mod vault;
mod websocket;
