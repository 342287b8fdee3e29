//! Where names lead.

use super::check::{Check, Finding, Verdict};
use super::tools::Tools;
use crate::hostname::Label;
use crate::http::{ResolveError, permits};
use data_encoding::HEXLOWER;
use std::net::IpAddr;

/// Looks a name up. The addresses, IPv4 first.
pub(super) async fn survey(host: &str, tools: &Tools, findings: &mut Vec<Finding>) -> Vec<IpAddr> {
    let addresses = match tools.resolver.addresses(host).await {
        Ok(addresses) => addresses,
        Err(error) => {
            findings.push((Check::DnsResolves, unresolved(host, error, tools).await));
            return Vec::new();
        }
    };
    findings.push((Check::DnsResolves, Verdict::holds(listed(&addresses))));
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(IpAddr::is_ipv4);
    let ipv4 = if v4.is_empty() { format!("only {}", listed(&v6)) } else { listed(&v4) };
    findings.push((Check::DnsIpv4, Verdict::when(!v4.is_empty(), ipv4)));
    let private: Vec<_> = addresses.iter().copied().filter(|one| permits(*one, false).is_err()).collect();
    findings.push((
        Check::DnsPublic,
        match private.len() {
            0 => Verdict::holds("all of them"),
            all if all == addresses.len() => Verdict::broken("all", listed(&private)),
            _ => Verdict::broken("", format!("{} among {}", listed(&private), listed(&addresses))),
        },
    ));
    v4.into_iter().chain(v6).collect()
}

/// Whether any name below a gateway's domain leads where the domain does.
pub(super) async fn wildcard(domain: &str, tools: &Tools) -> Verdict {
    let name = format!("doctor-{}.{domain}", HEXLOWER.encode(&tools.random.bytes::<4>()));
    let (any, own) = (tools.resolver.addresses(&name).await, tools.resolver.addresses(domain).await);
    match (any, own) {
        (Ok(any), Ok(own)) if any.iter().any(|one| own.contains(one)) => Verdict::holds(format!("{name} does")),
        (Ok(any), _) => Verdict::broken("elsewhere", format!("{name} leads to {}", listed(&any))),
        (Err(ResolveError::NotFound), _) => Verdict::broken("", format!("{name} does not resolve")),
        (Err(error), _) => Verdict::Moot(format!("{name}: {error}")),
    }
}

async fn unresolved(host: &str, error: ResolveError, tools: &Tools) -> Verdict {
    let parent = host.split_once('.').map(|(label, parent)| (Label::parse(label), parent));
    let cause = match (&error, parent) {
        (ResolveError::NotFound, Some((Ok(_), parent))) if tools.resolver.addresses(parent).await.is_ok() => "wildcard",
        (ResolveError::NotFound, _) => "",
        _ => "servers",
    };
    Verdict::broken(cause, format!("{host}: {error}"))
}

pub(super) fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
