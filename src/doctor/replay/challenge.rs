//! The first request, without a token: the answer should say where to get one.

use super::super::answer::{Answer, Trouble, printable};
use super::super::check::{Check, Verdict};
use super::super::rules::Probe;
use super::Walk;
use crate::oauth::challenge::BearerChallenge;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT, WWW_AUTHENTICATE};
use http::{Request, StatusCode};
use serde_json::json;
use url::Url;

/// What the server said to somebody without a token.
pub(super) struct Challenged {
    /// Where it points to.
    pub(super) pointer: Option<Url>,
    /// What it wants.
    pub(super) scope: Option<String>,
}

impl Walk<'_> {
    pub(super) async fn challenge(&mut self) -> Option<Challenged> {
        let answer = self.knock().await?;
        if let Some(seen) = answer.bot_protection() {
            self.found(Check::FrontBots, Verdict::broken("", seen));
            return None;
        }
        self.found(Check::FrontBots, Verdict::Holds("the server itself answered".to_owned()));
        if answer.status != StatusCode::UNAUTHORIZED {
            let cause = if answer.status.is_success() && !answer.is_html() { "open" } else { answer.cause() };
            self.found(Check::ChallengeStatus, Verdict::broken(cause, answer.seen()));
            return None;
        }
        self.found(Check::ChallengeStatus, Verdict::Holds("401".to_owned()));
        Some(self.read(&answer))
    }

    /// One probe after the other; the answer to the first that is refused as it should be, else to the very first.
    async fn knock(&mut self) -> Option<Answer> {
        let mut first = None;
        for probe in &self.rules.opening.probes {
            let request = self.probe(*probe)?;
            match self.ask(request, self.rules.limits.discovery()).await {
                Ok(answer) => {
                    self.spent += answer.took;
                    if answer.status == StatusCode::UNAUTHORIZED {
                        return Some(answer);
                    }
                    first.get_or_insert(answer);
                }
                Err(trouble) if first.is_none() => {
                    // A connection that is closed without a word is a matter of whoever stands in front.
                    self.undiscovered(Check::ChallengeStatus, &trouble);
                    return None;
                }
                Err(Trouble::Slow(_) | Trouble::Failed(_)) => {}
            }
        }
        first
    }

    fn probe(&self, probe: Probe) -> Option<Request<Bytes>> {
        let opening = &self.rules.opening;
        let information = json!({ "name": self.rules.id, "version": "1.0.0" });
        let url = self.place.url.as_str();
        let (mut request, body) = match probe {
            Probe::Stream => (Request::get(url).header(ACCEPT, "text/event-stream"), String::new()),
            Probe::Initialize => {
                let parameters =
                    json!({ "protocolVersion": opening.protocol, "capabilities": {}, "clientInfo": information });
                let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": parameters });
                (post(url), body.to_string())
            }
            Probe::Stateless => {
                let parameters = json!({ "_meta": {
                    "io.modelcontextprotocol/protocolVersion": opening.protocol,
                    "io.modelcontextprotocol/clientCapabilities": {},
                    "io.modelcontextprotocol/clientInfo": information,
                } });
                let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "server/discover", "params": parameters });
                (post(url).header("mcp-method", "server/discover"), body.to_string())
            }
        };
        request = request.header(USER_AGENT, &opening.user_agent).header("mcp-protocol-version", &opening.protocol);
        for (name, value) in self.rules.opening_headers() {
            request = request.header(name, value);
        }
        request.body(body.into()).ok()
    }

    fn read(&mut self, answer: &Answer) -> Challenged {
        let values = answer.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let values: Vec<&str> = values.collect();
        let Some(challenge) = values.iter().find_map(|value| BearerChallenge::parse(value)) else {
            let seen =
                if values.is_empty() { "no WWW-Authenticate".to_owned() } else { printable(&values.join(", "), 200) };
            self.found(Check::ChallengeHeader, Verdict::broken("", seen));
            return Challenged { pointer: None, scope: None };
        };
        self.found(Check::ChallengeHeader, Verdict::Holds("WWW-Authenticate: Bearer".to_owned()));
        let pointer = challenge.resource_metadata.as_deref().and_then(|text| Url::parse(text).ok());
        match &pointer {
            Some(pointer) => self.judge(pointer),
            None => self.found(Check::ChallengePointer, Verdict::broken("missing", "no resource_metadata")),
        }
        Challenged { pointer, scope: challenge.scope }
    }

    fn judge(&mut self, pointer: &Url) {
        let (said, own) = (super::origin(pointer), self.place.origin());
        let origin = match said == own {
            true => Verdict::Holds(own.clone()),
            false => {
                let downgraded = own.strip_prefix("https") == said.strip_prefix("http");
                let seen = format!("{} instead of {own}", printable(&said, 200));
                Verdict::broken(if downgraded { "http" } else { "" }, seen)
            }
        };
        self.found(Check::ChallengeOrigin, origin);
        let expected = self.place.resource_metadata();
        let fits = expected.strip_prefix(&own) == pointer.as_str().strip_prefix(&said);
        self.found(Check::ChallengePointer, Verdict::when(fits, printable(pointer.as_str(), 200)));
    }
}

fn post(url: &str) -> http::request::Builder {
    Request::post(url).header(ACCEPT, "application/json, text/event-stream").header(CONTENT_TYPE, "application/json")
}
