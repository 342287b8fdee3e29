//! What stands between us and the server, by what it does to requests.

use super::answer::{Answer, Trouble, printable, seconds};
use super::check::{Check, Finding, Verdict};
use super::ground::PATIENCE;
use super::place::Place;
use super::tools::Tools;
use super::{STREAM_PATH, STREAM_PAUSE};
use crate::clock::Timestamp;
use crate::http::Reuse;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE, SERVER, VIA};
use http::{HeaderMap, Request};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use url::Url;

/// More than this between two clocks, in seconds, breaks what is signed with a time.
const SKEW: u64 = 120;

/// More than nginx lets through unless it is told to.
const LARGE: usize = 1_300_000;

/// Headers that proxies and networks leave behind, and whose they are.
const TRACES: [(&str, &str); 9] = [
    ("cf-ray", "Cloudflare"),
    ("x-amz-cf-id", "CloudFront"),
    ("x-vercel-id", "Vercel"),
    ("fly-request-id", "Fly"),
    ("x-served-by", "Fastly"),
    ("x-azure-ref", "Azure Front Door"),
    ("x-envoy-upstream-service-time", "Envoy"),
    ("x-kong-proxy-latency", "Kong"),
    ("via", "a proxy"),
];

/// `initialize`, as a plain client of Streamable HTTP sends it.
pub(super) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"portcullis-doctor","version":"1"}}}"#;

/// Everything between us and the server.
pub(super) struct Front<'a> {
    pub(super) place: &'a Place,
    pub(super) tools: &'a Tools,
}

impl Front<'_> {
    pub(super) async fn survey(&self, findings: &mut Vec<Finding>) {
        let look = async {
            let request = get(&format!("{}/", self.place.origin()))?;
            self.tools.ask(request, PATIENCE).await.ok()
        };
        let (looked, body, buffering) = tokio::join!(look, self.body(), self.buffering());
        if let Some(answer) = looked {
            findings.push((Check::Clock, self.clock(&answer)));
            findings.push((Check::Front, Verdict::Holds(traces(&answer.headers))));
        }
        findings.push((Check::FrontBody, body));
        findings.push((Check::FrontBuffering, buffering));
    }

    fn clock(&self, answer: &Answer) -> Verdict {
        let Some(theirs) = answer.header(DATE).and_then(http_date) else {
            return Verdict::Moot("the answer has no date".to_owned());
        };
        let ours = self.tools.clock.now();
        let skew = theirs.since(ours).max(ours.since(theirs));
        let seen = match skew.as_secs() {
            0..=2 => "the same time as here".to_owned(),
            _ if theirs > ours => format!("{} ahead of this machine", seconds(skew)),
            _ => format!("{} behind this machine", seconds(skew)),
        };
        Verdict::when(skew.as_secs() <= SKEW, seen)
    }

    async fn body(&self) -> Verdict {
        let padded = INITIALIZE.replace("portcullis-doctor", &format!("portcullis-doctor{}", " ".repeat(LARGE)));
        let Some(request) = post(&self.place.url, padded.into()) else { return Verdict::Moot(String::new()) };
        match self.tools.ask(request, PATIENCE * 2).await {
            Ok(answer) if answer.status == http::StatusCode::PAYLOAD_TOO_LARGE => Verdict::broken("", answer.seen()),
            Ok(_) => Verdict::holds(format!("{} MB pass", LARGE / 100_000 / 10)),
            Err(Trouble::Slow(_)) => Verdict::Moot("the line is too slow to tell".to_owned()),
            // Who does not want the body may hang up on it.
            Err(Trouble::Failed(_)) => Verdict::Moot("the connection was closed before the end".to_owned()),
        }
    }

    /// Two events, a moment apart: together they come only when somebody collects them.
    async fn buffering(&self) -> Verdict {
        let Some(root) = &self.place.root else {
            return Verdict::Moot("only gateways have a stream to try".to_owned());
        };
        let request = Request::get(format!("{root}{STREAM_PATH}")).header(ACCEPT, "text/event-stream");
        let Ok(request) = request.body(Bytes::new()) else { return Verdict::Moot(String::new()) };
        match timeout(PATIENCE, self.pauses(request)).await {
            Ok(Some(pause)) => {
                let seen = format!("events {} apart came {} apart", seconds(STREAM_PAUSE), seconds(pause));
                Verdict::when(pause > STREAM_PAUSE / 3, seen)
            }
            Ok(None) => Verdict::Moot("the stream could not be read".to_owned()),
            Err(_) => Verdict::broken("", format!("no event within {}", seconds(PATIENCE))),
        }
    }

    async fn pauses(&self, request: Request<Bytes>) -> Option<Duration> {
        let mut stream = self.tools.http.stream(request, self.tools.allow_private, Reuse::Never).await.ok()?;
        let kind = stream.headers.get(CONTENT_TYPE)?.as_bytes().starts_with(b"text/event-stream");
        if !stream.status.is_success() || !kind {
            return None;
        }
        let (mut begun, mut seen) = (None, Vec::new());
        while let Ok(Some(piece)) = stream.chunk().await {
            seen.extend_from_slice(&piece);
            let events = seen.windows(2).filter(|two| two == b"\n\n").count();
            let began = *begun.get_or_insert_with(Instant::now);
            if events >= 2 {
                return Some(began.elapsed());
            }
        }
        None
    }
}

fn traces(headers: &HeaderMap) -> String {
    let text = |name: &http::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let mut seen: Vec<String> =
        text(&SERVER).map(|server| format!("Server: {}", printable(server, 60))).into_iter().collect();
    seen.extend(text(&VIA).map(|via| format!("Via: {}", printable(via, 60))));
    let known = TRACES.iter().filter(|(name, _)| *name != "via" && headers.contains_key(*name));
    seen.extend(known.map(|(name, whose)| format!("{whose} ({name})")));
    if seen.is_empty() { "none that shows itself".to_owned() } else { seen.join(", ") }
}

/// A question that is nobody's in particular.
pub(super) fn get(url: &str) -> Option<Request<Bytes>> {
    Request::get(url).header(ACCEPT, "application/json, text/html;q=0.5").body(Bytes::new()).ok()
}

/// `initialize` that is nobody's in particular.
pub(super) fn initialize(url: &Url) -> Option<Request<Bytes>> {
    post(url, Bytes::from_static(INITIALIZE.as_bytes()))
}

fn post(url: &Url, body: Bytes) -> Option<Request<Bytes>> {
    let request = Request::post(url.as_str()).header(ACCEPT, "application/json, text/event-stream");
    request.header(CONTENT_TYPE, "application/json").body(body).ok()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|one| *one == month)? + 1;
    Timestamp::from_rfc3339(&format!("{year}-{month:02}-{day:0>2}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_answers_are_read() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Timestamp(784_111_777)));
        for bad in ["", "Sun", "Sun, 06 Foo 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT"] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }
}
