//! What is measured. Each scenario has a name for ONLY, a sentence for the report, and a function.

mod hot;
pub mod streams;
pub mod tls;
pub mod tokens;
pub mod whole;

use crate::bench::Bench;

pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub run: fn(&mut Bench) -> Result<(), String>,
}

/// Growth with upstreams, tokens and people is measured inside the library (`benches/`), where a million tokens need no minutes.
pub const SCENARIOS: &[Scenario] = &[
    scenario(
        "hot",
        "Calls of a tool (POST, 300 bytes of JSON-RPC, 1 KiB of JSON back) over kept connections, with a token that was seen before.",
        hot::run,
    ),
    scenario("reject", "The same without a token: 401.", tokens::reject),
    scenario("cold", "Calls with a token that was never seen, in turn with one that was.", tokens::cold),
    scenario("cold-beside", "How late others are while new tokens come in.", tokens::cold_beside),
    scenario("churn", "Clients register, get tokens and revoke them beside 32 connections of calls.", tokens::churn),
    scenario("sse-paced", "One event stream: how late events are (p50, p99).", streams::paced),
    scenario("sse-flood", "Many event streams at once: CPU of an event.", streams::flood),
    scenario(
        "sse-idle",
        "Event streams on which nothing happens but the gateway's heartbeats: memory of each.",
        streams::idle,
    ),
    scenario("ws-echo", "WebSocket messages of 300 bytes, there and back; CPU is that of both.", streams::websockets),
    scenario("tls-hot", "As hot, over TLS 1.3 and kept connections.", tls::hot),
    scenario(
        "tls-handshake",
        "Whole TLS 1.3 handshakes with an ECDSA certificate (P-256), none resumed.",
        tls::handshake,
    ),
    scenario("h2-hot", "As hot, over HTTP/2 and TLS to the proxy, HTTP/1.1 to the upstream.", tls::h2_hot),
    scenario("h2-upstream", "As hot, HTTP/1.1 to the proxy, HTTP/2 over TLS to the upstream.", tls::h2_upstream),
    scenario("big-body", "Bodies of 1 MiB in either direction.", whole::big_body),
    scenario("two-core", "The gateway on one and on two cores, which load and mock share.", whole::two_core),
    scenario(
        "start",
        "From the start of the program until it is ready, and its memory when nobody uses it.",
        whole::start,
    ),
    scenario("mcp", "The unified endpoint beside mcp-proxy, supergateway and fastmcp, with MCP sessions.", whole::mcp),
];

const fn scenario(name: &'static str, about: &'static str, run: fn(&mut Bench) -> Result<(), String>) -> Scenario {
    Scenario { name, about, run }
}

/// Every target, in the order of tables.
pub fn everybody() -> &'static [&'static str] {
    hot::EVERYBODY
}

/// `1 stream`, `32 streams`.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A call of a tool: 300 bytes.
fn tool_call() -> String {
    let around = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":""}}}"#;
    let padding = "x".repeat(300 - around.len());
    around.replace(r#""text":"""#, &format!(r#""text":"{padding}""#))
}
