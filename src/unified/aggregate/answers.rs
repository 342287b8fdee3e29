//! Answers in the form of the caller's era.

use super::connecting;
use crate::error::Fault;
use crate::mcp::era::Era;
use crate::mcp::rpc::{Members, RpcError};
use crate::mcp_client::CallError;
use crate::unified::Caller;
use serde_json::{Value, json};

/// An error of ours.
pub(super) fn ours(fault: Fault) -> RpcError {
    tracing::error!(%fault, "the unified endpoint cannot answer");
    RpcError::new(RpcError::INTERNAL_ERROR, fault.public)
}

/// An empty result.
pub(super) fn complete(caller: &Caller) -> Value {
    match caller.era {
        Era::Modern => json!({ "resultType": "complete" }),
        Era::Legacy => json!({}),
    }
}

/// The result of a tool that failed.
pub(super) fn failed(caller: &Caller, why: &str) -> Value {
    let mut result = said(caller, why);
    result["isError"] = true.into();
    result
}

/// The result of a tool that says something.
pub(super) fn said(caller: &Caller, text: &str) -> Value {
    let mut result = complete(caller);
    result["content"] = json!([{ "type": "text", "text": text }]);
    result
}

/// A result in the form of the caller's era.
pub(super) fn finish(caller: &Caller, result: &mut Value) {
    let Some(members) = result.as_object_mut() else { return };
    match caller.era {
        Era::Legacy => {
            members.shift_remove("resultType");
        }
        Era::Modern => {
            members.entry("resultType").or_insert_with(|| "complete".into());
            if members.contains_key("contents") {
                members.entry("ttlMs").or_insert_with(|| 0.into());
                // Who may read it is decided here, person by person.
                members.insert("cacheScope".to_owned(), "private".into());
            }
        }
    }
}

/// An upstream's error for a caller of the other era. Links that a person has to open are an error in 2025-11-25 and a result
/// since.
pub(super) fn in_words_of(caller: &Caller, error: RpcError) -> Result<Value, CallError> {
    if caller.era == Era::Legacy || error.code != RpcError::URL_ELICITATION_REQUIRED {
        return Err(CallError::Rpc(error));
    }
    let links = error.data.as_ref().and_then(|data| data.get("elicitations")).and_then(Value::as_array);
    let Some(links) = links.filter(|links| !links.is_empty() && connecting::can_open_links(caller)) else {
        return Err(CallError::Rpc(error));
    };
    let question = |(number, link): (usize, &Value)| {
        let mut params = link.clone();
        if let Some(params) = params.as_object_mut() {
            params.shift_remove("elicitationId");
        }
        (format!("link-{number}"), json!({ "method": "elicitation/create", "params": params }))
    };
    let questions: Members = links.iter().enumerate().map(question).collect();
    Ok(json!({ "resultType": "input_required", "inputRequests": questions }))
}

pub(super) fn no_resource(caller: &Caller, uri: &str) -> RpcError {
    let code = match caller.era {
        Era::Legacy => RpcError::RESOURCE_NOT_FOUND,
        Era::Modern => RpcError::INVALID_PARAMS,
    };
    RpcError::new(code, "Resource not found").with(json!({ "uri": uri }))
}

/// An upstream's "there is no such resource" in the code of the caller's era.
pub(super) fn not_found_of(caller: &Caller, error: RpcError, uri: &str) -> RpcError {
    let names_uri = error.data.as_ref().is_some_and(|data| data.get("uri").is_some());
    let not_found = match error.code {
        RpcError::RESOURCE_NOT_FOUND => true,
        RpcError::INVALID_PARAMS => caller.era == Era::Legacy && names_uri,
        _ => false,
    };
    if !not_found {
        return error;
    }
    let expected = no_resource(caller, uri);
    let data = if names_uri { expected.data } else { error.data };
    RpcError { code: expected.code, message: error.message, data }
}

pub(super) fn is(result: &Value, kind: &str) -> bool {
    result.get("resultType").and_then(Value::as_str) == Some(kind)
}
