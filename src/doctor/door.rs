//! The port, and TLS behind it.

use super::answer::seconds;
use super::check::{Check, Finding, Verdict};
use super::dns::listed;
use super::target::Target;
use super::tools::Tools;
use crate::clock::Timestamp;
use crate::http::{Distrust, Knock, TlsHandshake};
use futures_util::future::join_all;
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// A certificate that ends within this time is worth a word.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// Opens the port at every address and looks at the certificate. Whether a client that verifies gets in.
pub(super) async fn survey(target: &Target, addresses: &[IpAddr], tools: &Tools, findings: &mut Vec<Finding>) -> bool {
    let https = target.url.scheme() == "https";
    findings.push((Check::SchemeHttps, Verdict::when(https, target.url.scheme())));
    findings.push((Check::Port443, Verdict::when(target.port() == 443, target.port().to_string())));
    let connect = |address: IpAddr| async move {
        (address, tools.prober.connect(address, target.port(), tools.allow_private).await)
    };
    let mut attempts = join_all(addresses.iter().copied().map(connect)).await;
    let is_forbidden = |(_, outcome): &Attempt| matches!(outcome, Err(Knock::Forbidden));
    let forbidden = attempts.iter().all(is_forbidden);
    // What is not asked from here says nothing about itself, as long as there is something else.
    attempts.retain(|attempt| forbidden || !is_forbidden(attempt));
    let (v4, v6): (Vec<_>, Vec<_>) = attempts.into_iter().partition(|(address, _)| address.is_ipv4());
    findings.push((Check::ReachableIpv6, family(&v6, "no AAAA record")));
    let first_family = if v4.is_empty() { &v6 } else { &v4 };
    let reachable = match family(first_family, "no address") {
        Verdict::Broken { seen, .. } if forbidden => Verdict::broken("forbidden", seen),
        verdict => verdict,
    };
    findings.push((Check::Reachable, reachable));
    let Some(stream) = v4.into_iter().chain(v6).find_map(|(_, outcome)| outcome.ok()) else { return false };
    !https || tls(target, stream, tools, findings).await
}

type Attempt = (IpAddr, Result<TcpStream, Knock>);

fn family(attempts: &[Attempt], none: &str) -> Verdict {
    let failed = attempts.iter().filter_map(|(address, outcome)| Some((address, outcome.as_ref().err()?)));
    let failures: Vec<_> = failed.map(|(address, why)| format!("{address}: {why}")).collect();
    match failures.len() {
        _ if attempts.is_empty() => Verdict::Moot(none.to_owned()),
        0 => Verdict::holds(listed(&attempts.iter().map(|(address, _)| *address).collect::<Vec<_>>())),
        all if all == attempts.len() => Verdict::broken("", failures.join("; ")),
        _ => Verdict::broken("some", failures.join("; ")),
    }
}

async fn tls(target: &Target, stream: TcpStream, tools: &Tools, findings: &mut Vec<Finding>) -> bool {
    let now = tools.clock.now();
    let shown = match tools.prober.handshake(stream, target.host(), now).await {
        Ok(shown) => shown,
        Err(why) => {
            findings.push((Check::TlsHandshake, Verdict::broken("", why.to_string())));
            return false;
        }
    };
    findings.push((Check::TlsHandshake, Verdict::holds(shown.version)));
    let named = shown.distrust.iter().find_map(|one| match one {
        Distrust::Name { presented } => Some(Verdict::broken("", format!("it is for {}", presented.join(", ")))),
        _ => None,
    });
    findings.push((Check::TlsName, named.unwrap_or_else(|| Verdict::holds(target.host()))));
    findings.push((Check::TlsExpiry, expiry(&shown, now)));
    findings.push((Check::TlsChain, chain(&shown)));
    let protocol = shown.protocol.as_deref();
    let seen = protocol.unwrap_or("no protocol was negotiated");
    findings.push((Check::TlsProtocols, Verdict::when(protocol == Some("h2"), seen)));
    shown.distrust.is_empty()
}

fn expiry(shown: &TlsHandshake, now: Timestamp) -> Verdict {
    let end = shown.not_after.map_or_else(|| "an unknown time".to_owned(), Timestamp::to_rfc3339);
    if shown.distrust.contains(&Distrust::Time) {
        let cause = if shown.not_after.is_some_and(|end| end > now) { "future" } else { "" };
        return Verdict::broken(cause, format!("until {end}"));
    }
    match shown.not_after.map(|end| end.since(now)).filter(|left| *left < SOON) {
        Some(left) => Verdict::holds(format!("until {end}: {} are left", seconds(left))),
        None => Verdict::holds(format!("until {end}")),
    }
}

fn chain(shown: &TlsHandshake) -> Verdict {
    let sent = format!("{} certificate{} sent", shown.chain, if shown.chain == 1 { "" } else { "s" });
    let broken = shown.distrust.iter().find_map(|one| match one {
        Distrust::MissingIntermediate => Some(Verdict::broken("intermediate", sent.clone())),
        Distrust::SelfSigned => Some(Verdict::broken("self-signed", sent.clone())),
        Distrust::UnknownIssuer => Some(Verdict::broken("", sent.clone())),
        Distrust::Other(why) => Some(Verdict::broken("", why.clone())),
        Distrust::Name { .. } | Distrust::Time => None,
    });
    broken.unwrap_or(Verdict::Holds(sent))
}
