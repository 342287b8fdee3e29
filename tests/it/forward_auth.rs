//! ForwardAuth: what `/verify` says to the proxies that ask it. `forward_proxies` puts real ones in front.

use crate::gateway::{Gateway, USER, label, token_at, upstream};
use crate::raw::{Caller, field, status};
use crate::revocation::BOB;
use crate::visitors::signed_in;
use http::{HeaderMap, header};
use portcullis::config::{Config, Permitted, UpstreamAuth};
use portcullis::devkit::browser::Browser;
use portcullis::hostname::Realm;
use portcullis::session::Means;
use std::time::Duration;

/// What says who somebody is.
pub const IDENTITY: [&str; 5] = ["x-user-id", "x-user-name", "x-user-email", "x-user-groups", "x-client-id"];
/// An upstream that is never contacted.
pub const NOTES: &str = "127.0.0.1:9";
const MAIL: &str = "127.0.0.1:11";

/// A gateway that knows two upstreams; this machine's proxies are trusted.
pub async fn behind_a_proxy() -> Gateway {
    Gateway::with(|config| {
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        upstreams(config);
    })
    .await
}

fn upstreams(config: &mut Config) {
    config.upstream.extend([NOTES, MAIL].map(|authority| upstream(authority, UpstreamAuth::None)));
}

/// The cookie of somebody who is signed in.
pub async fn cookie_of(gateway: &Gateway, name: &str) -> String {
    let app = gateway.app();
    let user = app.store.user_by_name(name).await.unwrap().unwrap();
    let set = app.sessions.begin(&HeaderMap::new(), &user, Means::Passkey, None).await.unwrap();
    set.to_str().unwrap().split(';').next().unwrap().to_owned()
}

pub async fn root_token(gateway: &Gateway, name: &str) -> String {
    token_at(gateway.app(), name, &Realm::Root, None).await.0
}

/// Asks as a proxy would, with these header lines; head and body.
async fn ask(gateway: &Gateway, target: &str, lines: &[String]) -> (String, String) {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let mut caller = Caller::connect(gateway.port()).await;
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost:{}\r\n{lines}\r\n", gateway.port());
    caller.send(request).await.response().await
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// The identity of an answer: every header exactly once.
fn identity(head: &str) -> Vec<String> {
    for name in IDENTITY {
        let count = head.lines().filter(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:"))).count();
        assert_eq!(count, 1, "{name} in {head}");
    }
    IDENTITY.iter().map(|name| field(head, name).unwrap()).collect()
}

#[tokio::test]
async fn a24_whoever_passes_is_named_by_every_header_once_empty_where_nothing_is_known() {
    let gateway = behind_a_proxy().await;
    let store = &gateway.app().store;
    let alice = store.user_by_name(USER).await.unwrap().unwrap().id;
    let cookie = format!("Cookie: other=1; {}", cookie_of(&gateway, USER).await);
    let forged = IDENTITY.map(|name| format!("{name}: forged"));
    for nothing in [&[][..], &forged] {
        let (head, body) = ask(&gateway, "/verify", &[std::slice::from_ref(&cookie), nothing].concat()).await;
        assert_eq!((status(&head), body.as_str()), (200, ""));
        assert_eq!(identity(&head), [&alice.to_string(), USER, "", "", ""]);
        assert_eq!(field(&head, "cache-control").as_deref(), Some("no-store"));
    }
    store.set_groups(alice, "corp", &["dev".to_owned(), "R&D, Köln".to_owned()]).await.unwrap();
    let (head, _) = ask(&gateway, "/verify", &[bearer(&root_token(&gateway, USER).await)]).await;
    assert_eq!(identity(&head), [&alice.to_string(), USER, "", "R&D%2C%20K%C3%B6ln,dev", "test"]);
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(format!("HEAD /verify HTTP/1.1\r\nHost: localhost:{}\r\n{cookie}\r\n\r\n", gateway.port())).await;
    assert_eq!(status(&caller.until("\r\n\r\n").await), 200);
}

#[tokio::test]
async fn a43_nothing_makes_up_for_a_credential_that_is_not_good() {
    let gateway = behind_a_proxy().await;
    let cookie = format!("Cookie: {}", cookie_of(&gateway, USER).await);
    let bound =
        token_at(gateway.app(), USER, &Realm::Root, Some("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")).await.0;
    let (token, grant) = token_at(gateway.app(), USER, &Realm::Root, None).await;
    let elsewhere = token_at(gateway.app(), USER, &Realm::Mcp(label(NOTES)), None).await.0;
    assert_eq!(status(&ask(&gateway, "/verify", &[bearer(&token)]).await.0), 200);
    gateway.app().revocations.grant(grant).await.unwrap();
    for wrong in [
        bearer("x"),
        bearer(""),
        bearer(&token),
        bearer(&bound),
        bearer(&elsewhere),
        format!("Authorization: DPoP {bound}"),
    ] {
        let (head, body) = ask(&gateway, "/verify", &[wrong.clone(), cookie.clone()]).await;
        assert_eq!(status(&head), 401, "{wrong}");
        let challenge = field(&head, "www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert!(body.contains("\"invalid_token\""), "{body}");
        assert!(IDENTITY.iter().all(|name| field(&head, name).is_none()));
    }
    let twice = [bearer(&root_token(&gateway, USER).await), bearer("x")];
    assert_eq!(status(&ask(&gateway, "/verify", &twice).await.0), 400);
    let basic = ["Authorization: Basic YWxpY2U6eA==".to_owned(), cookie];
    assert_eq!(status(&ask(&gateway, "/verify", &basic).await.0), 200, "a backend's own affair");

    let (head, _) = ask(&gateway, "/verify", &[]).await;
    assert_eq!(status(&head), 401);
    let challenge = field(&head, "www-authenticate").unwrap();
    let metadata = format!("{}/.well-known/oauth-protected-resource", gateway.root());
    assert_eq!(challenge, format!("Bearer resource_metadata=\"{metadata}\""));
}

#[tokio::test]
async fn a18_only_a_trusted_proxy_says_which_host_is_asked_for() {
    let trusting = behind_a_proxy().await;
    let wary = Gateway::with(upstreams).await;
    for (gateway, good) in [(&trusting, 200), (&wary, 401)] {
        let (token, _) = gateway.token_for(NOTES).await;
        let host = |authority: &str| format!("X-Forwarded-Host: {}", gateway.host_of(authority));
        let (notes, mail) = (host(NOTES), host(MAIL));
        for (lines, expected) in [
            (vec![notes.clone()], good),
            (vec![notes.to_uppercase()], good),
            (vec![mail.clone()], 401),
            (vec![], 401),
            (vec![notes.clone(), mail.clone()], 401),
            (vec![format!("{notes}, app.example")], 401),
            (vec![notes.replace("-Host", "_Host")], 401),
            (
                vec!["X-Forwarded-Host: app.example".to_owned(), format!("X-Forwarded-Uri: {}", gateway.url_of(NOTES))],
                401,
            ),
            (vec![format!("Forwarded: host=\"{}\"", gateway.host_of(NOTES))], 401),
        ] {
            let (head, _) = ask(gateway, "/verify", &[lines.clone(), vec![bearer(&token)]].concat()).await;
            assert_eq!(status(&head), expected, "{lines:?}");
        }
        let (head, _) = ask(gateway, "/verify", &[notes]).await;
        let at = if good == 200 { gateway.url_of(NOTES) } else { gateway.root() };
        assert!(field(&head, "www-authenticate").unwrap().contains(&format!("\"{at}/.well-known/")), "{head}");
    }
}

#[tokio::test]
async fn a_host_s_token_passes_only_whom_the_upstream_is_permitted_to() {
    let gateway = behind_a_proxy().await;
    gateway.add(BOB).await;
    let host = format!("X-Forwarded-Host: {}", gateway.host_of(NOTES));
    let (token, _) = gateway.token_of(BOB, NOTES).await;
    let lines = [host, bearer(&token)];
    assert_eq!(status(&ask(&gateway, "/verify", &lines).await.0), 200);
    let only_alice = |config: &mut Config| {
        config.upstream[0].allowed = Some(Permitted { users: vec![USER.to_owned()], groups: Vec::new() });
    };
    gateway.reload(only_alice).await.unwrap();
    let (head, body) = ask(&gateway, "/verify", &lines).await;
    assert_eq!((status(&head), field(&head, "www-authenticate")), (403, None), "{body}");
}

#[tokio::test]
async fn somebody_disabled_passes_nowhere_and_time_ends_tokens() {
    let gateway = behind_a_proxy().await;
    let bob = gateway.add(BOB).await;
    let (token, cookie) = (root_token(&gateway, BOB).await, format!("Cookie: {}", cookie_of(&gateway, BOB).await));
    for line in [bearer(&token), cookie.clone()] {
        assert_eq!(status(&ask(&gateway, "/verify", &[line]).await.0), 200);
    }
    gateway.app().revocations.disable(bob).await.unwrap();
    for line in [bearer(&token), cookie] {
        assert_eq!(status(&ask(&gateway, "/verify", &[line]).await.0), 401);
    }
    let token = root_token(&gateway, USER).await;
    gateway.clock.advance(Duration::from_secs(3601));
    assert_eq!(status(&ask(&gateway, "/verify", &[bearer(&token)]).await.0), 401);
}

#[tokio::test]
async fn a_recipe_may_ask_for_groups_and_roles() {
    let gateway = behind_a_proxy().await;
    let bob = gateway.add(BOB).await;
    gateway.app().store.add_group(bob, "dev").await.unwrap();
    let (alice, bob) = (root_token(&gateway, USER).await, root_token(&gateway, BOB).await);
    for (query, alices, bobs) in [
        ("group=dev", 403, 200),
        ("group=ops", 403, 403),
        ("group=ops&group=dev", 403, 200),
        ("role=administrator", 200, 403),
        ("role=member", 200, 200),
        ("role=administrator&group=dev", 403, 403),
        ("role=root", 400, 400),
        ("gruop=dev", 400, 400),
    ] {
        for (token, expected) in [(&alice, alices), (&bob, bobs)] {
            let (head, _) = ask(&gateway, &format!("/verify?{query}"), &[bearer(token)]).await;
            assert_eq!(status(&head), expected, "{query}");
        }
    }
}

#[tokio::test]
async fn pages_of_others_do_nothing_with_a_person_s_cookie() {
    let gateway = behind_a_proxy().await;
    let cookie = format!("Cookie: {}", cookie_of(&gateway, USER).await);
    let root = gateway.root();
    for (lines, expected) in [
        (vec![format!("Origin: {root}"), "Sec-Fetch-Site: same-origin".to_owned()], 200),
        (vec!["Sec-Fetch-Site: none".to_owned(), "Sec-Fetch-Mode: navigate".to_owned()], 200),
        (vec!["Sec-Fetch-Site: cross-site".to_owned(), "Sec-Fetch-Mode: navigate".to_owned()], 200),
        (vec!["Sec-Fetch-Site: same-site".to_owned(), "Sec-Fetch-Mode: no-cors".to_owned()], 403),
        (vec![format!("Origin: {}", gateway.url_of(NOTES)), "Sec-Fetch-Mode: navigate".to_owned()], 403),
        (vec!["Origin: null".to_owned()], 403),
        (vec![format!("Origin: {root}"), "Origin: https://evil.example".to_owned()], 403),
    ] {
        let (head, _) = ask(&gateway, "/verify", &[lines.clone(), vec![cookie.clone()]].concat()).await;
        assert_eq!(status(&head), expected, "{lines:?}");
    }
    let token = bearer(&root_token(&gateway, USER).await);
    let page = "Origin: https://evil.example".to_owned();
    assert_eq!(status(&ask(&gateway, "/verify", &[page, token]).await.0), 200, "a token is sent on purpose");
}

#[tokio::test]
async fn a_person_is_shown_the_way_to_sign_in_and_sent_nowhere() {
    let gateway = behind_a_proxy().await;
    let lines = [
        "Accept: text/html,application/xhtml+xml".to_owned(),
        "X-Forwarded-Host: evil.example".to_owned(),
        "X-Forwarded-Uri: //evil.example/".to_owned(),
    ];
    let (head, body) = ask(&gateway, "/verify", &lines).await;
    assert_eq!((status(&head), field(&head, "location")), (401, None));
    assert!(field(&head, "www-authenticate").is_some());
    assert!(body.contains(&format!("href=\"{}/login\"", gateway.root())), "{body}");
    assert!(!body.contains("evil.example"), "{body}");
    let (browser, _) = signed_in(&gateway).await;
    let url = format!("{}/verify", gateway.root());
    let page = browser.request(http::Method::GET, &url, HeaderMap::new(), None).await.unwrap();
    assert_eq!(page.headers["x-user-name"], USER, "the session of a real sign-in");
    assert!(!page.headers.contains_key(header::SET_COOKIE));
    let stranger = Browser::new().unwrap().request(http::Method::GET, &url, HeaderMap::new(), None).await.unwrap();
    assert_eq!(stranger.status, 401);
}

/// Traefik is not in Debian, so this is its request as its documentation tells it: GET, the caller's own header fields with
/// `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For` in place of the caller's; of the answer it takes the fields
/// of `authResponseHeaders`, each in place of the request's.
#[tokio::test]
async fn a25_traefik_s_request_and_what_it_makes_of_the_answer() {
    let gateway = behind_a_proxy().await;
    let recipe = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/conf/recipes/traefik.yml")).unwrap();
    let copied = recipe.split("authResponseHeaders:").nth(1).unwrap().lines().skip(1);
    let copied: Vec<String> =
        copied.map_while(|line| line.trim().strip_prefix("- ")).map(str::to_ascii_lowercase).collect();
    assert_eq!(copied, IDENTITY, "the recipe copies all of them");
    let removed: Vec<&str> = recipe.lines().filter_map(|line| line.trim().strip_suffix(": \"\"")).collect();
    let look_alikes = |name: &str| {
        let (first, rest) = name.split_once('-').unwrap();
        let (second, third) = rest.split_once('-').unwrap();
        [("_", "_"), ("_", "-"), ("-", "_")].map(|(a, b)| format!("{first}{a}{second}{b}{third}"))
    };
    for name in IDENTITY.iter().flat_map(|name| look_alikes(name)) {
        assert!(removed.iter().any(|one| one.eq_ignore_ascii_case(&name)), "the recipe lets {name} pass");
    }

    let cookie = cookie_of(&gateway, USER).await;
    let caller = ["User-Agent: x".to_owned(), format!("Cookie: {cookie}"), "X-User-Id: forged".to_owned()];
    let forwarded = ["Method: POST", "Proto: https", "Host: app.example", "Uri: /x?y", "For: 203.0.113.9"];
    let lines: Vec<String> =
        caller.into_iter().chain(forwarded.iter().map(|line| format!("X-Forwarded-{line}"))).collect();
    let (head, _) = ask(&gateway, "/verify", &lines).await;
    assert_eq!(status(&head), 200);
    let alice = gateway.app().store.user_by_name(USER).await.unwrap().unwrap();
    assert_eq!(identity(&head), [alice.id.to_string().as_str(), USER, "", "", ""]);
}
