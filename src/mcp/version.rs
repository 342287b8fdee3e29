//! What versions of the protocol differ in.

/// The first version in which requests mirror their method and name in header fields, and servers must refuse those whose
/// mirrors are not true (MCP 2026-07-28, Streamable HTTP).
const MIRRORS: &str = "2026-07-28";

/// Whether a server that speaks `version` refuses requests whose `Mcp-Method` and `Mcp-Name` say something else than the
/// body. Versions are dates; later ones are taken to keep what earlier ones promised.
pub fn mirrors_are_true(version: &str) -> bool {
    version.len() == MIRRORS.len() && version.bytes().all(|b| b.is_ascii_digit() || b == b'-') && version >= MIRRORS
}
