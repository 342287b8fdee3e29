//! The main job: from a client that has nothing to a tool call at the upstream, and everything that can happen on the way.

use crate::client::{Client, alice, get_json, mcp_url, send, tokens};
use crate::gateway::{Gateway, PASSWORD, USER};
use crate::logs;
use crate::upstreams::Notes;
use http::{Method, StatusCode, header};
use portcullis::config::Unknown;
use portcullis::devkit::browser::{Arrived, Browser, Page};
use portcullis::secret::Secret;
use portcullis::store::{ConnectionState, Role};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

async fn setup() -> (Notes, Gateway) {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    (notes, gateway)
}

#[tokio::test]
async fn from_nothing_to_a_tool_call() {
    let (notes, gateway) = setup().await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let ours = client.connect().await;
    assert_eq!(ours.answer["token_type"], "Bearer");
    assert_eq!(ours.answer["expires_in"], 24 * 3600);
    let (status, body) = client.call(&ours.access, "whoami").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body.contains("demo"), "{body}");
}

#[tokio::test]
async fn b56_neither_side_sees_the_other_s_token_and_nothing_is_stored_in_clear() {
    let (notes, gateway) = setup().await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let ours = client.connect().await;
    let (_, body) = client.call(&ours.access, "whoami").await;
    let theirs: BTreeSet<String> = notes.mcp.control.recorder().bearers().into_iter().collect();
    assert!(!theirs.is_empty() && theirs.iter().all(|bearer| bearer.starts_with("demo_at_")), "{theirs:?}");
    assert!(notes.mcp.control.recorder().cookies().is_empty());
    let told = format!("{body}{}", ours.answer);
    assert!(!told.contains("demo_at_") && !told.contains("demo_rt_"), "{told}");

    let mut canaries: Vec<String> = theirs.into_iter().collect();
    canaries.extend([ours.access, ours.refresh, PASSWORD.to_owned()]);
    canaries.extend(["demo_at_", "demo_rt_", "demo_cs_", "demo_code_"].map(str::to_owned));
    for canary in &canaries {
        assert!(!logs::contain(canary), "{canary} was logged");
    }
    for (path, bytes) in gateway.kept() {
        for canary in &canaries {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{} holds {canary} in clear", path.display());
        }
    }
}

#[tokio::test]
async fn a40_a_token_for_one_hostname_is_worth_nothing_at_another() {
    let (notes, other) = (Notes::start().await, Notes::start().await);
    let gateway = Gateway::with_upstreams(&[&notes.authority(), &other.authority()]).await;
    let ours = Client::ready(&mcp_url(&gateway, &notes.authority())).await.connect().await;
    let elsewhere = Client::ready(&mcp_url(&gateway, &other.authority())).await;
    assert_eq!(elsewhere.call(&ours.access, "whoami").await.0, StatusCode::UNAUTHORIZED);
    assert!(other.mcp.control.recorder().requests().is_empty());
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let (notes, gateway) = setup().await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let ours = client.connect().await;
    let (revoked, grant) = gateway.token_for(&notes.authority()).await;
    gateway.app().store.revoke_grant(grant, gateway.clock.now()).await.unwrap();
    let gateway = gateway.restart().await;
    assert_eq!(client.call(&ours.access, "whoami").await.0, StatusCode::OK);
    assert_eq!(client.call(&revoked, "whoami").await.0, StatusCode::UNAUTHORIZED, "a46");
    let (status, answer) = client.refresh(&ours.refresh).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    // The browser is still signed in: only the consent is asked for.
    let callback = client.authorize().await;
    assert!(callback.code.is_some());
    assert_eq!(notes.authorization.counters().authorizations, 1, "the upstream was not asked again");
    drop(gateway);
}

#[tokio::test]
async fn refresh_tokens_rotate_and_forgive_a_lost_answer_across_a_restart() {
    let (notes, gateway) = setup().await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let first = client.connect().await;
    let (_, answer) = client.refresh(&first.refresh).await;
    let second = tokens(answer);
    assert_ne!(first.refresh, second.refresh);
    let gateway = gateway.restart().await;
    let (_, answer) = client.refresh(&first.refresh).await;
    assert_eq!(tokens(answer).refresh, second.refresh, "the same successor");
    let (_, answer) = client.refresh(&second.refresh).await;
    let third = tokens(answer);
    gateway.clock.advance(Duration::from_secs(61));
    let (status, answer) = client.refresh(&first.refresh).await;
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")));
    let (status, _) = client.refresh(&third.refresh).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "reuse ends the family");
    assert_eq!(client.call(&third.access, "whoami").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn b7_b8_a_code_works_once_and_its_replay_ends_the_tokens() {
    let (notes, gateway) = setup().await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let code = client.authorize().await.code.unwrap();
    let mut wrong = client.code_parameters(&code);
    wrong[4].1 = "a".repeat(43);
    let (status, answer) = client.token_request(&wrong).await;
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")), "wrong verifier");
    let ours = client.exchange(&client.authorize().await.code.unwrap()).await;
    assert_eq!(client.call(&ours.access, "whoami").await.0, StatusCode::OK);
    let code = client.authorize().await.code.unwrap();
    let ours = client.exchange(&code).await;
    let (status, answer) = client.token_request(&client.code_parameters(&code)).await;
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")));
    assert_eq!(client.call(&ours.access, "whoami").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_upstream_401_leads_to_one_refresh_and_the_caller_notices_nothing() {
    let (notes, gateway) = setup().await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let ours = client.connect().await;
    notes.authorization.tokens().end_access();
    assert_eq!(client.call(&ours.access, "whoami").await.0, StatusCode::OK);
    assert_eq!(notes.authorization.counters().refreshes, 1);
}

#[tokio::test]
async fn an_expired_upstream_token_is_refreshed_before_it_is_used() {
    let (notes, gateway) = setup().await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let ours = client.connect().await;
    for clock in [&gateway.clock, &notes.clock] {
        clock.advance(Duration::from_secs(301));
    }
    assert_eq!(client.call(&ours.access, "whoami").await.0, StatusCode::OK);
    assert_eq!(notes.authorization.counters().refreshes, 1);
}

#[tokio::test]
async fn a_connection_that_is_gone_leads_back_to_the_upstream_s_consent() {
    let (notes, gateway) = setup().await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let ours = client.connect().await;
    notes.authorization.tokens().end_all();
    let (status, body) = client.call(&ours.access, "whoami").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}");
    let user = gateway.app().store.user_by_name(USER).await.unwrap().unwrap();
    let connection = &gateway.app().store.connections_of(user.id).await.unwrap()[0];
    assert_eq!(connection.state, ConnectionState::NeedsConsent);
    let again = client.connect().await;
    assert_eq!(client.call(&again.access, "whoami").await.0, StatusCode::OK);
    assert_eq!(notes.authorization.counters().authorizations, 2);
}

/// Confused deputy: the gateway is one client at the upstream for all of ours, so nothing of the upstream's flow, least of
/// all its state, may exist before the person has agreed to this very client.
#[tokio::test]
async fn a3_b39_nothing_of_the_upstream_s_flow_begins_before_consent() {
    let (notes, gateway) = setup().await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let login = open(&client.browser, &client.authorization_url(&[])).await;
    let Arrived::Page(consent) = client.browser.fill_login(&login, &alice(), &client.redirect_uri).await.unwrap()
    else {
        panic!("no consent was asked for")
    };
    assert!(consent.url.as_str().starts_with(&gateway.root()), "{}", consent.url);
    let asked = || notes.authorization.seen().iter().filter(|seen| seen.endpoint == "authorize").count();
    assert_eq!(asked(), 0);
    assert!(!consent.headers.contains_key(header::SET_COOKIE), "{:?}", consent.headers);
    let Arrived::Page(upstream) = client.browser.approve(&consent, &client.redirect_uri).await.unwrap() else {
        panic!("the upstream was not asked")
    };
    assert!(upstream.url.as_str().starts_with(&notes.authorization.issuer()), "{}", upstream.url);
    assert_eq!(asked(), 1);
    // Another client of the same person begins at consent again, although the upstream knows the person by now.
    let back = client.browser.approve(&upstream, &client.redirect_uri).await.unwrap();
    assert!(matches!(back, Arrived::Stopped(_)));
    let metadata = json!({"client_name": "Another", "redirect_uris": [&client.redirect_uri], "token_endpoint_auth_method": "none"});
    let other =
        Client::discover(&mcp_url(&gateway, &notes.authority()), &client.redirect_uri).await.register(metadata).await;
    let page = open(&client.browser, &other.authorization_url(&[])).await;
    assert!(page.url.as_str().starts_with(&gateway.root()) && page.text().contains("Another"), "{}", page.text());
}

#[tokio::test]
async fn a_refusal_here_and_a_refusal_there_both_reach_the_client() {
    let (notes, gateway) = setup().await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let start = client.authorization_url(&[]);
    let callback = client.browser.refuse(&start, &alice(), &client.redirect_uri).await.unwrap();
    assert_eq!(callback.error.as_deref(), Some("access_denied"));
    assert_eq!(callback.iss.as_deref(), client.metadata["issuer"].as_str(), "b12");

    let at_upstream = open(&client.browser, &start).await;
    let Arrived::Page(page) = client.browser.approve(&at_upstream, &client.redirect_uri).await.unwrap() else {
        panic!("the upstream was not asked")
    };
    assert!(page.url.as_str().starts_with(&notes.authorization.issuer()), "{}", page.url);
    match client.browser.deny(&page, &client.redirect_uri).await.unwrap() {
        Arrived::Stopped(url) => assert!(url.as_str().contains("error=access_denied"), "{url}"),
        Arrived::Page(page) => panic!("{}: {}", page.url, page.text()),
    }
}

#[tokio::test]
async fn b37_b38_the_consent_page_says_who_asks_for_what_and_where_the_code_goes() {
    let (notes, gateway) = setup().await;
    let redirect_uri = "cursor://anysphere.cursor-mcp/oauth/callback";
    let metadata = json!({"client_name": "<b>Cursor</b>", "redirect_uris": [redirect_uri]});
    let client = Client::discover(&mcp_url(&gateway, &notes.authority()), redirect_uri).await.register(metadata).await;
    let start = client.authorization_url(&[("scope", "notes.read")]);
    let login = open(&client.browser, &start).await;
    let Arrived::Page(page) = client.browser.fill_login(&login, &alice(), redirect_uri).await.unwrap() else {
        panic!("no consent was asked for")
    };
    let text = page.text();
    for part in ["<b>Cursor</b>", "anysphere.cursor-mcp", "notes.read", &notes.authority()] {
        assert!(text.contains(part) || page.body.contains(part), "{part} is not on the page: {text}");
    }
    assert!(!page.body.contains("<b>Cursor"), "the client's name is markup");
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "b38: {policy}");
}

#[tokio::test]
async fn an_unknown_upstream_is_approved_by_an_administrator_before_it_is_asked_anything() {
    let notes = Notes::start().await;
    let gateway = Gateway::start().await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let member = "bob";
    gateway.app().identity.create(member, &Secret::new(PASSWORD.to_owned()), Role::Member).await.unwrap();
    let start = client.authorization_url(&[]);
    let bob = Browser::new().unwrap();
    let mut credentials = alice();
    credentials.user = member.to_owned();
    let Arrived::Page(page) =
        bob.fill_login(&open(&bob, &start).await, &credentials, &client.redirect_uri).await.unwrap()
    else {
        panic!("a member got through")
    };
    assert!(page.text().to_lowercase().contains("administrator"), "{}", page.text());
    assert!(notes.mcp.control.recorder().requests().is_empty() && notes.authorization.seen().is_empty());

    let login = open(&client.browser, &start).await;
    let Arrived::Page(page) = client.browser.fill_login(&login, &alice(), "").await.unwrap() else { panic!() };
    assert!(page.text().contains(&notes.authority()), "{}", page.text());
    assert!(notes.mcp.control.recorder().requests().is_empty());
    let ours = client.connect().await;
    assert_eq!(client.call(&ours.access, "whoami").await.0, StatusCode::OK);
}

#[tokio::test]
async fn unknown_upstreams_can_be_denied_or_allowed_as_a_matter_of_policy() {
    let notes = Notes::start().await;
    let gateway = Gateway::with(|config| config.upstreams.unknown = Unknown::Deny).await;
    let url = mcp_url(&gateway, &notes.authority());
    let browser = Browser::new().unwrap();
    assert_eq!(send(&browser, Method::POST, &url, &[], None).await.status, StatusCode::NOT_FOUND);
    let gateway = Gateway::with(|config| config.upstreams.unknown = Unknown::Allow).await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let ours = client.connect().await;
    assert_eq!(client.call(&ours.access, "whoami").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a4_the_upstream_s_answer_is_worth_nothing_in_another_browser() {
    let (notes, gateway) = setup().await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let start = client.authorization_url(&[]);
    let callback_prefix = format!("{}/oauth/callback", gateway.root());
    let callback = client.browser.authorize(&start, &alice(), &callback_prefix).await.unwrap();
    let stranger = Browser::new().unwrap();
    let page = open(&stranger, &callback.url).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{}", page.text());
    let login = open(&stranger, &format!("{}/login", gateway.root())).await;
    stranger.fill_login(&login, &alice(), "").await.unwrap();
    let page = open(&stranger, &callback.url).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{}", page.text());
}

#[tokio::test]
async fn account_variants_are_connections_of_their_own() {
    let (notes, gateway) = setup().await;
    let label = crate::gateway::label(&notes.authority());
    let url = format!("http://work--{label}.localhost:{}/mcp", gateway.port());
    let work = Client::ready(&url).await;
    let plain = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let (for_work, for_plain) = (work.connect().await, plain.connect().await);
    assert_eq!(work.call(&for_work.access, "whoami").await.0, StatusCode::OK);
    assert_eq!(work.call(&for_plain.access, "whoami").await.0, StatusCode::UNAUTHORIZED);
    let user = gateway.app().store.user_by_name(USER).await.unwrap().unwrap();
    let accounts: Vec<String> =
        gateway.app().store.connections_of(user.id).await.unwrap().into_iter().map(|c| c.account).collect();
    assert_eq!(accounts, ["", "work"]);
}

#[tokio::test]
async fn the_root_domain_is_an_issuer_too() {
    let gateway = Gateway::start().await;
    let browser = Browser::new().unwrap();
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let metadata = get_json(&browser, &format!("{}{path}", gateway.root())).await;
        assert_eq!(metadata["issuer"], gateway.root());
        assert_eq!(metadata["authorization_endpoint"], format!("{}/authorize", gateway.root()));
    }
}

/// A page, or nothing.
async fn open(browser: &Browser, url: &str) -> Page {
    match browser.open(url, "").await.unwrap() {
        Arrived::Page(page) => page,
        Arrived::Stopped(url) => panic!("stopped at {url}"),
    }
}
