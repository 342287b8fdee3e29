//! What the data plane tells the control plane about a request that it hands over in process, as an extension.

use crate::hostname::Realm;
use crate::life::Life;
use std::net::IpAddr;
use std::sync::Arc;

/// Facts about a local request that its handler cannot see for itself.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The issuer that was addressed. For [`Realm::Mcp`] the label led to an upstream.
    pub realm: Realm,
    /// The client's address: the peer's, or the one that a trusted proxy reports.
    pub client: IpAddr,
}

/// The peer is a proxy that the configuration trusts: what it says about the request that it forwards, or asks about, may
/// be believed. Whatever a stranger says under the same names must not.
#[derive(Clone, Copy, Debug)]
pub struct TrustedProxy;

/// How long an answer may go on: whoever streams one that has no end of its own finishes it when this is over, since the gateway
/// stops, or the stream has lasted as long as it may. What goes on regardless is cut off a little later.
#[derive(Clone, Debug)]
pub struct Stay(pub Arc<Life>);
