//! Set-ups and the step at which each client fails, in the order of `CLIENTS`. A client that connects has an empty text.

use super::front::{Mischief, Own};
use super::stage::{DOMAIN, PRIVATE, PUBLIC, PUBLIC_V6, Setup, Shows, hostname, told};
use http::{Method, header};
use portcullis::doctor::Outcome;
use serde_json::json;
use std::time::Duration;

const ALL_CONNECT: [&str; 5] = [""; 5];

fn all(check: &str) -> [&str; 5] {
    [check; 5]
}

const HTML: &[(&str, &str)] = &[("content-type", "text/html")];
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[tokio::test]
async fn a_healthy_gateway_is_healthy_for_every_client() {
    for bare in [false, true] {
        let report = Setup { bare, ..Setup::default() }.fails_at(ALL_CONNECT).await;
        assert_eq!(report.outcome(), Outcome::Passed, "\n{}", told(&report));
        assert_eq!(report.gateway.as_deref(), Some("https://gw.test"));
        let left_out = ["reachable-ipv6", "registration-time"];
        for step in report.clients.iter().flat_map(|client| &client.steps) {
            assert!(step.outcome == Outcome::Passed || left_out.contains(&step.id.id()), "{step:?}\n{}", told(&report));
        }
    }
}

#[tokio::test]
async fn no_address() {
    let report = Setup::leading(&[]).fails_at(all("dns-resolves")).await;
    assert!(report.clients.iter().flat_map(|client| &client.steps).all(|step| step.outcome != Outcome::Passed));
}

#[tokio::test]
async fn ipv6_only() {
    Setup::leading(&[(DOMAIN, &[PUBLIC_V6]), ("*.gw.test", &[PUBLIC_V6])]).fails_at(["dns-ipv4", "", "", "", ""]).await;
}

#[tokio::test]
async fn a_private_address_among_public_ones() {
    let names: &[(&str, &[_])] = &[(DOMAIN, &[PUBLIC]), ("*.gw.test", &[PUBLIC, PRIVATE])];
    Setup::leading(names).fails_at(["dns-public", "", "dns-public", "", ""]).await;
}

#[tokio::test]
async fn no_wildcard() {
    let setup = Setup { bare: true, ..Setup::leading(&[(DOMAIN, &[PUBLIC])]) };
    setup.fails_at(all("dns-wildcard")).await;
    let report = Setup::leading(&[(DOMAIN, &[PUBLIC])]).fails_at(all("dns-resolves")).await;
    assert_eq!(report.clients[0].failed_step().unwrap().cause, Some("wildcard"));
}

#[tokio::test]
async fn nobody_listens() {
    Setup { open: false, ..Setup::default() }.fails_at(all("reachable")).await;
}

#[tokio::test]
async fn plain_http_at_port_443() {
    Setup::showing(Shows::NoTls).fails_at(all("tls-handshake")).await;
}

#[tokio::test]
async fn an_expired_certificate() {
    Setup::showing(Shows::Expired).fails_at(all("tls-expiry")).await;
}

#[tokio::test]
async fn a_certificate_for_another_name() {
    Setup::showing(Shows::OtherName).fails_at(all("tls-name")).await;
}

#[tokio::test]
async fn a_missing_intermediate() {
    let report = Setup::showing(Shows::LeafOnly).fails_at(all("tls-chain")).await;
    assert_eq!(report.clients[0].failed_step().unwrap().cause, Some("intermediate"));
}

#[tokio::test]
async fn a_certificate_that_vouches_for_itself() {
    let report = Setup::showing(Shows::SelfSigned).fails_at(all("tls-chain")).await;
    assert_eq!(report.clients[0].failed_step().unwrap().cause, Some("self-signed"));
}

#[tokio::test]
async fn a_wrong_clock() {
    Setup::with(Mischief::Dated("Sun, 06 Nov 1994 08:49:37 GMT")).fails_at(all("clock")).await;
}

#[tokio::test]
async fn the_challenge_is_stripped() {
    Setup::with(Mischief::Strips(header::WWW_AUTHENTICATE)).fails_at(["challenge-header", "", "", "", ""]).await;
}

#[tokio::test]
async fn the_host_is_rewritten_to_the_domain() {
    let expected = ["challenge-origin", "resource-covers", "resource-covers", "resource-covers", "resource-covers"];
    Setup::with(Mischief::Host(DOMAIN)).fails_at(expected).await;
}

#[tokio::test]
async fn the_host_is_rewritten_to_an_address() {
    let report = Setup::with(Mischief::Host("127.0.0.1:8080")).fails_at(all("challenge-status")).await;
    assert_eq!(report.clients[0].failed_step().unwrap().cause, Some("not-found"));
}

#[tokio::test]
async fn http_in_the_metadata() {
    let expected = ["challenge-origin", "resource-covers", "resource-covers", "resource-covers", "resource-covers"];
    let report = Setup::with(Mischief::Replaces("https://", "http://")).fails_at(expected).await;
    assert_eq!(report.clients[0].failed_step().unwrap().cause, Some("http"));
}

#[tokio::test]
async fn well_known_paths_are_missing() {
    let own = Own { path: "/.well-known/", status: 404, ..Own::default() };
    Setup::with(Mischief::Answers(own)).fails_at(all("resource-metadata")).await;
}

#[tokio::test]
async fn well_known_paths_are_a_web_page() {
    let own =
        Own { path: "/.well-known/", headers: HTML, body: "<!doctype html><title>Shop</title>", ..Own::default() };
    let report = Setup::with(Mischief::Answers(own)).fails_at(all("resource-metadata")).await;
    assert_eq!(report.clients[0].failed_step().unwrap().cause, Some("html"));
}

#[tokio::test]
async fn bots_of_data_centres_are_blocked() {
    let own = Own {
        agents: &["Claude-User", "python-httpx", "openai-mcp"],
        status: 403,
        headers: &[("content-type", "text/html"), ("cf-mitigated", "challenge"), ("cf-ray", "1-FRA")],
        body: "<!DOCTYPE html><html><head><title>Just a moment...</title>",
        ..Own::default()
    };
    Setup::with(Mischief::Answers(own)).fails_at(["front-bots", "", "front-bots", "", ""]).await;
}

#[tokio::test]
async fn events_are_buffered() {
    Setup::with(Mischief::Buffers).fails_at(all("front-buffering")).await;
}

#[tokio::test]
async fn large_bodies_are_refused() {
    Setup::with(Mischief::Limits(1024 * 1024)).fails_at(all("front-body")).await;
}

#[tokio::test]
async fn resource_metadata_at_the_root_only() {
    let own = Own { path: "/.well-known/oauth-protected-resource/", status: 404, ..Own::default() };
    Setup::with(Mischief::Answers(own)).fails_at(["resource-place", "", "", "", ""]).await;
}

#[tokio::test]
async fn another_resource() {
    let edit = Mischief::Edits("/.well-known/oauth-protected-resource", |document| {
        document["resource"] = json!("https://other.test/mcp");
    });
    Setup::with(edit).fails_at(all("resource-covers")).await;
}

#[tokio::test]
async fn the_origin_as_resource() {
    let edit = Mischief::Edits("/.well-known/oauth-protected-resource", |document| {
        let issuer = document["authorization_servers"][0].clone();
        document["resource"] = issuer;
    });
    Setup::with(edit).fails_at(["resource-exact", "", "", "", ""]).await;
}

#[tokio::test]
async fn no_authorization_server() {
    let edit = Mischief::Edits("/.well-known/oauth-protected-resource", |document| {
        document["authorization_servers"] = json!([]);
    });
    Setup::with(edit).fails_at(all("resource-servers")).await;
}

#[tokio::test]
async fn server_metadata_is_missing() {
    let own = |path| Mischief::Answers(Own { path, status: 404, ..Own::default() });
    let mischief = vec![own("/.well-known/oauth-authorization-server"), own("/.well-known/openid-configuration")];
    Setup { mischief, ..Setup::default() }.fails_at(all("server-metadata")).await;
}

/// Metadata of the authorization server is other than the gateway's.
fn announcing(edit: fn(&mut serde_json::Value)) -> Setup {
    Setup::with(Mischief::Edits("/.well-known/oauth-authorization-server", edit))
}

#[tokio::test]
async fn another_issuer() {
    announcing(|document| document["issuer"] = json!("https://other.test")).fails_at(all("server-issuer")).await;
}

#[tokio::test]
async fn no_pkce() {
    let setup = announcing(|document| document["code_challenge_methods_supported"] = json!(["plain"]));
    setup.fails_at(all("server-pkce")).await;
}

#[tokio::test]
async fn secrets_only() {
    let setup = announcing(|document| {
        document["token_endpoint_auth_methods_supported"] = json!(["client_secret_basic", "client_secret_post"]);
    });
    setup.fails_at(["", "", "", "", "server-auth-methods"]).await;
}

#[tokio::test]
async fn an_endpoint_over_http() {
    let setup = announcing(|document| {
        let token = document["token_endpoint"].as_str().unwrap().replace("https://", "http://");
        document["token_endpoint"] = json!(token);
    });
    let expected = ["server-same-host", "server-endpoints", "server-endpoints", "server-endpoints", "server-endpoints"];
    setup.fails_at(expected).await;
}

#[tokio::test]
async fn an_authorization_server_elsewhere() {
    let mut setup = announcing(|document| document["issuer"] = json!("https://auth.test"));
    setup.mischief.push(Mischief::Edits("/.well-known/oauth-protected-resource", |document| {
        document["authorization_servers"] = json!(["https://auth.test"]);
    }));
    setup.mischief.push(Mischief::Alias("auth.test", hostname()));
    setup.fails_at(["server-same-host", "", "", "", ""]).await;
}

#[tokio::test]
async fn custom_schemes_are_refused() {
    let own = Own {
        path: "/register",
        containing: "cursor://",
        status: 400,
        headers: JSON,
        body: r#"{"error":"invalid_redirect_uri","error_description":"only https"}"#,
        ..Own::default()
    };
    let report = Setup::with(Mischief::Answers(own)).fails_at(["", "", "", "registration", ""]).await;
    assert_eq!(report.clients[3].failed_step().unwrap().cause, Some("redirect-uri"));
}

#[tokio::test]
async fn registrations_are_refused_without_words() {
    let mut setup = announcing(|document| document["client_id_metadata_document_supported"] = json!(false));
    let own = Own { path: "/register", status: 400, body: "Bad Request", ..Own::default() };
    setup.mischief.push(Mischief::Answers(own));
    let report = setup.fails_at(all("registration")).await;
    assert_eq!(report.clients[3].failed_step().unwrap().cause, Some("no-json"));
}

#[tokio::test]
async fn nobody_may_register() {
    let setup = announcing(|document| {
        document.as_object_mut().unwrap().remove("registration_endpoint");
    });
    setup.fails_at(["", "", "", "registration", ""]).await;
}

#[tokio::test]
async fn a_slow_token_endpoint() {
    // Claude waits for 10 s, a fifth of which is 2.
    let setup = Setup::with(Mischief::Late("/token", Duration::from_millis(2500)));
    Setup { hurry: 5, ..setup }.fails_at(["token-time", "", "", "", ""]).await;
}

#[tokio::test]
async fn a_sign_in_in_front_of_the_pages() {
    let own =
        Own { path: "/authorize", status: 302, headers: &[("location", "https://login.test/")], ..Own::default() };
    let report = Setup::with(Mischief::Answers(own)).fails_at(all("authorize")).await;
    assert_eq!(report.clients[0].failed_step().unwrap().cause, Some("foreign"));
}

#[tokio::test]
async fn a_sign_in_in_front_of_everything() {
    let own = Own { path: "/mcp", status: 302, headers: &[("location", "https://login.test/")], ..Own::default() };
    let report = Setup::with(Mischief::Answers(own)).fails_at(all("challenge-status")).await;
    assert_eq!(report.clients[0].failed_step().unwrap().cause, Some("redirect"));
}

#[tokio::test]
async fn post_is_not_allowed() {
    let own = Own { method: Some(Method::POST), path: "/mcp", status: 405, ..Own::default() };
    let expected = ["challenge-status", "challenge-status", "challenge-status", "", ""];
    Setup::with(Mischief::Answers(own)).fails_at(expected).await;
}

#[tokio::test]
async fn pages_instead_of_tokens() {
    let own = Own { path: "/token", status: 502, headers: HTML, body: "<title>Bad Gateway</title>", ..Own::default() };
    Setup::with(Mischief::Answers(own)).fails_at(all("token")).await;
}

#[tokio::test]
async fn an_error_instead_of_a_sign_in_page() {
    let own = Own { path: "/authorize", status: 400, headers: HTML, body: "<title>No</title>", ..Own::default() };
    Setup::with(Mischief::Answers(own)).fails_at(all("authorize")).await;
}
