//! `encode` and `decode`.

use super::Failure;
use super::output::Output;
use crate::error::Fault;
use crate::hostname::{
    Authority, Encoded, InvalidAuthority, InvalidLabel, Label, Scheme, Site, Target, UpstreamAddress,
};
use crate::providers::Providers;

/// `portcullis encode DOMAIN [--root R]`
pub(super) fn encode(domain: &str, root: Option<&str>, output: &mut Output<'_>) -> Result<(), Failure> {
    let address: UpstreamAddress = domain.parse().map_err(|why: InvalidAuthority| Fault::caller(why.to_string()))?;
    address.authority.clone().of_network().map_err(|why| Fault::caller(why.to_string()))?;
    let site = root.map(site).transpose()?;
    let provider = Providers::built_in().for_host(address.authority.host());
    let known_path = provider.and_then(|provider| provider.path.as_deref());
    let encoded = Encoded::new(&address, known_path, site.as_ref());
    if output.json {
        print_json(&encoded, output)?;
    }
    let label = encoded.label.as_deref().ok_or_else(|| {
        let why = InvalidLabel::NeedsAlias;
        let alias = encoded.alias.as_deref().unwrap_or_default();
        Fault::caller(format!(
            "{}: {why}; for example `portcullis upstream add {} --alias {alias}`",
            domain, encoded.domain
        ))
    })?;
    if !output.json {
        output.line(format_args!("{}", encoded.url.as_deref().unwrap_or(label)))?;
    }
    Ok(())
}

/// `portcullis decode LABEL|HOSTNAME|URL`
pub(super) fn decode(text: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    let rest = text.trim().split_once("://").map_or(text.trim(), |(_, rest)| rest);
    let host = rest.split(['/', '?', '#', ':']).next().unwrap_or_default();
    let label = host.split('.').next().unwrap_or_default();
    let authority = match Label::parse(label) {
        Ok(Label { target: Target::Encoded(authority), .. }) => authority,
        Ok(Label { target: Target::Alias(alias), .. }) => {
            let why = "is not an encoded label (those end with \"-enc\"); what an alias means is in the configuration of its gateway";
            return Err(Fault::caller(format!("{alias:?} {why}")).into());
        }
        Err(why) => return Err(Fault::caller(format!("{label:?}: {why}")).into()),
    };
    if output.json {
        return print_json(&Encoded::new(&UpstreamAddress { authority, path: "/".to_owned() }, None, None), output);
    }
    Ok(output.line(format_args!("{authority}"))?)
}

fn print_json(encoded: &Encoded, output: &mut Output<'_>) -> Result<(), Failure> {
    let json = serde_json::to_string(encoded).map_err(Fault::gateway)?;
    Ok(output.line(format_args!("{json}"))?)
}

/// A gateway by its domain or origin. On one's own machine it speaks http, elsewhere https, unless the text says.
fn site(root: &str) -> Result<Site, Fault> {
    let wrong = |why: &dyn std::fmt::Display| Fault::caller(format!("--root {root}: {why}"));
    let text = root.trim().trim_end_matches('/');
    let (scheme, text) = match text.split_once("://") {
        Some(("http", rest)) => (Some(Scheme::Http), rest),
        Some(("https", rest)) => (Some(Scheme::Https), rest),
        Some(_) => return Err(wrong(&"write a domain, or an origin that begins with https:// or http://")),
        None => (None, text),
    };
    let authority = Authority::from_input(text).map_err(|why| wrong(&why))?;
    let own_machine = authority.is_loopback();
    let scheme = scheme.unwrap_or(if own_machine { Scheme::Http } else { Scheme::Https });
    let port = match authority.as_str().split_once(':') {
        Some(_) => authority.port(),
        None if scheme == Scheme::Http && !text.ends_with(":443") => 80,
        None => 443,
    };
    Ok(Site::new(authority.host(), scheme, port))
}
