//! OTLP/HTTP with JSON (opentelemetry-proto, OTLP/JSON encoding): ids in hexadecimal, 64-bit numbers as texts, enums as numbers.

use super::context::TraceContext;
use super::span::{Finished, Said};
use serde_json::{Value, json};

/// `StatusCode.STATUS_CODE_ERROR` of trace.proto.
const ERROR: u8 = 2;

/// Who sends.
pub(super) struct Resource(Value);

impl Resource {
    pub(super) fn new(service: &str, instance: &str) -> Self {
        let attributes = [
            ("service.name", service),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", instance),
        ];
        let attributes = attributes.map(|(key, text)| json!({ "key": key, "value": { "stringValue": text } }));
        Self(json!({ "attributes": attributes }))
    }
}

/// An `ExportTraceServiceRequest`.
pub(super) fn request(resource: &Resource, spans: &[Finished]) -> String {
    let scope = json!({ "name": "portcullis", "version": env!("CARGO_PKG_VERSION") });
    let spans: Vec<Value> = spans.iter().map(span).collect();
    json!({ "resourceSpans": [{ "resource": resource.0, "scopeSpans": [{ "scope": scope, "spans": spans }] }] })
        .to_string()
}

fn span(span: &Finished) -> Value {
    let told = &span.told;
    let mut json = place(&span.context);
    json["parentSpanId"] = told.parent.map_or_else(String::new, |id| id.to_string()).into();
    json["name"] = told.name.as_ref().into();
    json["kind"] = (span.kind as u8).into();
    json["startTimeUnixNano"] = told.begin.to_string().into();
    json["endTimeUnixNano"] = span.end.to_string().into();
    json["attributes"] =
        told.attributes.iter().map(|(key, said)| json!({ "key": key, "value": value(said) })).collect();
    json["links"] = told.link.iter().map(place).collect();
    json["status"] = if told.failed { json!({ "code": ERROR }) } else { json!({}) };
    json
}

fn place(context: &TraceContext) -> Value {
    json!({
        "traceId": context.trace.to_string(),
        "spanId": context.span.to_string(),
        "traceState": context.state().unwrap_or_default(),
        "flags": context.flags(),
    })
}

fn value(said: &Said) -> Value {
    match said {
        Said::Text(text) => json!({ "stringValue": text }),
        Said::Number(number) => json!({ "intValue": number.to_string() }),
    }
}
