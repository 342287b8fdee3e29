//! The two eras of the protocol (MCP 2026-07-28, Versioning): what conveys version, identity and capabilities.

use super::rpc::Members;
use serde_json::Value;

/// How a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// `initialize` and a session: 2025-11-25 and earlier.
    Legacy,
    /// Everything is in each request: 2026-07-28 and later.
    Modern,
}

/// The newest version of the modern era that we speak.
pub const MODERN: &str = "2026-07-28";
/// Versions of the legacy era that we speak, newest first.
pub const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// What a request without `MCP-Protocol-Version` is taken for (MCP 2025-06-18, Transports).
pub const UNSTATED: &str = "2025-03-26";

/// Keys of `_meta` that the protocol itself defines (MCP 2026-07-28, Overview).
pub mod meta {
    /// The version of a request.
    pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// Who sends a request.
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    /// What the sender can do for the server.
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// From which level on the sender wants log messages of this request.
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    /// Who answered.
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    /// The request that opened the stream which a notification comes on.
    pub const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
}

/// A member of `_meta`.
pub fn meta_of<'a>(params: &'a Members, key: &str) -> Option<&'a Value> {
    params.get("_meta")?.as_object()?.get(key)
}

/// Whether params are those of a modern request: they name their version.
pub fn is_modern(params: &Members) -> bool {
    meta_of(params, meta::VERSION).is_some()
}
