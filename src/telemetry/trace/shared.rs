//! The span of a request, and the one of what was asked of an upstream because of it: known to everybody on the request's way.

use super::context::TraceContext;
use super::span::{Kind, Span};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::sync::Arc;

/// A server span that several can say something about, until it has ended. Cloning shares it.
#[derive(Clone)]
pub struct SharedSpan(Arc<Mutex<Slot>>);

struct Slot {
    span: Option<Span>,
    /// The one to the upstream that is under way, or was the last.
    client: Option<Box<Span>>,
    /// What it asks for.
    asked: Option<(&'static str, Option<Box<str>>)>,
    /// Whether its caller names a trace.
    has_parent: bool,
    /// What lines of the log are marked with.
    log: tracing::Span,
}

impl SharedSpan {
    pub(super) fn new(span: Span, has_parent: bool) -> Self {
        let log = tracing::error_span!("request", trace_id = %span.context().trace_id());
        Self(Arc::new(Mutex::new(Slot { span: Some(span), client: None, asked: None, has_parent, log })))
    }

    /// What lines of the log are marked with that have to do with it.
    pub fn log(&self) -> tracing::Span {
        self.0.lock().log.clone()
    }

    /// Says something about it; nothing once it has ended.
    pub fn say(&self, say: impl FnOnce(&mut Span)) {
        if let Some(span) = &mut self.0.lock().span {
            say(span);
        }
    }

    /// What it asks for, once that is known (OpenTelemetry semantic conventions for MCP). `name`: of a tool or a prompt.
    pub fn asks(&self, method: &'static str, name: Option<&str>) {
        let mut slot = self.0.lock();
        slot.asked = Some((method, name.map(Into::into)));
        if let Some(span) = &mut slot.span {
            asks(span, method, name);
        }
    }

    /// The request that goes to an upstream because of it; the one before it has ended. What the upstream is to be told.
    pub fn client_begins(&self, upstream: &str) -> Option<TraceContext> {
        let mut slot = self.0.lock();
        let span = slot.span.as_ref()?;
        let mut client = span.child(Kind::Client, "request");
        if let Some((method, name)) = &slot.asked {
            asks(&mut client, method, name.as_deref());
        }
        client.goes_to(upstream);
        let context = client.context().clone();
        // Dropped, and so ended, outside of the assignment.
        drop(slot.client.replace(client));
        Some(context)
    }

    /// Says something about the request to the upstream.
    pub fn client(&self, say: impl FnOnce(&mut Span)) {
        if let Some(client) = &mut self.0.lock().client {
            say(client);
        }
    }

    /// A call of an upstream in a message that may name a trace of its own (`_meta`, SEP-414). Whoever named none in the header fields
    /// means the same one; if both are named, the message's is the parent, and the request is linked.
    pub fn call(
        &self,
        (method, name): (&'static str, Option<&str>),
        of_message: Option<TraceContext>,
    ) -> Option<Box<Span>> {
        let mut slot = self.0.lock();
        let Slot { span, has_parent, log, .. } = &mut *slot;
        let span = span.as_mut()?;
        let title = title(method, name);
        let other = match of_message {
            Some(parent) if !*has_parent => {
                span.adopt(&parent);
                log.record("trace_id", span.context().trace_id());
                None
            }
            Some(parent) if parent.trace != span.context().trace => Some(parent),
            _ => None,
        };
        let mut call = match other {
            Some(parent) => span.child_of(parent, Kind::Client, title),
            None => span.child(Kind::Client, title),
        };
        asks(span, method, name);
        asks(&mut call, method, name);
        *has_parent = true;
        Some(call)
    }

    /// Ends it, and what it was the reason for.
    pub fn end(&self) {
        let (client, span) = {
            let mut slot = self.0.lock();
            (slot.client.take(), slot.span.take())
        };
        drop(client);
        drop(span);
    }
}

fn asks(span: &mut Span, method: &'static str, name: Option<&str>) {
    // No message, several, or a method that is in no specification.
    if method.starts_with('(') {
        return;
    }
    span.text("mcp.method.name", method);
    match (method, name) {
        ("tools/call", Some(name)) => {
            span.text("gen_ai.operation.name", "execute_tool");
            span.text("gen_ai.tool.name", name.to_owned());
        }
        ("prompts/get", Some(name)) => span.text("gen_ai.prompt.name", name.to_owned()),
        _ => {}
    }
    span.rename(title(method, name).into_owned());
}

/// `{mcp.method.name} {target}`, where the target is a tool or a prompt.
fn title(method: &'static str, name: Option<&str>) -> Cow<'static, str> {
    match name.filter(|_| matches!(method, "tools/call" | "prompts/get")) {
        Some(name) => format!("{method} {name}").into(),
        None => method.into(),
    }
}
