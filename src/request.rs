//! What the data plane tells the control plane about a request that it hands over in process, as an extension.

use crate::hostname::Realm;
use std::net::IpAddr;

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
