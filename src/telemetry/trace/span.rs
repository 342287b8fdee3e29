//! One span, from its beginning until it is dropped.

use super::Inner;
use super::context::{SpanId, TraceContext};
use http::Uri;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

/// The longest text in an attribute, in bytes.
const MAX_TEXT: usize = 256;

/// Who speaks to whom, as OTLP numbers it (trace.proto, SpanKind).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody asks us.
    Server = 2,
    /// We ask somebody.
    Client = 3,
}

/// What an attribute says. No token, no cookie, no argument and no result ever does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Text(Cow<'static, str>),
    Number(i64),
}

/// A span that is under way; it ends when it is dropped.
pub struct Span {
    tracer: Arc<Inner>,
    context: TraceContext,
    kind: Kind,
    began: Instant,
    told: Told,
}

/// What a span says of itself.
#[derive(Default)]
pub(super) struct Told {
    pub(super) parent: Option<SpanId>,
    pub(super) link: Option<TraceContext>,
    pub(super) name: Cow<'static, str>,
    /// Nanoseconds since the Unix epoch.
    pub(super) begin: u64,
    pub(super) attributes: Vec<(&'static str, Said)>,
    pub(super) failed: bool,
}

/// A span that is over.
pub(super) struct Finished {
    pub(super) context: TraceContext,
    pub(super) kind: Kind,
    pub(super) end: u64,
    pub(super) told: Told,
}

impl Span {
    pub(super) fn begin(
        tracer: Arc<Inner>,
        parent: Option<TraceContext>,
        (kind, name): (Kind, Cow<'static, str>),
    ) -> Self {
        let context = tracer.context(parent.as_ref());
        let begin = tracer.clock.unix_nanos();
        let told = Told { parent: parent.map(|parent| parent.span), name, begin, ..Told::default() };
        Self { tracer, context, kind, began: Instant::now(), told }
    }

    /// A span that this one is the reason for.
    pub fn child(&self, kind: Kind, name: impl Into<Cow<'static, str>>) -> Box<Span> {
        Box::new(Self::begin(self.tracer.clone(), Some(self.context.clone()), (kind, name.into())))
    }

    /// A span below one elsewhere, in whose trace this one is not.
    pub(super) fn child_of(&self, parent: TraceContext, kind: Kind, name: impl Into<Cow<'static, str>>) -> Box<Span> {
        let mut child = Box::new(Self::begin(self.tracer.clone(), Some(parent), (kind, name.into())));
        child.told.link = Some(self.context.clone());
        child
    }

    /// Moves below a parent that was not known when this began.
    pub(super) fn adopt(&mut self, parent: &TraceContext) {
        self.context = self.tracer.context(Some(parent));
        self.told.parent = Some(parent.span);
    }

    /// Where it is in its trace: what goes along with what is asked because of it.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// What it is called from now on.
    pub(super) fn rename(&mut self, name: String) {
        self.told.name = cut(name.into());
    }

    /// Says a text about it, cut where it is too long; what was said under the same key before is forgotten.
    pub fn text(&mut self, key: &'static str, text: impl Into<Cow<'static, str>>) {
        if self.context.is_sampled() {
            self.say(key, Said::Text(cut(text.into())));
        }
    }

    /// Says a number about it.
    pub fn number(&mut self, key: &'static str, number: impl Into<i64>) {
        if self.context.is_sampled() {
            self.say(key, Said::Number(number.into()));
        }
    }

    fn say(&mut self, key: &'static str, said: Said) {
        match self.told.attributes.iter_mut().find(|(known, _)| *known == key) {
            Some((_, before)) => *before = said,
            None => self.told.attributes.push((key, said)),
        }
    }

    /// Where a client span goes: an authority, whose port is left out where it is the scheme's own.
    pub fn goes_to(&mut self, authority: &str) {
        match authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?))) {
            Some((host, port)) => {
                self.text("server.address", host.to_owned());
                self.number("server.port", port);
            }
            None => self.text("server.address", authority.to_owned()),
        }
    }

    /// The same, of a URL.
    pub fn goes_to_url(&mut self, url: &str) {
        let url = url.parse::<Uri>().ok();
        if let Some(authority) = url.as_ref().and_then(Uri::authority) {
            // What stands before an @ is none of a collector's business.
            self.goes_to(authority.as_str().rsplit('@').next().unwrap_or_default());
        }
    }

    /// It came to nothing; `what` is one of a few words.
    pub fn fail(&mut self, what: &'static str) {
        self.text("error.type", what);
        self.told.failed = true;
    }

    /// The status of the answer. `failed_from`: from which one on it is an error of this span.
    pub fn status(&mut self, status: u16, failed_from: u16) {
        self.number("http.response.status_code", status);
        if status >= failed_from {
            self.text("error.type", status.to_string());
            self.told.failed = true;
        }
    }
}

/// Callers choose names, and names may be as long as messages.
fn cut(text: Cow<'static, str>) -> Cow<'static, str> {
    match text.len() {
        0..=MAX_TEXT => text,
        _ => Cow::Owned(text[..text.floor_char_boundary(MAX_TEXT)].to_owned()),
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if !self.context.is_sampled() {
            return;
        }
        let took = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let told = std::mem::take(&mut self.told);
        let end = told.begin.saturating_add(took);
        self.tracer.queue(Finished { context: self.context.clone(), kind: self.kind, end, told });
    }
}
