//! What a request asks for: one look, which neither delays it nor changes it. Audit, metrics and the decision whether it
//! may be sent twice go by it; a policy does not (`policy.rs`).

use crate::mcp::{Message, Messages, Method, mirrors_are_true};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue};
use std::borrow::Cow;

/// Where requests mirror their version, method and name (MCP 2026-07-28, Streamable HTTP).
const VERSION: &str = "mcp-protocol-version";
pub(super) const METHOD: &str = "mcp-method";
pub(super) const NAME: &str = "mcp-name";

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub(super) method: Method,
    /// The tool, prompt or resource.
    pub(super) name: Option<Cow<'a, str>>,
    /// Whether it calls a tool, or might.
    pub(super) calls_a_tool: bool,
}

impl<'a> Asked<'a> {
    /// Looks at the body if it is in memory, since a server may go by it whatever the header fields say; else at the fields, where the
    /// protocol's version obliges servers to refuse false ones.
    pub(super) fn by(headers: &'a HeaderMap, body: Option<&'a [u8]>) -> Self {
        match body {
            Some(_) => Self::by_body(body),
            None => Self::mirrored(headers).unwrap_or_else(Self::unknown),
        }
    }

    /// Looks at the body alone, if it is in memory.
    pub(super) fn by_body(body: Option<&'a [u8]>) -> Self {
        match body {
            Some([]) => Self { method: Method::NONE, name: None, calls_a_tool: false },
            Some(bytes) => Self::read(bytes),
            None => Self::unknown(),
        }
    }

    fn mirrored(headers: &'a HeaderMap) -> Option<Self> {
        let of = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let method = Method::of(of(METHOD).filter(|_| of(VERSION).is_some_and(mirrors_are_true))?);
        let name = headers.get(NAME).and_then(unmirrored);
        Some(Self { method, name, calls_a_tool: method == Method::TOOLS_CALL })
    }

    fn read(body: &'a [u8]) -> Self {
        match Messages::read(body) {
            Some(Messages::One(message)) => Self::one(message),
            Some(Messages::Batch(messages)) => Self::batch(&messages),
            None => Self::unknown(),
        }
    }

    fn one(message: Message<'a>) -> Self {
        Self {
            method: message.method.as_deref().map_or(Method::NONE, Method::of),
            calls_a_tool: message.doubtful || calls_a_tool(&message),
            name: message.name.or(message.uri),
        }
    }

    fn batch(messages: &[Message<'_>]) -> Self {
        let tools: Vec<&str> =
            messages.iter().filter(|message| calls_a_tool(message)).filter_map(|call| call.name.as_deref()).collect();
        Self {
            method: Method::BATCH,
            name: (!tools.is_empty()).then(|| Cow::Owned(tools.join(", "))),
            calls_a_tool: messages.iter().any(|message| message.doubtful || calls_a_tool(message)),
        }
    }

    fn unknown() -> Self {
        Self { method: Method::NONE, name: None, calls_a_tool: true }
    }
}

/// Whether a message calls a tool. No server of ours is known that ignores the case of methods, and none is worth the risk.
pub(super) fn calls_a_tool(message: &Message<'_>) -> bool {
    message.method.as_deref().is_some_and(|method| method.eq_ignore_ascii_case("tools/call"))
}

/// The text behind a mirrored name: what a header field cannot carry is in Base64 there.
pub(super) fn unmirrored(value: &HeaderValue) -> Option<Cow<'_, str>> {
    let text = value.to_str().ok()?;
    let Some(encoded) = text.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Some(Cow::Borrowed(text));
    };
    String::from_utf8(BASE64.decode(encoded.as_bytes()).ok()?).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (http::HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay"}}"#;

    /// Or a caller could call a tool and have something else written down.
    #[test]
    fn fields_count_only_where_the_body_is_not_known_and_servers_must_check_them() {
        let mirrors = |version| headers(&[(VERSION, version), (METHOD, "prompts/get"), (NAME, "=?base64?w6k=?=")]);
        let (new, old, body) = (mirrors("2026-07-28"), mirrors("2025-11-25"), Some(CALL.as_bytes()));
        for lying in [&new, &old] {
            let asked = Asked::by(lying, body);
            assert_eq!(
                (asked.method.label(), asked.name.as_deref(), asked.calls_a_tool),
                ("tools/call", Some("pay"), true)
            );
        }
        let asked = Asked::by(&new, None);
        assert_eq!(
            (asked.method.label(), asked.name.as_deref(), asked.calls_a_tool),
            ("prompts/get", Some("é"), false)
        );
        let asked = Asked::by(&old, None);
        assert!(asked.calls_a_tool && asked.name.is_none());
    }

    #[test]
    fn only_what_asks_is_repeated() {
        let none = HeaderMap::new();
        for (body, calls) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, false),
            (CALL, true),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools\/call"}"#, true),
            (r#"{"method":"ping","method":"tools/call"}"#, true),
            (r#"[{"method":"ping"}]"#, false),
            (r#"[{"method":"ping"},{"method":"tools/call"}]"#, true),
            ("not json", true),
        ] {
            assert_eq!(Asked::by(&none, Some(body.as_bytes())).calls_a_tool, calls, "{body}");
        }
        assert!(Asked::by(&none, None).calls_a_tool);
        assert!(!Asked::by(&none, Some(b"")).calls_a_tool);
    }

    #[test]
    fn resources_go_by_their_address() {
        let (none, body) = (HeaderMap::new(), br#"{"id":1,"method":"resources/read","params":{"uri":"file:///a"}}"#);
        assert_eq!(Asked::by(&none, Some(body)).name.as_deref(), Some("file:///a"));
    }
}
