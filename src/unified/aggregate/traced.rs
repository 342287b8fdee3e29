//! The span of a call to a member, and its place in the trace on the way there: in `_meta`, so that it reaches programs as well.

use super::members::Member;
use super::sending::Routed;
use crate::mcp::Method;
use crate::mcp::rpc::Members;
use crate::mcp_client::CallError;
use crate::telemetry::{Span, TraceContext};
use crate::unified::Caller;
use serde_json::Value;

/// Keys of `_meta` (MCP 2026-07-28, OpenTelemetry trace context).
const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// Begins the span, if anybody wants traces; then the call says where it is in the trace. Without, what the caller says goes on as it
/// is.
pub(super) fn begin(caller: &Caller, member: &Member, routed: &mut Routed) -> Option<Box<Span>> {
    let trace = caller.trace.as_ref()?;
    let method = Method::of(&routed.method).label();
    let mut span = trace.call((method, routed.name.as_deref()), named(&routed.params))?;
    span.goes_to(member.authority().as_str());
    let context = span.context();
    let meta = routed.params.entry("_meta").or_insert_with(|| Value::Object(Members::new()));
    if let Value::Object(meta) = meta {
        meta.insert(PARENT.to_owned(), context.to_string().into());
        match context.state() {
            Some(state) => drop(meta.insert(STATE.to_owned(), state.into())),
            None => drop(meta.shift_remove(STATE)),
        }
    }
    Some(span)
}

/// What an error is called in a span.
pub(super) fn kind_of(error: &CallError) -> &'static str {
    match error {
        CallError::Rpc(_) => "jsonrpc_error",
        CallError::NeedsConsent => "needs_consent",
        CallError::Unavailable { .. } => "unavailable",
    }
}

/// The trace that a message names.
fn named(params: &Members) -> Option<TraceContext> {
    let meta = params.get("_meta")?.as_object()?;
    let text = |key| meta.get(key).and_then(Value::as_str);
    TraceContext::parse(text(PARENT)?, text(STATE))
}
