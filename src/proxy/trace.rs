//! A request as a span, where a collector wants traces.

use super::session::ServerSession;
use super::way::{Outcome, Way};
use crate::telemetry::{SharedSpan, Tracer};
use http::Method;
use pingora::ErrorSource;
use tracing::Instrument;

/// From which status on an answer of ours is our error (OpenTelemetry semantic conventions for HTTP, server).
const OUR_ERROR: u16 = 500;
/// From which status on an answer of an upstream is an error of the request to it (the same, client).
pub(super) const THEIR_ERROR: u16 = 400;

/// A request that is being traced. Dropping it ends its spans.
pub(super) struct Traced(SharedSpan);

impl Traced {
    /// `None` where nobody wants traces.
    pub(super) fn begin(tracer: &Tracer, session: &ServerSession) -> Option<Self> {
        // This is all that a request pays for when they are off.
        if !tracer.is_on() {
            return None;
        }
        let head = session.req_header();
        let method = method(&head.method);
        let span = tracer.server(&head.headers, method)?;
        span.say(|span| {
            span.text("http.request.method", method);
            // Queries carry codes and state.
            span.text("url.path", head.uri.path().to_owned());
            let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).or(head.uri.host());
            if let Some(host) = host {
                span.goes_to(&host.to_ascii_lowercase());
            }
        });
        Some(Self(span))
    }

    /// What lines of the log are marked with.
    pub(super) fn log(&self) -> tracing::Span {
        self.0.log()
    }

    /// Serves it; what is logged meanwhile has the trace's id.
    pub(super) async fn serve(&self, way: &Way, session: &mut ServerSession) -> Outcome {
        let outcome = way.serve(session, Some(&self.0)).instrument(self.0.log()).await;
        self.0.say(|span| match &outcome {
            Outcome::Answered(_, status) => span.status(status.as_u16(), OUR_ERROR),
            Outcome::Aborted(error) => {
                if let Some(status) = session.status_written() {
                    span.number("http.response.status_code", status.as_u16());
                }
                // Whoever has had enough of a stream leaves.
                if *error.esource() != ErrorSource::Downstream {
                    span.fail("broken_off");
                }
            }
        });
        outcome
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Methods that anybody makes up are not names of spans.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        _ => "_OTHER",
    }
}
