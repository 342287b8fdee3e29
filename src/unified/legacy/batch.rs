//! Several messages in one body (MCP 2025-03-26, Transports; removed by 2025-06-18).

use crate::mcp::rpc::{Rpc, RpcError};
use serde_json::Value;

/// The one version that has them.
const VERSION: &str = "2025-03-26";
/// How many messages a batch may have.
const MESSAGES: usize = 100;

/// The messages of a batch.
///
/// # Errors
/// When the version has no batches, or one of the messages is none: then none of them is looked at.
pub(super) fn messages(version: &str, batch: Vec<Value>) -> Result<Vec<Rpc>, RpcError> {
    let wrong = |why: String| RpcError::new(RpcError::INVALID_REQUEST, why);
    if version != VERSION {
        return Err(wrong(format!("MCP {version} has no batches: send each message by itself")));
    }
    if batch.is_empty() || batch.len() > MESSAGES {
        return Err(wrong(format!("a batch has 1 to {MESSAGES} messages")));
    }
    let messages = batch.into_iter().map(Rpc::from_json).collect::<Result<Vec<_>, _>>()?;
    if messages.iter().any(|message| matches!(message, Rpc::Request(request) if request.method == "initialize")) {
        return Err(wrong("initialize must not be part of a batch".to_owned()));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_one_version_has_batches_and_all_of_one_must_be_good() {
        let ping = || json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
        assert_eq!(messages(VERSION, vec![ping(), ping()]).unwrap().len(), 2);
        let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize" });
        for (version, batch) in [
            ("2025-06-18", vec![ping()]),
            (VERSION, vec![]),
            (VERSION, vec![ping(); MESSAGES + 1]),
            (VERSION, vec![ping(), json!(1)]),
            (VERSION, vec![ping(), json!([ping()])]),
            (VERSION, vec![initialize]),
        ] {
            let length = batch.len();
            assert_eq!(messages(version, batch).unwrap_err().code, RpcError::INVALID_REQUEST, "{version} {length}");
        }
    }
}
