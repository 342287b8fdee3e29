//! Every route of the product: what it says to somebody who has shown nothing, to hostile text, and to forms of foreign
//! pages.

use crate::client::{alice, send};
use crate::gateway::{Gateway, USER};
use crate::raw::Caller;
use crate::upstreams::Notes;
use http::{Method, StatusCode, header};
use portcullis::config::{Config, Rate};
use portcullis::devkit::browser::{Arrived, Browser, Page};
use std::time::Duration;

/// On the root domain: method, target, status without any credentials.
const ROOT: [(&str, &str, u16); 49] = [
    ("GET", "/", 200),
    ("POST", "/", 405),
    ("GET", "/login", 200),
    ("POST", "/login", 403),
    ("POST", "/logout", 303),
    ("GET", "/setup", 404),
    ("GET", "/setup?token=x", 404),
    ("POST", "/setup", 404),
    ("POST", "/connections/disconnect", 303),
    ("POST", "/grants/revoke", 303),
    ("POST", "/upstreams/approve", 303),
    ("POST", "/upstreams/remove", 303),
    ("GET", "/encode?domain=mcp.example", 200),
    ("GET", "/oauth/start?server=mcp.example", 303),
    ("POST", "/oauth/start?server=mcp.example", 303),
    ("GET", "/oauth/callback", 400),
    ("GET", "/oauth/callback?code=x&state=y", 400),
    ("GET", "/oauth/client-metadata.json", 200),
    ("GET", "/health", 200),
    ("GET", "/assets/nothing.css", 404),
    ("GET", "/authorize", 400),
    ("POST", "/authorize", 303),
    ("GET", "/authorize/no-such-alias", 404),
    ("POST", "/authorize/no-such-alias", 404),
    ("GET", "/authorize/garbage-enc", 404),
    ("POST", "/token", 401),
    ("GET", "/token", 405),
    ("POST", "/register", 400),
    ("GET", "/register", 405),
    ("GET", "/register/x", 401),
    ("DELETE", "/register/x", 401),
    ("PUT", "/register/x", 405),
    ("POST", "/revoke", 401),
    ("GET", "/jwks", 200),
    ("GET", "/.well-known/oauth-authorization-server", 200),
    ("GET", "/.well-known/openid-configuration", 200),
    ("GET", "/.well-known/oauth-protected-resource", 200),
    ("GET", "/.well-known/oauth-protected-resource/mcp", 200),
    ("POST", "/.well-known/oauth-protected-resource/mcp", 405),
    ("GET", "/.well-known/nothing", 404),
    ("GET", "/metrics", 404),
    ("GET", "/healthz", 404),
    ("GET", "/readyz", 404),
    ("GET", "/api/v1/users", 404),
    ("GET", "/assets/..%2f..%2fCargo.toml", 404),
    ("GET", "//evil.example/", 404),
    ("TRACE", "/", 405),
    ("OPTIONS", "/login", 405),
    ("DELETE", "/nothing", 404),
];

/// On an MCP hostname.
const MCP: [(&str, &str, u16); 30] = [
    ("GET", "/", 401),
    ("POST", "/", 401),
    ("GET", "/mcp", 401),
    ("POST", "/mcp", 401),
    ("DELETE", "/mcp", 401),
    ("TRACE", "/mcp", 401),
    ("OPTIONS", "/mcp", 401),
    ("GET", "/login", 401),
    ("GET", "/health", 401),
    ("GET", "/authorize/x", 401),
    ("GET", "/.well-known/other", 401),
    ("GET", "/mcp?access_token=x", 401),
    ("GET", "/%74oken", 401),
    ("GET", "/authorize", 302),
    ("POST", "/authorize", 405),
    ("POST", "/token", 401),
    ("GET", "/token", 405),
    ("POST", "/register", 400),
    ("GET", "/register/x", 401),
    ("DELETE", "/register/x", 401),
    ("POST", "/revoke", 401),
    ("GET", "/jwks", 200),
    ("POST", "/introspect", 404),
    ("POST", "/device_authorization", 404),
    ("GET", "/.well-known/oauth-authorization-server", 200),
    ("GET", "/.well-known/oauth-authorization-server/mcp", 200),
    ("GET", "/.well-known/openid-configuration", 200),
    ("GET", "/mcp/.well-known/openid-configuration", 200),
    ("GET", "/.well-known/oauth-protected-resource", 200),
    ("GET", "/.well-known/oauth-protected-resource/mcp", 200),
];

const HOSTILE: [&str; 10] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'-alert(1)-'",
    "' OR '1'='1' --",
    "'; DROP TABLE users; --",
    "1) UNION SELECT password FROM users--",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "../../../../etc/passwd",
    "%00%0d%0aSet-Cookie:%20x=y",
    "\u{fffd}\u{202e}%ff\\",
];

async fn setup() -> (Notes, Gateway) {
    let notes = Notes::start().await;
    let authority = notes.authority();
    let gateway = Gateway::with(move |config| {
        without_limits(config);
        config.upstream.push(crate::gateway::upstream(&authority, portcullis::config::UpstreamAuth::None));
    });
    (notes, gateway.await)
}

fn without_limits(config: &mut Config) {
    let rate = Rate { count: 1_000_000, period: Duration::from_secs(1), burst: 1_000_000 };
    let limits = &mut config.limits;
    for limit in [&mut limits.per_ip, &mut limits.token_endpoint, &mut limits.registration, &mut limits.login] {
        *limit = rate;
    }
}

async fn call(browser: &Browser, method: &str, url: &str, fields: &[(&str, &str)]) -> Page {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let body = (method == Method::POST).then(String::new);
    send(browser, method, url, fields, body).await
}

async fn signed_in(gateway: &Gateway) -> (Browser, String) {
    let browser = Browser::new().unwrap();
    let Arrived::Page(login) = browser.open(&format!("{}/login", gateway.root()), "").await.unwrap() else { panic!() };
    let Arrived::Page(home) = browser.fill_login(&login, &alice(), "").await.unwrap() else { panic!() };
    (browser, csrf_token(&home))
}

fn csrf_token(page: &Page) -> String {
    let form = page.form_with("csrf_token").unwrap_or_else(|| panic!("no form: {}", page.text()));
    form.fields.into_iter().find(|field| field.name == "csrf_token").unwrap().value
}

#[tokio::test]
async fn every_route_without_credentials() {
    let (notes, gateway) = setup().await;
    let browser = Browser::new().unwrap();
    let mcp = gateway.url_of(&notes.authority());
    let all = ROOT.iter().map(|route| (gateway.root(), route)).chain(MCP.iter().map(|route| (mcp.clone(), route)));
    let mut wrong = Vec::new();
    for (origin, (method, target, expected)) in all {
        let page = call(&browser, method, &format!("{origin}{target}"), &[]).await;
        if page.status.as_u16() != *expected {
            wrong.push(format!("{method} {origin}{target}: {} instead of {expected}", page.status.as_u16()));
        }
        let sent_to = page.headers.get(header::LOCATION).map(|value| value.to_str().unwrap());
        assert!(sent_to.is_none_or(|to| to.starts_with("/login") || to.starts_with(&gateway.root())), "{sent_to:?}");
        let has_challenge = page.headers.contains_key(header::WWW_AUTHENTICATE);
        if origin == mcp && page.status == StatusCode::UNAUTHORIZED && !["/token", "/revoke"].contains(target) {
            assert!(has_challenge, "{method} {target}: a 401 without a challenge");
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(notes.mcp.control.recorder().requests().is_empty(), "something reached the upstream");
}

#[tokio::test]
async fn paths_are_taken_as_they_are_written() {
    let (notes, gateway) = setup().await;
    let (mcp, root) = (gateway.host_of(&notes.authority()), format!("localhost:{}", gateway.port()));
    for (host, path, expected) in [
        (&mcp, "/mcp/%2e%2e/token", 401),
        (&mcp, "/mcp/../token", 401),
        (&mcp, "//token", 401),
        (&mcp, "/token/", 401),
        (&mcp, "/token;x", 401),
        (&root, "/../etc/passwd", 404),
        (&root, "/assets/../../Cargo.toml", 404),
        (&root, "/assets/%2e%2e/%2e%2e/Cargo.toml", 404),
        (&root, "/x/../login", 404),
        (&root, "//login", 404),
    ] {
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(caller.status().await, expected, "{host}{path}");
    }
}

#[tokio::test]
async fn malformed_parameters_and_large_bodies_are_our_callers_fault() {
    let (notes, gateway) = setup().await;
    let (browser, _) = signed_in(&gateway).await;
    let mcp = gateway.url_of(&notes.authority());
    let all = ROOT.iter().map(|route| (gateway.root(), route)).chain(MCP.iter().map(|route| (mcp.clone(), route)));
    let large = "x".repeat(70_000);
    for (origin, (method, target, _)) in all {
        let path = target.split('?').next().unwrap();
        for query in
            ["%ff=%ff", "a=%00&=&&&=", "server=a&server=b", "return_to=%&return_to=%", "renew=x", "token=%f0%28"]
        {
            let page = call(&browser, method, &format!("{origin}{path}?{query}"), &[]).await;
            assert!(page.status.as_u16() < 500, "{method} {path}?{query}: {}", page.status);
        }
        if *method == "POST" {
            for body in [&large, "%ff=%ff&csrf_token=%", "{", "\u{0}"] {
                for kind in ["application/x-www-form-urlencoded", "application/json", "multipart/form-data", "x"] {
                    let fields = [("content-type", kind)];
                    let url = format!("{origin}{path}");
                    let page = send(&browser, Method::POST, &url, &fields, Some(body.to_owned())).await;
                    assert!(page.status.as_u16() < 500, "{path} with {kind}: {} {}", page.status, page.body);
                }
            }
        }
    }
}

#[tokio::test]
async fn claiming_needs_our_own_page_too() {
    let (_notes, gateway) = setup().await;
    let store = &gateway.app().store;
    let alice = store.user_by_name(USER).await.unwrap().unwrap();
    store.delete_user(alice.id, gateway.clock.now()).await.unwrap();
    let token = gateway.app().identity.setup_token().await.unwrap().unwrap();
    let browser = Browser::new().unwrap();
    let url = format!("{}/setup", gateway.root());
    let form = call(&browser, "GET", &format!("{url}?token={}", token.expose()), &[]).await;
    let csrf_token = csrf_token(&form);
    let claim = |csrf_token: &str| {
        let password = crate::gateway::PASSWORD;
        encoded(&[
            ("token", token.expose()),
            ("csrf_token", csrf_token),
            ("username", "mallory"),
            ("password", password),
            ("password_again", password),
        ])
    };
    for fields in [&[("origin", "null")][..], &[("origin", "http://x.localhost")], &[("sec-fetch-site", "same-site")]] {
        let page = send(&browser, Method::POST, &url, fields, Some(claim(&csrf_token))).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{fields:?}");
    }
    let page = send(&browser, Method::POST, &url, &[], Some(claim(""))).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(!store.has_administrator().await.unwrap());
    let page = send(&browser, Method::POST, &url, &[], Some(claim(&csrf_token))).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text());
}

/// The tables above are complete when every route that the sources name is in them.
#[test]
fn no_route_is_missing_above() {
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (file, table) in [("dashboard/mod.rs", &ROOT[..]), ("issuer/mod.rs", &ROOT[..])] {
        let text = std::fs::read_to_string(sources.join(file)).unwrap();
        for route in text.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let fits = |target: &str| {
                let path = target.split('?').next().unwrap();
                let pairs = route.split('/').zip(path.split('/'));
                route.split('/').count() == path.split('/').count()
                    && pairs.into_iter().all(|(named, used)| named.starts_with('{') || named == used)
            };
            let known = table.iter().chain(&MCP).any(|(_, target, _)| fits(target));
            assert!(known, "{file}: {route} is in neither table");
        }
    }
}

#[tokio::test]
async fn a6_a12_hostile_text_in_every_header() {
    let (notes, gateway) = setup().await;
    let (browser, _) = signed_in(&gateway).await;
    let mcp = gateway.url_of(&notes.authority());
    for name in [
        "authorization",
        "cookie",
        "origin",
        "referer",
        "user-agent",
        "accept",
        "accept-language",
        "content-type",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "sec-fetch-site",
        "mcp-session-id",
        "mcp-protocol-version",
        "mcp-method",
        "last-event-id",
        "x-api-key",
        "if-none-match",
        "range",
    ] {
        for hostile in HOSTILE {
            for value in [hostile.to_owned(), format!("Bearer {hostile}"), format!("portcullis={hostile}")] {
                for (method, url) in [
                    ("GET", format!("{}/", gateway.root())),
                    ("POST", format!("{}/login", gateway.root())),
                    ("POST", format!("{mcp}/token")),
                    ("POST", format!("{mcp}/mcp")),
                ] {
                    let page = call(&browser, method, &url, &[(name, &value)]).await;
                    harmless(&page, hostile, &format!("{method} {url} with {name}: {value}"));
                }
            }
        }
    }
}

#[tokio::test]
async fn hostile_text_in_every_parameter() {
    let (notes, gateway) = setup().await;
    let (browser, token) = signed_in(&gateway).await;
    let (root, mcp) = (gateway.root(), gateway.url_of(&notes.authority()));
    let label = crate::gateway::label(&notes.authority()).to_string();
    let authorize = [
        "client_id",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
        "resource",
        "code_challenge",
        "flow",
        "prompt",
        "cancel",
        "decide",
    ];
    let own = [("csrf_token", token.as_str())];
    for hostile in HOSTILE {
        for (path, names) in [
            ("/login", &["return_to"][..]),
            ("/setup", &["token"]),
            ("/encode", &["domain", "path"]),
            ("/oauth/start", &["server", "account", "renew"]),
            ("/oauth/callback", &["code", "state", "iss", "error", "error_description", "error_uri"]),
            ("/authorize", &authorize),
            (&format!("/authorize/{label}"), &authorize),
        ] {
            for name in names {
                let url = format!("{root}{path}?{}", encoded(&[(name, hostile)]));
                harmless(&call(&browser, "GET", &url, &[]).await, hostile, &url);
            }
        }
        for url in
            [format!("{root}/{hostile}"), format!("{root}/authorize/{hostile}"), format!("{mcp}/register/{hostile}")]
        {
            harmless(&call(&browser, "GET", &url, &[]).await, hostile, &url);
        }
        for (url, names) in [
            (format!("{mcp}/token"), &["grant_type", "client_id", "client_secret", "code", "refresh_token"][..]),
            (format!("{mcp}/revoke"), &["token", "client_id", "token_type_hint"]),
            (format!("{root}/login"), &["username", "password", "return_to", "csrf_token"]),
            (format!("{root}/connections/disconnect"), &["id"]),
            (format!("{root}/grants/revoke"), &["id"]),
            (format!("{root}/upstreams/approve"), &["authority"]),
            (format!("{root}/upstreams/remove"), &["authority"]),
            (format!("{root}/authorize"), &["flow", "decision"]),
        ] {
            for name in names {
                let body = format!("{}&{}", encoded(&own), encoded(&[(name, hostile)]));
                let page = send(&browser, Method::POST, &url, &[], Some(body)).await;
                harmless(&page, hostile, &format!("{url} with {name}={hostile}"));
            }
        }
        let body = serde_json::json!({"client_name": hostile, "client_uri": hostile, "scope": hostile, "jwks_uri": hostile,
            "redirect_uris": ["https://app.example/"]});
        let page = send(&browser, Method::POST, &format!("{mcp}/register"), &[], Some(body.to_string())).await;
        harmless(&page, hostile, "registration");
    }
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// No error of ours, and no markup of theirs in what a browser would render.
fn harmless(page: &Page, hostile: &str, what: &str) {
    assert!(page.status.as_u16() < 500, "{what}: {} {}", page.status, page.body);
    let kind = page.headers.get(header::CONTENT_TYPE).map_or("text/html", |kind| kind.to_str().unwrap());
    let has_markup = hostile.contains(['<', '"', '\'']);
    if has_markup && !kind.starts_with("application/json") {
        assert!(!page.body.contains(hostile), "{what}: not escaped in {kind}\n{}", page.body);
    }
    assert!(
        !page.headers.get_all(header::SET_COOKIE).iter().any(|value| value.as_bytes().starts_with(b"x=y")),
        "{what}"
    );
}

#[tokio::test]
async fn nobody_is_sent_elsewhere_after_signing_in() {
    let (_notes, gateway) = setup().await;
    let login = format!("{}/login", gateway.root());
    let (inside, _) = signed_in(&gateway).await;
    for bad in [
        "https://evil.example/",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\r\n/evil.example",
        "/ /evil.example",
        "\u{2215}\u{2215}evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        ".evil.example",
        "@evil.example",
        "%2f%2fevil.example",
        "",
    ] {
        let url = format!("{login}?{}", encoded(&[("return_to", bad)]));
        let page = call(&inside, "GET", &url, &[]).await;
        assert_eq!(page.headers[header::LOCATION], "/", "{bad:?}");
        let browser = Browser::new().unwrap();
        let form = call(&browser, "GET", &url, &[]).await;
        let body = encoded(&[
            ("csrf_token", &csrf_token(&form)),
            ("username", USER),
            ("password", crate::gateway::PASSWORD),
            ("return_to", bad),
        ]);
        let page = send(&browser, Method::POST, &login, &[], Some(body)).await;
        assert_eq!((page.status, &page.headers[header::LOCATION]), (StatusCode::SEE_OTHER, &"/".parse().unwrap()));
    }
    let page = call(&inside, "GET", &format!("{login}?return_to=%2Fencode%3Fdomain%3Dx.example"), &[]).await;
    assert_eq!(page.headers[header::LOCATION], "/encode?domain=x.example");
}

#[tokio::test]
async fn forms_of_sibling_hosts_and_foreign_pages_do_nothing() {
    let (notes, gateway) = setup().await;
    let (browser, token) = signed_in(&gateway).await;
    let (root, mcp) = (gateway.root(), gateway.url_of(&notes.authority()));
    let label = crate::gateway::label(&notes.authority());
    for path in [
        "/login".to_owned(),
        "/logout".to_owned(),
        "/connections/disconnect".to_owned(),
        "/grants/revoke".to_owned(),
        "/upstreams/approve".to_owned(),
        "/upstreams/remove".to_owned(),
        "/oauth/start?server=mcp.example".to_owned(),
        "/authorize?decide=client".to_owned(),
        format!("/authorize/{label}?decide=upstream"),
    ] {
        let url = format!("{root}{path}");
        for fields in [
            &[("origin", mcp.as_str())][..],
            &[("origin", "null")],
            &[("origin", "https://evil.example")],
            &[("origin", root.as_str()), ("sec-fetch-site", "same-site")],
            &[("origin", root.as_str()), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", root.as_str()), ("sec-fetch-site", "same-origin"), ("x-token", "none")],
        ] {
            let token = if fields.len() == 3 { "" } else { token.as_str() };
            let body = encoded(&[("csrf_token", token), ("decision", "approve"), ("authority", "mcp.example")]);
            let page = send(&browser, Method::POST, &url, fields, Some(body)).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path} {fields:?}");
            assert!(!page.headers.contains_key(header::LOCATION), "{path} {fields:?}");
        }
    }
    assert!(call(&browser, "GET", &format!("{root}/"), &[]).await.text().contains(USER), "still signed in");
    assert!(gateway.app().store.upstreams().await.unwrap().is_empty());
    let own = [("origin", root.as_str()), ("sec-fetch-site", "same-origin")];
    let page =
        send(&browser, Method::POST, &format!("{root}/logout"), &own, Some(encoded(&[("csrf_token", &token)]))).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "its own form works");
}
