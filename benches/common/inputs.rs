//! What goes through the gateway: the message, the heads and the answer that every figure of docs/performance.md is about.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt::Write as _;

/// A call of a tool, of about 300 bytes.
pub fn message() -> String {
    let padding = "x".repeat(190);
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"text":"{padding}"}}}}}}"#
    )
}

/// Its answer, of 1 KiB.
pub fn answer() -> String {
    let text = "y".repeat(955);
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#)
}

/// One event of a stream, of about 200 bytes.
pub fn event() -> String {
    let text = "z".repeat(120);
    format!(
        "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":\"{text}\"}}\n\n"
    )
}

/// The fields that an MCP client sends with [`message`].
pub fn request_fields(host: &str, token: &str) -> HeaderMap {
    fields(&[
        ("host", host),
        ("authorization", &format!("Bearer {token}")),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2025-06-18"),
        ("mcp-session-id", "5f2b6c1e-7d0a-4f57-9f0d-0d6d3a2a9c11"),
        ("user-agent", "bench/1.0"),
        ("accept-encoding", "gzip, deflate"),
        ("content-length", &message().len().to_string()),
    ])
}

/// The fields that a server sends with [`answer`].
pub fn answer_fields() -> HeaderMap {
    fields(&[
        ("server", "bench"),
        ("date", "Sun, 22 Nov 2026 00:00:00 GMT"),
        ("content-type", "application/json"),
        ("mcp-session-id", "5f2b6c1e-7d0a-4f57-9f0d-0d6d3a2a9c11"),
        ("content-length", &answer().len().to_string()),
        ("connection", "keep-alive"),
    ])
}

/// A head as it is written: its first line, then its fields.
pub fn head(first_line: &str, fields: &HeaderMap) -> String {
    let mut text = format!("{first_line}\r\n");
    for (name, value) in fields {
        let _ = write!(text, "{name}: {}\r\n", value.to_str().unwrap());
    }
    text + "\r\n"
}

fn fields(of: &[(&'static str, &str)]) -> HeaderMap {
    of.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
}
