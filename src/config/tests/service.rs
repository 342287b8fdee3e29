//! `[[service]]` and its presets.

use super::*;
use crate::oauth::quirks::{Revocation, TokenBody};

#[test]
fn a_preset_fills_in_what_the_administrator_does_not_say() {
    let trial = Trial::new(
        "[[service]]\npreset = \"google\"\nclient_id = \"id\"\nclient_secret = \"secret\"\n\
         [[service]]\nname = \"tickets\"\npreset = \"atlassian\"\nlabel = \"Tickets\"\nclient_id = \"id\"\n\
         client_secret_file = \"secret\"\nscopes = [\"read:jira-work\"]\nauthorize = { audience = \"other\" }\n\
         token_endpoint = \"https://proxy.example/token\"\n",
    )
    .write("secret", "from a file\n");
    let config = trial.load();
    let [google, tickets] = &config.service[..] else { panic!("two services") };
    assert_eq!((google.name.as_str(), google.label.as_str(), google.allow_private), ("google", "Google", false));
    let client = google.client.as_ref().unwrap();
    assert_eq!(client.issuer.as_deref(), Some("https://accounts.google.com"));
    assert_eq!(client.token_endpoint, "https://oauth2.googleapis.com/token");
    assert_eq!(client.scopes.to_string(), "email openid");
    assert!(client.quirks.pkce && client.quirks.revocation == Revocation::Token);
    assert_eq!(client.quirks.authorize[0], ("access_type".to_owned(), "offline".to_owned()));
    assert_eq!((tickets.name.as_str(), tickets.label.as_str()), ("tickets", "Tickets"));
    let client = tickets.client.as_ref().unwrap();
    assert!(client.client_secret.as_ref().unwrap().matches("from a file"));
    assert_eq!(client.authorization_endpoint, "https://auth.atlassian.com/authorize");
    assert_eq!(client.token_endpoint, "https://proxy.example/token");
    assert_eq!(client.scopes.to_string(), "read:jira-work");
    assert_eq!(client.quirks.authorize, [("audience".to_owned(), "other".to_owned())]);
    assert_eq!(client.quirks.token_body, TokenBody::Json);
}

#[test]
fn personal_access_tokens_need_no_client() {
    let config = Trial::new(
        "[[service]]\nname = \"wiki\"\n[[service]]\npreset = \"github\"\npat = \"ghp_1\"\n\
         [[service]]\nname = \"both\"\npreset = \"github\"\nclient_id = \"id\"\npat = \"ghp_2\"\n",
    )
    .load();
    let [wiki, github, both] = &config.service[..] else { panic!("three services") };
    assert!(wiki.client.is_none() && wiki.pat.is_none());
    assert!(github.client.is_none() && github.pat.as_ref().unwrap().matches("ghp_1"));
    assert!(both.client.as_ref().unwrap().client_secret.is_none() && both.pat.is_some());
}

#[test]
fn every_preset_is_complete_and_has_known_keys_only() {
    let names: Vec<&str> = presets::names().collect();
    for expected in ["asana", "atlassian", "github", "google", "linear", "microsoft", "notion", "slack"] {
        assert!(names.contains(&expected), "{expected}");
    }
    for name in names {
        let text = format!("[[service]]\npreset = \"{name}\"\nclient_id = \"id\"\nclient_secret = \"secret\"\n");
        let config = Trial::new(&text).load();
        let service = &config.service[0];
        assert!(service.label.chars().next().unwrap().is_uppercase(), "{name}: {}", service.label);
        let client = service.client.as_ref().unwrap();
        let endpoints = [Some(&client.authorization_endpoint), Some(&client.token_endpoint)];
        for endpoint in endpoints.into_iter().chain([client.revocation_endpoint.as_ref()]).flatten() {
            assert!(endpoint.starts_with("https://"), "{name}: {endpoint}");
        }
        // Only where a challenge does harm it may be left out.
        assert!(client.quirks.pkce || name == "slack", "{name}");
        assert!(client.quirks.auth_method.is_some() || name == "discord" || name == "dropbox", "{name}");
        assert_eq!(client.quirks.revocation == Revocation::GitHub, name == "github");
    }
}

#[test]
fn errors_name_the_line_and_the_fix() {
    let errors = Trial::new(
        "[[service]]\nclient_id = \"id\"\n\
         [[service]]\nname = \"Google\"\n\
         [[service]]\nname = \"a\"\npreset = \"gogle\"\n\
         [[service]]\npreset = \"github\"\n\
         [[service]]\nname = \"b\"\nclient_id = \"id\"\ntoken_endpoint = \"https://as.example/token\"\n\
         [[service]]\nname = \"c\"\nclient_secret = \"s\"\n\
         [[service]]\nname = \"d\"\nclient_id = \"id\"\nauthorization_endpoint = \"http://as.example/a\"\ntoken_endpoint = \"https://as.example/t\"\n\
         [[service]]\nname = \"e\"\nauth_methods = \"client_secret_post\"\nrevocation = \"delete\"\nheaders = { host = \"x\" }\n\
         [[service]]\nname = \"c\"\n[[service]]\nname = \"c\"\n",
    )
    .errors();
    let expected = [
        "portcullis.toml:1: service[0].authorization_endpoint: is missing: name a preset, or give both",
        "portcullis.toml:1: service[0].name: is missing: it stands in addresses",
        "portcullis.toml:4: service[1].name: \"Google\" is not the name of a service: use up to 32",
        "portcullis.toml:7: service[2].preset: \"gogle\" is not a preset: there are asana, atlassian,",
        "portcullis.toml:8: service[3].client_id: is missing: register a client at the provider",
        "portcullis.toml:10: service[4].authorization_endpoint: is missing: name a preset, or give both",
        "portcullis.toml:16: service[5].client_secret: needs client_id beside it",
        "portcullis.toml:20: service[6].authorization_endpoint: must be an absolute https URL",
        "portcullis.toml:24: service[7].auth_methods: unknown key; did you mean \"service[7].auth_method\"?",
        "portcullis.toml:25: service[7].revocation: \"delete\" is not known: write \"rfc7009\"",
        "portcullis.toml:26: service[7].headers: \"host\" cannot be set",
        "portcullis.toml:29: service[9].name: \"c\" is the name of the service at line 27 already",
    ];
    assert_errors(&errors, &expected);
}

#[test]
fn a_reload_tells_services_apart() {
    let text = |rest: &str| format!("[[service]]\npreset = \"google\"\nclient_id = \"id\"\n{rest}");
    let service = |rest: &str| Trial::new(&text(rest)).load().service.remove(0);
    let one = service("client_secret = \"a\"\n");
    assert!(one.is_same(&service("client_secret = \"a\"\n")));
    for other in
        ["client_secret = \"b\"\n", "client_secret = \"a\"\npat = \"x\"\n", "client_secret = \"a\"\npkce = false\n"]
    {
        assert!(!one.is_same(&service(other)), "{other}");
    }
}
