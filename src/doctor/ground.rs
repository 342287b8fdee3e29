//! What all clients share: names, the port, TLS, the clock, what stands in between. Looked at once.

use super::check::{Check, Finding};
use super::front::{self, Front};
use super::place::Place;
use super::target::Target;
use super::tools::Tools;
use super::{dns, door};
use crate::hostname::{Authority, Label};
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// What a gateway of ours is asked to encode, to see whether it is one.
const SAMPLE: &str = "mcp.example.com";

/// Where MCP servers usually are.
const USUAL_PATHS: [&str; 3] = ["/mcp", "/", "/sse"];

/// How long one question about the ground may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(6);

/// The ground.
pub(super) struct Ground {
    pub(super) place: Place,
    pub(super) findings: Vec<Finding>,
    /// Whether requests get to the server at all.
    pub(super) passable: bool,
}

/// Looks at names, the port and the certificate.
pub(super) async fn entrance(target: &Target, wildcard: bool, tools: &Tools) -> Ground {
    let mut findings = Vec::new();
    let addresses = dns::survey(target.host(), tools, &mut findings).await;
    let passable = !addresses.is_empty() && door::survey(target, &addresses, tools, &mut findings).await;
    if wildcard {
        findings.push((Check::DnsWildcard, dns::wildcard(target.host(), tools).await));
    }
    let gateway = tools.gateway.clone().unwrap_or_default();
    let root = wildcard.then(|| gateway.clone());
    Ground { place: Place { url: target.url.clone(), root, gateway }, findings, passable }
}

/// Looks at everything that is the same for all clients.
pub(super) async fn survey(target: &Target, tools: &Tools) -> Ground {
    let mut findings = Vec::new();
    let addresses = dns::survey(target.host(), tools, &mut findings).await;
    let passable = !addresses.is_empty() && door::survey(target, &addresses, tools, &mut findings).await;
    let mut place = Place {
        url: target.url.clone(),
        root: None,
        gateway: tools.gateway.clone().unwrap_or_else(|| "https://gateway.example".to_owned()),
    };
    if passable {
        place.root = root(target, tools).await;
    }
    if !target.has_path {
        place.url.set_path(USUAL_PATHS[0]);
    }
    if let Some(domain) = place.root.as_ref().and_then(|root| Url::parse(root).ok()?.host_str().map(str::to_owned)) {
        findings.push((Check::DnsWildcard, dns::wildcard(&domain, tools).await));
    }
    if passable {
        if !target.has_path && !place.is_gateway() {
            find_path(&mut place, tools).await;
        }
        Front { place: &place, tools }.survey(&mut findings).await;
    }
    Ground { place, findings, passable }
}

/// The origin of the gateway that a host belongs to: only gateways of ours know how to encode, at their root domain. An
/// encoded label speaks for itself, whatever stands in front of the gateway.
async fn root(target: &Target, tools: &Tools) -> Option<String> {
    let parent = target.host().split_once('.').filter(|(label, _)| Label::parse(label).is_ok());
    let own = origin(&target.url, target.host());
    let above = parent.and_then(|(_, parent)| origin(&target.url, parent));
    let encoded = parent.is_some_and(|(label, _)| label.ends_with("-enc"));
    let knows = async |origin: &Option<String>| match origin {
        Some(origin) => encodes(origin, tools).await,
        None => false,
    };
    let (own_knows, above_knows) = tokio::join!(knows(&own), knows(&above));
    // A proxy that changes Host makes every hostname answer as the root domain.
    match above.filter(|_| above_knows || encoded) {
        Some(above) => Some(above),
        None => own.filter(|_| own_knows),
    }
}

fn origin(url: &Url, host: &str) -> Option<String> {
    let mut url = url.clone();
    url.set_host(Some(host)).ok()?;
    Some(url.origin().ascii_serialization())
}

async fn encodes(origin: &str, tools: &Tools) -> bool {
    let label = Authority::parse(SAMPLE).ok().and_then(|authority| Label::encode(&authority).ok());
    let request = front::get(&format!("{origin}/encode?domain={SAMPLE}"));
    let Some((request, label)) = request.zip(label) else { return false };
    let Ok(answer) = tools.ask(request, PATIENCE).await else { return false };
    answer.json::<Value>().is_some_and(|said| said["label"] == label.to_string())
}

/// A domain says nothing about the path: the first that is not simply missing is taken.
async fn find_path(place: &mut Place, tools: &Tools) {
    let host = place.url.host_str().unwrap_or_default();
    let known = tools.providers.for_host(host).and_then(|provider| provider.path.clone());
    for path in known.iter().map(String::as_str).chain(USUAL_PATHS) {
        place.url.set_path(path);
        let Some(request) = front::initialize(&place.url) else { continue };
        match tools.ask(request, PATIENCE).await {
            Ok(answer) if matches!(answer.status.as_u16(), 404 | 405 | 410) => {}
            _ => return,
        }
    }
    place.url.set_path(USUAL_PATHS[0]);
}
