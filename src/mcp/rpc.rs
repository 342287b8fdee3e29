//! JSON-RPC 2.0 messages that are taken apart and put together again. Their bodies stay JSON: no member that we do not know is
//! lost on the way.

use serde_json::{Map, Value, json};

/// `params`, or the members of a `result`.
pub type Members = Map<String, Value>;

/// The id of a request (JSON-RPC 2.0 §4; MCP: never `null`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Id {
    /// As most clients count.
    Number(serde_json::Number),
    /// Anything else.
    Text(String),
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub enum Rpc {
    /// Wants an answer.
    Request(Request),
    /// Wants none.
    Notification(Notification),
    /// Is one.
    Response(Response),
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The sender's name for it.
    pub id: Id,
    /// `method`
    pub method: String,
    /// `params`; empty when there were none.
    pub params: Members,
}

/// A notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// `method`
    pub method: String,
    /// `params`; empty when there were none.
    pub params: Members,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// That of the request; `None` where it could not be read.
    pub id: Option<Id>,
    /// `result` or `error`
    pub outcome: Result<Value, RpcError>,
}

/// `error` (JSON-RPC 2.0 §5.1).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// `code`
    pub code: i64,
    /// `message`
    pub message: String,
    /// `data`
    pub data: Option<Value>,
}

impl RpcError {
    /// Not JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// Not JSON-RPC.
    pub const INVALID_REQUEST: i64 = -32600;
    /// Nobody knows the method.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The params are wrong; since MCP 2026-07-28 also: there is no such resource.
    pub const INVALID_PARAMS: i64 = -32602;
    /// The server failed.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// No such resource (MCP 2025-11-25 and before).
    pub const RESOURCE_NOT_FOUND: i64 = -32002;
    /// A person has to open a link first (MCP 2025-11-25 only).
    pub const URL_ELICITATION_REQUIRED: i64 = -32042;
    /// Header fields say something else than the body (MCP 2026-07-28).
    pub const HEADER_MISMATCH: i64 = -32020;
    /// The client cannot do what the request needs (MCP 2026-07-28).
    pub const MISSING_CLIENT_CAPABILITY: i64 = -32021;
    /// The server does not speak this version (MCP 2026-07-28).
    pub const UNSUPPORTED_VERSION: i64 = -32022;

    /// An error without `data`.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The same with `data`.
    #[must_use]
    pub fn with(self, data: Value) -> Self {
        Self { data: Some(data), ..self }
    }
}

impl Id {
    /// Reads an id; `None` when it is neither a number nor a text.
    pub fn from_json(value: Value) -> Option<Self> {
        match value {
            Value::Number(number) => Some(Id::Number(number)),
            Value::String(text) => Some(Id::Text(text)),
            _ => None,
        }
    }

    /// As it is written.
    pub fn to_json(&self) -> Value {
        match self {
            Id::Number(number) => Value::Number(number.clone()),
            Id::Text(text) => Value::String(text.clone()),
        }
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Id::Number(number.into())
    }
}

impl Rpc {
    /// Reads one message.
    ///
    /// # Errors
    /// The error to answer with, when it is not a JSON-RPC 2.0 message.
    pub fn parse(bytes: &[u8]) -> Result<Self, RpcError> {
        let value = serde_json::from_slice(bytes);
        Self::from_json(value.map_err(|why| RpcError::new(RpcError::PARSE_ERROR, format!("not JSON: {why}")))?)
    }

    /// The same from JSON.
    ///
    /// # Errors
    /// As [`Rpc::parse`].
    pub fn from_json(value: Value) -> Result<Self, RpcError> {
        let wrong = |why: &str| RpcError::new(RpcError::INVALID_REQUEST, why);
        let Value::Object(mut members) = value else { return Err(wrong("a message is one JSON object")) };
        if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(wrong("\"jsonrpc\" must be \"2.0\""));
        }
        let id = match members.remove("id") {
            None => None,
            Some(Value::Null) if members.contains_key("error") => None,
            Some(id) => Some(Id::from_json(id).ok_or_else(|| wrong("\"id\" must be a text or a number"))?),
        };
        match members.remove("method") {
            Some(Value::String(method)) => {
                let params = match members.remove("params") {
                    None => Members::new(),
                    Some(Value::Object(params)) => params,
                    Some(_) => return Err(RpcError::new(RpcError::INVALID_PARAMS, "\"params\" must be an object")),
                };
                Ok(match id {
                    Some(id) => Rpc::Request(Request { id, method, params }),
                    None => Rpc::Notification(Notification { method, params }),
                })
            }
            Some(_) => Err(wrong("\"method\" must be a text")),
            None => match (id, members.remove("result"), members.remove("error")) {
                (Some(id), Some(result), None) => Ok(Rpc::Response(Response { id: Some(id), outcome: Ok(result) })),
                (id, None, Some(error)) => Ok(Rpc::Response(Response { id, outcome: Err(error_of(error)) })),
                _ => Err(wrong("a message has a \"method\", or an \"id\" with either \"result\" or \"error\"")),
            },
        }
    }

    /// The message as JSON.
    pub fn to_json(self) -> Value {
        match self {
            Rpc::Request(request) => request.to_json(),
            Rpc::Notification(notification) => notification.to_json(),
            Rpc::Response(response) => response.to_json(),
        }
    }
}

impl Request {
    /// The request as JSON.
    pub fn to_json(self) -> Value {
        let mut message = json!({ "jsonrpc": "2.0", "id": self.id.to_json(), "method": self.method });
        if !self.params.is_empty() {
            message["params"] = Value::Object(self.params);
        }
        message
    }
}

impl Notification {
    /// The notification as JSON.
    pub fn to_json(self) -> Value {
        let mut message = json!({ "jsonrpc": "2.0", "method": self.method });
        if !self.params.is_empty() {
            message["params"] = Value::Object(self.params);
        }
        message
    }
}

impl Response {
    /// The response as JSON.
    pub fn to_json(self) -> Value {
        let id = self.id.as_ref().map_or(Value::Null, Id::to_json);
        match self.outcome {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
            Err(error) => json!({ "jsonrpc": "2.0", "id": id, "error": error.to_json() }),
        }
    }
}

impl RpcError {
    /// The error as JSON.
    pub fn to_json(self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = self.data {
            error["data"] = data;
        }
        error
    }
}

/// Servers write all sorts of things here, and what they write is passed on as well as it goes.
fn error_of(error: Value) -> RpcError {
    let code = error.get("code").and_then(Value::as_i64).unwrap_or(RpcError::INTERNAL_ERROR);
    let message = error.get("message").and_then(Value::as_str).unwrap_or("an error without a message").to_owned();
    RpcError { code, message, data: error.get("data").cloned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_same_after_reading_and_writing() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","x-unknown":{"b":[1.0,null]}}}"#,
            r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"x":1}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no","data":{"a":1}}}"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}"#,
        ] {
            let read = Rpc::parse(text.as_bytes()).expect(text);
            assert_eq!(serde_json::to_string(&read.to_json()).expect("JSON"), text);
        }
    }

    #[test]
    fn what_is_no_message_is_refused_with_a_code() {
        for (text, code) in [
            ("{", RpcError::PARSE_ERROR),
            ("[]", RpcError::INVALID_REQUEST),
            (r#"{"id":1,"method":"ping"}"#, RpcError::INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, RpcError::INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, RpcError::INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, RpcError::INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, RpcError::INVALID_PARAMS),
            (r#"{"jsonrpc":"2.0","id":1}"#, RpcError::INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#, RpcError::INVALID_REQUEST),
        ] {
            assert_eq!(Rpc::parse(text.as_bytes()).expect_err(text).code, code, "{text}");
        }
    }
}
