use super::*;
use std::collections::BTreeMap;
use std::fs;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/providers/table");

#[test]
fn every_file_is_read_and_no_host_has_two_providers() {
    let mut files: Vec<String> = fs::read_dir(TABLE)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().strip_suffix(".toml").unwrap().to_owned())
        .collect();
    files.sort();
    let ids: Vec<&str> = built_in().iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, files, "add new files to FILES in src/config/provider/table.rs, in the order of their names");
    let mut hosts: BTreeMap<&str, &str> = BTreeMap::new();
    for provider in built_in() {
        for host in &provider.hosts {
            assert_eq!(hosts.insert(host.host(), &provider.id), None, "{host}");
        }
    }
}

#[test]
fn the_nearest_host_wins() {
    let providers = Providers::built_in();
    let id = |host: &str| providers.for_host(host).map(|provider| provider.id.as_str());
    for (host, provider) in [
        ("mcp.slack.com", "slack"),
        ("slack.com", "slack"),
        ("api.githubcopilot.com", "github"),
        ("gmailmcp.googleapis.com", "google"),
        ("docs.mcp.cloudflare.com", "cloudflare"),
    ] {
        assert_eq!(id(host), Some(provider), "{host}");
    }
    for stranger in ["notslack.com", "slack.com.evil.example", "com", "", ".", "mcp.example.com", "evil.mcp.stripe.com"]
    {
        assert_eq!(id(stranger), None, "{stranger}");
    }
}

#[test]
fn what_the_configuration_says_goes_before_the_table() {
    let of = |id: &str| Provider::clone(Providers::built_in().find(id).unwrap());
    let slack = Provider { registration: Registration::Dynamic, ..of("slack") };
    let host = HostPattern::parse(".git.example").unwrap();
    let own = Provider { id: "own-gitlab".to_owned(), hosts: vec![host], ..of("gitlab") };
    let table = ProviderTable::default();
    assert_eq!(table.for_host("mcp.slack.com").unwrap().registration, Registration::Preregistered);
    let configured = [slack, own];
    assert!(table.reconfigure(&configured));
    assert!(!table.reconfigure(&configured), "it is the same");
    assert_eq!(table.for_host("mcp.slack.com").unwrap().registration, Registration::Dynamic);
    assert_eq!(table.for_host("a.git.example").unwrap().path.as_deref(), Some("/api/v4/mcp"));
    assert!(table.reconfigure(&[]), "back to the table");
    assert!(table.for_host("a.git.example").is_none());
}

/// A person who is told no must be told what to do.
#[test]
fn whoever_may_refuse_us_has_advice() {
    for provider in built_in() {
        let refuses = matches!(provider.registration, Registration::Preregistered | Registration::Documents)
            || provider.redirects != Redirects::Any
            || provider.clients != Clients::Any;
        assert!(!refuses || provider.advice.is_some(), "{}", provider.id);
        let by_hand = provider.registration == Registration::Preregistered;
        assert!(!by_hand || provider.register_at.is_some(), "{}", provider.id);
        let advice = provider.advice_for("https://gw.example/oauth/callback").unwrap_or_default();
        assert!(!advice.contains(['{', '}']), "{advice}");
        assert!(provider.path.is_some() || provider.id == "entra", "{}", provider.id);
    }
    let advice = Providers::built_in().find("atlassian").unwrap().advice_for("https://gw.example/oauth/callback");
    assert!(advice.unwrap().contains("https://gw.example/**"));
}
