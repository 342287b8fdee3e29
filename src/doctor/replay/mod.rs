//! What one client does to connect, with its own headers, order and limits. Each step is in a file; each notes what it found
//! and gives the next one what that needs.

mod authorization;
mod challenge;
mod registration;
mod resource;
mod server;
mod token;

use super::answer::{Answer, Trouble};
use super::check::{Check, Finding, Verdict};
use super::place::Place;
use super::rules::Rules;
use super::tools::Tools;
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, USER_AGENT};
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// How many redirects within one origin are followed.
const REDIRECTS: usize = 3;

/// One client on its way.
pub(super) struct Walk<'a> {
    rules: &'static Rules,
    place: &'a Place,
    tools: &'a Tools,
    deadline: Instant,
    findings: Vec<Finding>,
    /// How long discovery has taken so far.
    spent: Duration,
}

impl<'a> Walk<'a> {
    pub(super) fn new(rules: &'static Rules, place: &'a Place, tools: &'a Tools, deadline: Instant) -> Self {
        Self { rules, place, tools, deadline, findings: Vec::new(), spent: Duration::ZERO }
    }

    /// Goes as far as the client gets.
    pub(super) async fn run(mut self) -> Vec<Finding> {
        // Every step says itself why it ends here.
        let _ = self.walk().await;
        self.findings
    }

    async fn walk(&mut self) -> Option<()> {
        let challenge = self.challenge().await?;
        let resource = self.resource(&challenge).await?;
        let server = self.server(&resource).await?;
        let client = self.register(&server).await;
        self.authorize(&resource, &server, client.as_ref()).await;
        self.token(&resource, &server, client.as_ref()).await;
        if let Some(client) = client {
            self.unregister(client).await;
        }
        Some(())
    }

    fn found(&mut self, check: Check, verdict: Verdict) {
        self.findings.push((check, verdict));
    }

    /// One request, within a limit of the client and what is left of the time for everything.
    async fn ask(&self, request: Request<Bytes>, limit: Duration) -> Result<Answer, Trouble> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Trouble::Failed("there was no time left for this".to_owned()));
        }
        self.tools.ask(request, limit.min(left)).await
    }

    /// A metadata document, behind redirects within its origin.
    async fn document(&mut self, url: &Url) -> Result<Answer, Trouble> {
        let (mut url, mut redirects) = (url.clone(), 0);
        loop {
            let request = Request::get(url.as_str())
                .header(ACCEPT, "application/json")
                .header(USER_AGENT, &self.rules.discovery.user_agent)
                .header("mcp-protocol-version", &self.rules.opening.protocol)
                .body(Bytes::new())
                .map_err(|error| Trouble::Failed(error.to_string()))?;
            let answer = self.ask(request, self.rules.limits.discovery()).await?;
            self.spent += answer.took;
            let next = answer.location(&url).filter(|next| next.origin() == url.origin() && redirects < REDIRECTS);
            let Some(next) = next else { return Ok(answer) };
            (url, redirects) = (next, redirects + 1);
        }
    }

    /// Notes what kept a question of discovery from being answered; a slow server is one thing, a missing one another.
    fn undiscovered(&mut self, check: Check, trouble: &Trouble) {
        match trouble {
            Trouble::Slow(_) => self.found(Check::DiscoveryTime, Verdict::broken("", trouble.seen())),
            Trouble::Failed(_) => self.found(check, Verdict::broken("unreachable", trouble.seen())),
        }
    }
}

/// An origin as text.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}
