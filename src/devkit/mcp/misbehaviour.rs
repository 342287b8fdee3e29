//! The ways in which an MCP server can be wrong.

use axum::http::StatusCode;

/// What happens to one request instead of, or besides, its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// 401 `invalid_token`, whatever the token.
    Unauthorized,
    /// 403 `insufficient_scope` asking for `notes.read notes.write`.
    InsufficientScope,
    /// That status, with a plain text.
    Status(StatusCode),
    /// 307 to that URL.
    Redirect(String),
    /// The answer's headers and the first half of its body, then the connection is lost.
    DropMidBody,
    /// Nothing, until the server stops.
    NeverAnswer,
    /// These headers are added to the answer.
    Headers(Vec<(&'static str, &'static str)>),
}

/// What the server says untruly about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// The protected resource's metadata names another resource (RFC 9728 §3.3).
    WrongResource,
    /// The protected resource's metadata does not exist, and the challenge does not mention it (before 2025-06-18).
    NoResourceMetadata,
    /// The metadata is there, but the challenge is a bare `Bearer`.
    BareChallenge,
    /// It has never heard of the modern era, as the servers of last year have not.
    LegacyOnly,
}
