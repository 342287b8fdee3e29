//! `Mcp-Param-*`: arguments that a tool's schema wants mirrored in header fields (MCP 2026-07-28, Streamable HTTP, Custom Headers from
//! Tool Parameters). Pure.

use crate::mcp::mirror::{decoded, encoded};
use crate::mcp::rpc::RpcError;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::collections::HashSet;

const MIRROR: &str = "mcp-param-";
const ANNOTATION: &str = "x-mcp-header";
/// 2^53 - 1
const MAX_SAFE: i64 = (1 << 53) - 1;
/// How deep schemas are looked through; deeper annotations count as misplaced.
const DEPTH: usize = 64;

/// An argument that is mirrored.
#[derive(Debug, PartialEq)]
pub(super) struct Mirrored {
    /// Lower case.
    header: HeaderName,
    /// The way to it from the arguments.
    path: Vec<String>,
}

/// What the schema of a tool wants mirrored.
///
/// # Errors
/// Why the tool has to be left out of lists: an annotation that must not be there.
pub(super) fn of_schema(tool: &Value) -> Result<Vec<Mirrored>, String> {
    let Some(schema) = tool.get("inputSchema") else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    reachable(schema, &mut Vec::new(), &mut found)?;
    if count(schema, 0) != found.len() {
        return Err(format!("{ANNOTATION} stands where no argument can be found"));
    }
    let mut seen = HashSet::new();
    match found.iter().find(|mirrored| !seen.insert(&mirrored.header)) {
        Some(twice) => Err(format!("{ANNOTATION} {:?} is there twice", twice.header)),
        None => Ok(found),
    }
}

/// Compares the header fields of a modern request with its arguments.
///
/// # Errors
/// `HeaderMismatch` (-32020).
pub(super) fn check(mirrored: &[Mirrored], headers: &HeaderMap, arguments: Option<&Value>) -> Result<(), RpcError> {
    for Mirrored { header, path } in mirrored {
        let value = at(arguments, path);
        let mut fields = headers.get_all(header).iter();
        let (field, another) = (fields.next(), fields.next());
        let agree = match (value, field) {
            (None, None) => true,
            (Some(value), Some(field)) => another.is_none() && agrees(value, field),
            _ => false,
        };
        if !agree {
            let name = path.last().map_or("", String::as_str);
            let why = format!("Header mismatch: {header} does not say what the argument {name:?} says");
            return Err(RpcError::new(RpcError::HEADER_MISMATCH, why));
        }
    }
    Ok(())
}

/// Whether a request mirrors arguments at all.
pub(super) fn has_mirrors(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(MIRROR))
}

/// The fields for an upstream.
pub(super) fn fields(mirrored: &[Mirrored], arguments: Option<&Value>) -> Vec<(HeaderName, HeaderValue)> {
    let field = |one: &Mirrored| Some((one.header.clone(), encoded(&text(at(arguments, &one.path)?)?)));
    mirrored.iter().filter_map(field).collect()
}

/// Follows `properties` alone.
fn reachable(schema: &Value, path: &mut Vec<String>, found: &mut Vec<Mirrored>) -> Result<(), String> {
    if path.len() > DEPTH {
        return Ok(());
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
    for (name, property) in properties {
        path.push(name.clone());
        if let Some(annotation) = property.get(ANNOTATION) {
            found.push(Mirrored { header: header(annotation, property)?, path: path.clone() });
        }
        reachable(property, path, found)?;
        path.pop();
    }
    Ok(())
}

fn header(annotation: &Value, property: &Value) -> Result<HeaderName, String> {
    let name = annotation.as_str().filter(|name| !name.is_empty());
    let header = name.and_then(|name| HeaderName::from_bytes(format!("{MIRROR}{name}").as_bytes()).ok());
    let primitive = matches!(property.get("type").and_then(Value::as_str), Some("string" | "integer" | "boolean"));
    match header {
        Some(header) if primitive => Ok(header),
        Some(_) => Err(format!("{ANNOTATION} {annotation} is at what is no text, integer or boolean")),
        None => Err(format!("{ANNOTATION} {annotation} is no name of a header field")),
    }
}

/// How many annotations there are anywhere in a schema. A property of that name, and examples of arguments, are none.
fn count(schema: &Value, depth: usize) -> usize {
    if depth > 2 * DEPTH {
        return 0;
    }
    match schema {
        Value::Array(many) => many.iter().map(|one| count(one, depth + 1)).sum(),
        Value::Object(members) => {
            let inner = |(key, value): (&String, &Value)| match key.as_str() {
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                    value.as_object().map_or(0, |named| named.values().map(|one| count(one, depth + 1)).sum())
                }
                "const" | "enum" | "default" | "examples" => 0,
                _ => count(value, depth + 1),
            };
            usize::from(members.contains_key(ANNOTATION)) + members.iter().map(inner).sum::<usize>()
        }
        _ => 0,
    }
}

/// What is at a path; nothing for `null`.
fn at<'a>(arguments: Option<&'a Value>, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(arguments?, |value, name| value.get(name)).filter(|value| !value.is_null())
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => {
            let whole = number.as_i64().or_else(|| {
                let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= MAX_SAFE as f64)?;
                #[allow(clippy::cast_possible_truncation)] // it is whole and small enough
                Some(float as i64)
            });
            whole.filter(|whole| whole.abs() <= MAX_SAFE).map(|whole| whole.to_string())
        }
        _ => None,
    }
}

fn agrees(value: &Value, field: &HeaderValue) -> bool {
    let Some(said) = field.to_str().ok().and_then(decoded) else { return false };
    match (text(value), value) {
        (Some(text), Value::Number(_)) => said == text || said.parse::<f64>().ok() == text.parse::<f64>().ok(),
        (Some(text), _) => said == text,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tool() -> Value {
        json!({ "name": "sql", "inputSchema": { "type": "object", "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "where": { "type": "object", "properties": { "shard": { "type": "integer", "x-mcp-header": "Shard" } } },
            "x-mcp-header": { "type": "string" },
        } } })
    }

    #[test]
    fn fields_follow_the_arguments() {
        let mirrored = of_schema(&tool()).unwrap();
        let arguments = json!({ "region": " Köln", "where": { "shard": 42 }, "x-mcp-header": "a" });
        let sent: HeaderMap = fields(&mirrored, Some(&arguments)).into_iter().collect();
        assert_eq!(sent["mcp-param-region"], "=?base64?IEvDtmxu?=");
        assert_eq!(sent["mcp-param-shard"], "42");
        assert_eq!(check(&mirrored, &sent, Some(&arguments)), Ok(()));
        assert!(fields(&mirrored, Some(&json!({ "region": null }))).is_empty());
        assert!(fields(&mirrored, None).is_empty());
    }

    #[test]
    fn headers_must_say_what_the_arguments_say() {
        let mirrored = of_schema(&tool()).unwrap();
        for (good, fields, arguments) in [
            (true, vec![("mcp-param-region", "eu")], json!({ "region": "eu" })),
            (true, vec![("mcp-param-shard", "42.0")], json!({ "where": { "shard": 42 } })),
            (true, vec![("mcp-param-other", "x")], json!({})),
            (false, vec![("mcp-param-region", "us")], json!({ "region": "eu" })),
            (false, vec![], json!({ "region": "eu" })),
            (false, vec![("mcp-param-region", "eu")], json!({ "region": null })),
            (false, vec![("mcp-param-region", "eu"), ("mcp-param-region", "eu")], json!({ "region": "eu" })),
            (false, vec![("mcp-param-region", "=?base64?&?=")], json!({ "region": "&" })),
        ] {
            let outcome = check(&mirrored, &headers_of(&fields), Some(&arguments));
            assert_eq!(outcome.is_ok(), good, "{fields:?} {arguments}");
            assert!(outcome.err().is_none_or(|why| why.code == RpcError::HEADER_MISMATCH));
        }
    }

    fn headers_of(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_tool_with_a_wrong_annotation_is_none() {
        for property in [
            json!({ "a": { "type": "number", "x-mcp-header": "A" } }),
            json!({ "a": { "type": "string", "x-mcp-header": "" } }),
            json!({ "a": { "type": "string", "x-mcp-header": "a b" } }),
            json!({ "a": { "type": "string", "x-mcp-header": 7 } }),
            json!({ "a": { "type": "string", "x-mcp-header": "A" }, "b": { "type": "string", "x-mcp-header": "a" } }),
            json!({ "a": { "type": "array", "items": { "type": "string", "x-mcp-header": "A" } } }),
            json!({ "a": { "anyOf": [{ "type": "string", "x-mcp-header": "A" }] } }),
        ] {
            let tool = json!({ "name": "t", "inputSchema": { "type": "object", "properties": property } });
            assert!(of_schema(&tool).is_err(), "{tool}");
        }
        assert_eq!(of_schema(&json!({ "name": "t" })), Ok(Vec::new()));
    }
}
