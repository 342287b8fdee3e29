//! Hostile text in every header and every parameter: no error of ours, no markup of theirs.

use crate::client::send;
use crate::gateway::label;
use crate::visitors::{call, encoded, setup, signed_in};
use http::{Method, header};
use portcullis::devkit::browser::Page;

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
                    ("POST", format!("{}/auth/init", gateway.root())),
                    ("GET", format!("{}/api/v1/users", gateway.root())),
                    ("POST", format!("{mcp}/introspect")),
                ] {
                    let page = call(&browser, method, &url, &[(name, &value)]).await;
                    harmless(&page, hostile, &format!("{method} {url} with {name}: {value}"));
                }
            }
        }
    }
}

#[tokio::test]
async fn a6_a12_hostile_text_in_every_parameter() {
    let (notes, gateway) = setup().await;
    let (browser, token) = signed_in(&gateway).await;
    let (root, mcp) = (gateway.root(), gateway.url_of(&notes.authority()));
    let label = label(&notes.authority()).to_string();
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
            ("/programs", &["after"]),
            ("/programs/grants", &["user", "client", "after"]),
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
            (format!("{root}/connections/rename"), &["id", "title"]),
            (format!("{root}/start/outlook"), &["server"]),
            (format!("{root}/grants/revoke"), &["id"]),
            (format!("{root}/upstreams/approve"), &["authority"]),
            (format!("{root}/upstreams/remove"), &["authority"]),
            (format!("{root}/programs/clients/new"), &["name", "user", "upstream", "scopes", "jwks_uri"]),
            (format!("{root}/programs/clients/delete"), &["realm", "id"]),
            (format!("{root}/programs/grants/revoke"), &["id", "user", "client"]),
            (format!("{root}/programs/keys"), &["name", "resources", "services", "users", "expires"]),
            (format!("{root}/programs/keys/revoke"), &["id"]),
            (format!("{root}/programs/services/forge/pat"), &["user", "pat"]),
            (format!("{root}/servers"), &["domain"]),
            (format!("{root}/people"), &["name", "email", "password"]),
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
