//! What the header fields of a modern request must say (MCP 2026-07-28, Streamable HTTP, Server Validation), and its `_meta`.

use crate::mcp::era::{self, meta, meta_of};
use crate::mcp::mirror::decoded;
use crate::mcp::rpc::{Request, RpcError};
use http::HeaderMap;
use serde_json::{Value, json};

const VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";

/// The one version that a request names in its header.
pub(super) fn version(headers: &HeaderMap) -> Option<&str> {
    one(headers, VERSION)
}

/// Checks header fields and `_meta` of a request against each other.
///
/// # Errors
/// The error to answer with, with status 400.
pub(super) fn check(headers: &HeaderMap, request: &Request) -> Result<(), RpcError> {
    let stated = version(headers).ok_or_else(|| mismatch("MCP-Protocol-Version is missing, or there are several"))?;
    let named = meta_of(&request.params, meta::VERSION).and_then(Value::as_str);
    let named = named.ok_or_else(|| lacks(meta::VERSION, "a text"))?;
    if !meta_of(&request.params, meta::CLIENT_CAPABILITIES).is_some_and(Value::is_object) {
        return Err(lacks(meta::CLIENT_CAPABILITIES, "an object"));
    }
    if stated != named {
        return Err(mismatch("MCP-Protocol-Version says another version than _meta"));
    }
    if named != era::MODERN {
        let data = json!({ "supported": [era::MODERN], "requested": named });
        return Err(RpcError::new(RpcError::UNSUPPORTED_VERSION, "Unsupported protocol version").with(data));
    }
    match one(headers, METHOD) {
        Some(method) if method == request.method => {}
        Some(_) => return Err(mismatch("Mcp-Method says another method than the body")),
        None => return Err(mismatch("Mcp-Method is missing, or there are several")),
    }
    // Without a name the request itself is wrong, and whoever reads it says so.
    let Some(name) = name_in(request) else { return Ok(()) };
    match one(headers, NAME).map(decoded) {
        Some(Some(said)) if said == name => Ok(()),
        Some(Some(_)) => Err(mismatch("Mcp-Name says another name than the body")),
        Some(None) => Err(mismatch("Mcp-Name is not valid base64 between its marks")),
        None => Err(mismatch("Mcp-Name is missing, or there are several")),
    }
}

/// What `Mcp-Name` mirrors; tasks are named, too (SEP-2663).
fn name_in(request: &Request) -> Option<&str> {
    let member = match request.method.as_str() {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return None,
    };
    request.params.get(member)?.as_str()
}

/// The value of a field that may be there once (RFC 9110 §5.3: none of these is a list).
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    // White space around a value is no part of it (RFC 9110 §5.5).
    values.next().is_none().then_some(value.trim_matches([' ', '\t']))
}

fn mismatch(why: &str) -> RpcError {
    RpcError::new(RpcError::HEADER_MISMATCH, format!("Header mismatch: {why}"))
}

fn lacks(key: &str, kind: &str) -> RpcError {
    RpcError::new(RpcError::INVALID_PARAMS, format!("Invalid params: _meta must have {key:?}, {kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::rpc::Id;
    use http::{HeaderName, HeaderValue};

    fn judge(fields: &[(&'static str, &'static str)], method: &str, params: Value) -> Result<(), i64> {
        let headers: HeaderMap =
            fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap())).collect();
        let params = params.as_object().cloned().unwrap();
        let request = Request { id: Id::from(1), method: method.to_owned(), params };
        check(&headers, &request).map_err(|error| error.code)
    }

    fn with(version: &str, more: Value) -> Value {
        let mut params = more;
        params["_meta"] = json!({ meta::VERSION: version, meta::CLIENT_CAPABILITIES: {} });
        params
    }

    #[test]
    fn fields_and_body_say_the_same_or_the_request_is_refused() {
        const V: (&str, &str) = (VERSION, era::MODERN);
        const LIST: (&str, &str) = (METHOD, "tools/list");
        const CALL: (&str, &str) = (METHOD, "tools/call");
        let good = || with(era::MODERN, json!({}));
        let call = |name: &str| with(era::MODERN, json!({ "name": name }));
        let mismatch = Err(RpcError::HEADER_MISMATCH);
        for (fields, method, params, outcome) in [
            (vec![V, LIST], "tools/list", good(), Ok(())),
            (vec![LIST], "tools/list", good(), mismatch),
            (vec![V, V, LIST], "tools/list", good(), mismatch),
            (vec![(VERSION, "2025-11-25"), LIST], "tools/list", good(), mismatch),
            (vec![V, LIST], "tools/list", json!({}), Err(RpcError::INVALID_PARAMS)),
            (
                vec![V, LIST],
                "tools/list",
                json!({ "_meta": { meta::VERSION: era::MODERN } }),
                Err(RpcError::INVALID_PARAMS),
            ),
            (
                vec![V, LIST],
                "tools/list",
                json!({ "_meta": { meta::VERSION: 7, meta::CLIENT_CAPABILITIES: {} } }),
                Err(RpcError::INVALID_PARAMS),
            ),
            (
                vec![V, LIST],
                "tools/list",
                json!({ "_meta": { meta::VERSION: era::MODERN, meta::CLIENT_CAPABILITIES: [] } }),
                Err(RpcError::INVALID_PARAMS),
            ),
            (vec![V, LIST], "tools/list", with("2099-01-01", json!({})), mismatch),
            (
                vec![(VERSION, "2099-01-01"), LIST],
                "tools/list",
                with("2099-01-01", json!({})),
                Err(RpcError::UNSUPPORTED_VERSION),
            ),
            (
                vec![(VERSION, "2025-11-25"), LIST],
                "tools/list",
                with("2025-11-25", json!({})),
                Err(RpcError::UNSUPPORTED_VERSION),
            ),
            (vec![V], "tools/list", good(), mismatch),
            (vec![V, (METHOD, "TOOLS/LIST")], "tools/list", good(), mismatch),
            (vec![V, (METHOD, "prompts/list")], "tools/list", good(), mismatch),
            (vec![V, CALL], "tools/call", call("a"), mismatch),
            (vec![V, CALL, (NAME, "a")], "tools/call", call("a"), Ok(())),
            (vec![V, CALL, (NAME, "  a\t")], "tools/call", call("a"), Ok(())),
            (vec![V, CALL, (NAME, "A")], "tools/call", call("a"), mismatch),
            (vec![V, CALL, (NAME, "a"), (NAME, "b")], "tools/call", call("a"), mismatch),
            (vec![V, CALL, (NAME, "=?base64?w6k=?=")], "tools/call", call("é"), Ok(())),
            (vec![V, CALL, (NAME, "=?base64?w6k?=")], "tools/call", call("é"), mismatch),
            (vec![V, CALL, (NAME, "=?base64?!!?=")], "tools/call", call("é"), mismatch),
            (vec![V, CALL, (NAME, "=?BASE64?w6k=?=")], "tools/call", call("=?BASE64?w6k=?="), Ok(())),
            (vec![V, CALL], "tools/call", good(), Ok(())),
            (
                vec![V, (METHOD, "resources/read"), (NAME, "file:///x")],
                "resources/read",
                with(era::MODERN, json!({ "uri": "file:///x" })),
                Ok(()),
            ),
            (
                vec![V, (METHOD, "resources/read")],
                "resources/read",
                with(era::MODERN, json!({ "uri": "file:///x" })),
                mismatch,
            ),
            (
                vec![V, (METHOD, "tasks/get"), (NAME, "t:1")],
                "tasks/get",
                with(era::MODERN, json!({ "taskId": "t:1" })),
                Ok(()),
            ),
        ] {
            assert_eq!(judge(&fields, method, params.clone()), outcome, "{fields:?} {method} {params}");
        }
    }
}
