//! What a request carries besides its own params: version, identity and capabilities (MCP 2026-07-28, Overview, `_meta`), header
//! fields that mirror the body (Streamable HTTP, Request Metadata), progress tokens.

use super::Principal;
use crate::mcp::era::{MODERN, meta};
use crate::mcp::mirror::encoded;
use crate::mcp::rpc::Members;
use crate::telemetry::{TRACEPARENT, TRACESTATE, TraceContext};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

pub(super) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Puts version, identity and capabilities into the params of a modern request.
pub(super) fn modern(params: &mut Members, principal: &Principal, log_level: Option<&str>) {
    let mut meta = match params.remove("_meta") {
        Some(Value::Object(meta)) => meta,
        _ => Members::new(),
    };
    meta.insert(meta::VERSION.to_owned(), MODERN.into());
    meta.insert(meta::CLIENT_INFO.to_owned(), principal.info.clone());
    meta.insert(meta::CLIENT_CAPABILITIES.to_owned(), Value::Object(principal.capabilities.clone()));
    match log_level {
        Some(level) => drop(meta.insert(meta::LOG_LEVEL.to_owned(), level.into())),
        None => drop(meta.remove(meta::LOG_LEVEL)),
    }
    params.insert("_meta".to_owned(), Value::Object(meta));
}

/// The header fields of a modern request.
pub(super) fn mirrors(method: &str, params: &Members, headers: &mut HeaderMap) {
    headers.insert(VERSION, HeaderValue::from_static(MODERN));
    headers.insert(METHOD, encoded(method));
    let named = match method {
        "tools/call" | "prompts/get" => params.get("name"),
        "resources/read" => params.get("uri"),
        _ => None,
    };
    if let Some(name) = named.and_then(Value::as_str) {
        headers.insert(NAME, encoded(name));
    }
}

/// A request that says in `_meta` where it is in a trace says it in its header fields too, for whoever looks at those alone.
pub(super) fn trace(params: &Members, headers: &mut HeaderMap) {
    let meta = params.get("_meta").and_then(Value::as_object);
    let text = |key| meta?.get(key)?.as_str();
    if let Some(context) = text("traceparent").and_then(|parent| TraceContext::parse(parent, text("tracestate"))) {
        let (parent, state) = context.fields();
        headers.insert(TRACEPARENT, parent);
        state.map(|state| headers.insert(TRACESTATE, state));
    }
}

/// `params` of `initialize`.
pub(super) fn initialize(principal: &Principal, version: &str) -> Members {
    let mut params = Members::new();
    params.insert("protocolVersion".to_owned(), version.into());
    params.insert("capabilities".to_owned(), Value::Object(principal.capabilities.clone()));
    params.insert("clientInfo".to_owned(), principal.info.clone());
    params
}

/// Puts a progress token of ours in the place of the caller's, which is unique among the caller's only. The caller's, if it
/// wants progress at all.
pub(super) fn claim_progress(params: &mut Members, number: u64) -> Option<Value> {
    let token = params.get_mut("_meta")?.as_object_mut()?.get_mut("progressToken")?;
    Some(std::mem::replace(token, number.into()))
}

/// The progress token of `notifications/progress`, if it is one of ours.
pub(super) fn progress_of(params: &Members) -> Option<u64> {
    match params.get("progressToken")? {
        Value::Number(number) => number.as_u64(),
        // Some servers make a text of every token.
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Params of `notifications/cancelled`.
pub(super) fn cancelled(number: u64) -> Members {
    let mut params = Members::new();
    params.insert("requestId".to_owned(), number.into());
    params.insert("reason".to_owned(), json!("the caller is gone"));
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tokens_are_replaced_only_where_progress_is_wanted() {
        let mut params = Members::new();
        assert_eq!(claim_progress(&mut params, 7), None);
        params.insert("_meta".to_owned(), json!({ "progressToken": "theirs", "x": 1 }));
        assert_eq!(claim_progress(&mut params, 7), Some(json!("theirs")));
        assert_eq!(params["_meta"], json!({ "progressToken": 7, "x": 1 }));
    }
}
