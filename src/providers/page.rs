//! docs/providers.md, as far as it is made from the data.

use super::*;
use std::fmt::Write as _;
use std::fs;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers.md");
const BEGIN: &str = "<!-- begin -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn the_page_is_up_to_date() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has no place for the data");
    let (_, after) = rest.split_once(END).expect("the place for the data has no end");
    let expected = format!("{before}{BEGIN}{}{END}{after}", generated());
    if std::env::var_os("PORTCULLIS_WRITE_DOCS").is_some() {
        fs::write(PAGE, &expected).unwrap();
    }
    let same = fs::read_to_string(PAGE).unwrap() == expected;
    assert!(same, "docs/providers.md is not up to date: PORTCULLIS_WRITE_DOCS=1 cargo test --lib providers::");
}

fn generated() -> String {
    let mut text = String::from(
        "\n| provider | `id` | hosts | path | registration | redirect URIs |\n|---|---|---|---|---|---|\n",
    );
    for provider in built_in() {
        let hosts: Vec<String> = provider.hosts.iter().map(ToString::to_string).collect();
        let path = provider.path.as_ref().map_or_else(String::new, |path| format!("`{path}`"));
        let (registration, redirects) = (registration(provider), redirects(provider));
        let Provider { id, name, .. } = provider;
        writeln!(text, "| {name} | `{id}` | {} | {path} | {registration} | {redirects} |", hosts.join(", ")).unwrap();
    }
    for provider in built_in() {
        let said = said(provider);
        if said.is_empty() && provider.notes.is_empty() && provider.advice.is_none() {
            continue;
        }
        writeln!(text, "\n### {}\n", provider.name).unwrap();
        for line in said {
            writeln!(text, "- {line}").unwrap();
        }
        for note in &provider.notes {
            let source = note.source.as_ref().map_or_else(String::new, |source| format!(" ({source})"));
            writeln!(text, "- {}{source}", note.text).unwrap();
        }
        if let Some(advice) = &provider.advice {
            let advice = advice.replace("{redirect_uri}", "`https://gw.example/oauth/callback`");
            writeln!(text, "\nWhen it refuses: {}", advice.replace("{domain}", "gw.example")).unwrap();
        }
    }
    text.push('\n');
    text
}

fn registration(provider: &Provider) -> &'static str {
    match (provider.registration, provider.clients) {
        (Registration::Dynamic, Clients::Named) => "dynamic, for clients with certain names",
        (Registration::Dynamic, Clients::Any) => "dynamic",
        (Registration::Documents, _) => "metadata documents",
        (Registration::DynamicAndDocuments, _) => "dynamic, metadata documents",
        (Registration::Preregistered, _) => "by hand",
        (Registration::None, _) => "no OAuth",
        (Registration::Unknown, _) => "not known",
    }
}

fn redirects(provider: &Provider) -> &'static str {
    match provider.redirects {
        Redirects::Any => "any",
        Redirects::Allowlist => "those of a list",
        Redirects::LoopbackOnly => "loopback only",
        Redirects::Fixed => "as registered",
    }
}

/// What the keys say, in words.
fn said(provider: &Provider) -> Vec<String> {
    let (quirks, mut said) = (&provider.quirks, Vec::new());
    match &provider.resource {
        Resource::AsStated => {}
        Resource::Never => said.push("`resource` is never sent.".to_owned()),
        Resource::Fixed(resource) => said.push(format!("`resource` is `{resource}` where the metadata states none.")),
    }
    if !quirks.authorize.is_empty() {
        let pairs: Vec<String> = quirks.authorize.iter().map(|(name, value)| format!("`{name}={value}`")).collect();
        said.push(format!("Authorization requests have {} as well.", pairs.join(" and ")));
    }
    if quirks.scope_separator != " " {
        said.push(format!("Scopes are separated by `{}`.", quirks.scope_separator));
    }
    if !provider.scopes.is_empty() {
        said.push(format!("Usual scopes: `{}`.", provider.scopes));
    }
    if provider.needs_scopes {
        said.push("Scopes have to be configured.".to_owned());
    }
    if provider.offline_access {
        said.push("`offline_access` is asked for.".to_owned());
    }
    if let Some(method) = &quirks.auth_method {
        said.push(format!("A client with a secret uses `{method}`."));
    }
    if provider.challenges == Challenges::OnCalls {
        said.push("It asks for a token when a tool is called.".to_owned());
    }
    match provider.rotation {
        Rotation::Unknown => {}
        Rotation::Keeps => said.push("Refresh tokens stay the same.".to_owned()),
        Rotation::Rotates { grace: None } => said.push("Refresh tokens rotate.".to_owned()),
        Rotation::Rotates { grace: Some(grace) } => {
            said.push(format!("Refresh tokens rotate; the old one answers for {} minutes more.", grace.as_secs() / 60));
        }
        Rotation::Strict => said.push("Refresh tokens rotate, and an old one may not be used again.".to_owned()),
    }
    if let Some(place) = &provider.register_at {
        said.push(format!("Clients are registered at <{place}>."));
    }
    said
}
