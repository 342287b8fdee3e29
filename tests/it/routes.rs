//! Every route of the product, and what it says to somebody who has shown nothing.

use crate::client::send;
use crate::raw::Caller;
use crate::visitors::{call, setup, signed_in};
use http::{Method, StatusCode, header};
use portcullis::devkit::browser::Browser;
use std::path::{Path, PathBuf};

/// On the root domain: method, target, status without any credentials.
pub const ROOT: &[(&str, &str, u16)] = &[
    ("GET", "/", 200),
    ("POST", "/", 405),
    ("GET", "/connections", 303),
    ("GET", "/activity", 303),
    ("GET", "/activity?range=month&person=alice", 303),
    ("GET", "/activity/log", 303),
    ("GET", "/activity/stream", 303),
    ("GET", "/activity/export?format=csv", 303),
    ("POST", "/activity/export", 405),
    ("GET", "/servers", 303),
    ("POST", "/servers", 303),
    ("GET", "/servers/mcp.example", 303),
    ("POST", "/servers/mcp.example/deny", 303),
    ("POST", "/servers/mcp.example/name", 303),
    ("POST", "/servers/mcp.example/look", 303),
    ("POST", "/servers/mcp.example/permit", 303),
    ("POST", "/servers/mcp.example/forbid", 303),
    ("POST", "/servers/mcp.example/everybody", 303),
    ("GET", "/servers/mcp.example/tools", 303),
    ("POST", "/servers/mcp.example/tools", 303),
    ("POST", "/servers/mcp.example/tools/read", 303),
    ("GET", "/people", 303),
    ("POST", "/people", 303),
    ("GET", "/people/x", 303),
    ("GET", "/people/x/sure/delete", 303),
    ("POST", "/people/x/sure/delete", 303),
    ("POST", "/people/x/enable", 303),
    ("POST", "/people/x/promote", 303),
    ("POST", "/people/x/email", 303),
    ("POST", "/people/x/password", 303),
    ("POST", "/people/x/groups/join", 303),
    ("POST", "/people/x/groups/leave", 303),
    ("POST", "/people/x/passkeys/remove", 303),
    ("POST", "/people/x/sessions/end", 303),
    ("POST", "/people/x/connections/disconnect", 303),
    ("POST", "/people/x/grants/revoke", 303),
    ("GET", "/doctor", 303),
    ("GET", "/doctor?target=gw.example", 303),
    ("POST", "/doctor", 405),
    ("GET", "/doctor/stream", 200),
    ("GET", "/account", 303),
    ("POST", "/account/password", 303),
    ("POST", "/account/sessions/end", 303),
    ("POST", "/account/sign-out-everywhere", 303),
    ("POST", "/account/totp/begin", 303),
    ("POST", "/account/totp/confirm", 303),
    ("POST", "/account/totp/remove", 303),
    ("POST", "/account/recovery-codes", 303),
    ("POST", "/account/passkeys", 303),
    ("POST", "/account/passkeys/challenge", 303),
    ("POST", "/account/passkeys/remove", 303),
    ("POST", "/account/passkeys/after-password", 303),
    ("GET", "/verify", 401),
    ("POST", "/verify", 401),
    ("DELETE", "/verify", 405),
    ("GET", "/verify?rd=https://evil.example/", 400),
    ("GET", "/login", 200),
    ("POST", "/login/passkey", 403),
    ("POST", "/login/passkey/challenge", 403),
    ("GET", "/login/totp", 303),
    ("POST", "/login/totp", 403),
    ("POST", "/login", 403),
    ("POST", "/login/company", 403),
    ("GET", "/login/company", 405),
    ("GET", "/login/company/callback", 404),
    ("GET", "/login/company/callback?code=x&state=y", 404),
    ("POST", "/account/identities/link", 303),
    ("POST", "/account/identities/unlink", 303),
    ("POST", "/account/services/disconnect", 303),
    ("POST", "/account/services/pat", 303),
    ("POST", "/account/services/pat/remove", 303),
    ("POST", "/logout", 303),
    ("GET", "/setup", 404),
    ("GET", "/setup?token=x", 404),
    ("POST", "/setup", 404),
    ("GET", "/programs", 303),
    ("GET", "/programs/clients/new", 303),
    ("POST", "/programs/clients/new", 303),
    ("POST", "/programs/clients/delete", 303),
    ("GET", "/programs/grants", 303),
    ("POST", "/programs/grants/revoke", 303),
    ("GET", "/programs/keys", 303),
    ("POST", "/programs/keys", 303),
    ("POST", "/programs/keys/revoke", 303),
    ("GET", "/programs/services", 303),
    ("GET", "/programs/services/forge", 303),
    ("POST", "/programs/services/forge/disconnect", 303),
    ("POST", "/programs/services/forge/pat", 303),
    ("POST", "/programs/services/forge/pat/remove", 303),
    ("GET", "/system", 303),
    ("GET", "/system/configuration", 303),
    ("GET", "/system/notes", 303),
    ("POST", "/system/keys/rotate", 303),
    ("POST", "/connections/disconnect", 303),
    ("POST", "/connections/rename", 303),
    ("POST", "/start/outlook", 303),
    ("GET", "/start/outlook", 405),
    ("POST", "/grants/revoke", 303),
    ("POST", "/upstreams/approve", 303),
    ("POST", "/upstreams/remove", 303),
    ("GET", "/upstreams/credentials?server=mcp.example", 303),
    ("POST", "/upstreams/credentials?server=mcp.example", 303),
    ("POST", "/account/members", 303),
    ("GET", "/encode?domain=mcp.example", 200),
    ("GET", "/oauth/start?server=mcp.example", 303),
    ("POST", "/oauth/start?server=mcp.example", 303),
    ("GET", "/oauth/callback", 400),
    ("GET", "/oauth/callback?code=x&state=y", 400),
    ("GET", "/oauth/client-metadata.json", 200),
    ("GET", "/health", 200),
    ("GET", "/assets/nothing.css", 404),
    ("GET", "/auth/forge?user_id=alice", 303),
    ("GET", "/auth/forge?link=x", 303),
    ("POST", "/auth/forge?link=x", 303),
    ("GET", "/auth/nothing", 404),
    ("POST", "/auth/init", 401),
    ("GET", "/auth/init", 405),
    ("POST", "/auth/token", 401),
    ("DELETE", "/auth/revoke", 401),
    ("GET", "/auth/callback", 400),
    ("GET", "/auth/callback?code=x&state=y", 400),
    ("GET", "/callback/forge?code=x&state=y", 400),
    ("GET", "/callback/nothing", 404),
    ("POST", "/token/forge", 401),
    ("GET", "/token/forge", 405),
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
    ("PUT", "/register/x", 401),
    ("POST", "/device_authorization", 401),
    ("GET", "/device_authorization", 405),
    ("GET", "/device", 303),
    ("GET", "/device?user_code=WDJB-MJHT", 303),
    ("POST", "/device", 303),
    ("POST", "/revoke", 401),
    ("POST", "/introspect", 401),
    ("GET", "/introspect", 405),
    ("GET", "/jwks", 200),
    ("GET", "/.well-known/oauth-authorization-server", 200),
    ("GET", "/.well-known/openid-configuration", 200),
    ("GET", "/.well-known/oauth-protected-resource", 200),
    ("GET", "/.well-known/oauth-protected-resource/mcp", 200),
    ("POST", "/.well-known/oauth-protected-resource/mcp", 405),
    ("GET", "/.well-known/oauth-protected-resource/mcp/sse", 200),
    ("GET", "/mcp", 401),
    ("POST", "/mcp", 401),
    ("DELETE", "/mcp", 401),
    ("OPTIONS", "/mcp", 401),
    ("TRACE", "/mcp", 401),
    ("GET", "/mcp/sse", 401),
    ("POST", "/mcp/messages?session=x", 401),
    ("GET", "/mcp/other", 401),
    ("GET", "/.well-known/nothing", 404),
    ("GET", "/metrics", 404),
    ("GET", "/healthz", 404),
    ("GET", "/readyz", 404),
    ("GET", "/.well-known/oauth-protected-resource/api/v1", 200),
    ("GET", "/api/v1", 404),
    ("GET", "/api/v1/nothing", 404),
    ("GET", "/api/v1/openapi.json", 200),
    ("POST", "/api/v1/openapi.json", 405),
    ("GET", "/api/v1/users", 401),
    ("POST", "/api/v1/users", 401),
    ("DELETE", "/api/v1/users", 405),
    ("GET", "/api/v1/users/x", 401),
    ("PATCH", "/api/v1/users/x", 401),
    ("DELETE", "/api/v1/users/x", 401),
    ("PUT", "/api/v1/users/x/password", 401),
    ("GET", "/api/v1/users/x/sessions", 401),
    ("DELETE", "/api/v1/users/x/sessions", 401),
    ("DELETE", "/api/v1/users/x/sessions/x", 401),
    ("DELETE", "/api/v1/users/x/factors", 401),
    ("GET", "/api/v1/clients", 401),
    ("POST", "/api/v1/clients", 401),
    ("GET", "/api/v1/clients/-/x", 401),
    ("DELETE", "/api/v1/clients/-/x", 401),
    ("GET", "/api/v1/grants", 401),
    ("DELETE", "/api/v1/grants/x", 401),
    ("GET", "/api/v1/upstreams", 401),
    ("GET", "/api/v1/upstreams/mcp.example", 401),
    ("PUT", "/api/v1/upstreams/mcp.example", 401),
    ("DELETE", "/api/v1/upstreams/mcp.example", 401),
    ("PUT", "/api/v1/upstreams/mcp.example/permission", 401),
    ("DELETE", "/api/v1/upstreams/mcp.example/permission", 401),
    ("PUT", "/api/v1/upstreams/mcp.example/tools", 401),
    ("DELETE", "/api/v1/upstreams/mcp.example/tools", 401),
    ("GET", "/api/v1/groups", 401),
    ("PUT", "/api/v1/users/x/groups/dev", 401),
    ("DELETE", "/api/v1/users/x/groups/dev", 401),
    ("PUT", "/api/v1/upstreams/mcp.example/credentials/x", 401),
    ("DELETE", "/api/v1/upstreams/mcp.example/credentials/x", 401),
    ("GET", "/api/v1/users/x/hidden-members", 401),
    ("PUT", "/api/v1/users/x/hidden-members/mcp.example", 401),
    ("DELETE", "/api/v1/users/x/hidden-members/mcp.example", 401),
    ("GET", "/api/v1/connections", 401),
    ("DELETE", "/api/v1/connections/x", 401),
    ("GET", "/api/v1/services", 401),
    ("GET", "/api/v1/services/forge/connections", 401),
    ("DELETE", "/api/v1/services/forge/connections/x", 401),
    ("GET", "/api/v1/services/forge/pats", 401),
    ("PUT", "/api/v1/services/forge/pats/x", 401),
    ("DELETE", "/api/v1/services/forge/pats/x", 401),
    ("GET", "/api/v1/activity", 401),
    ("GET", "/api/v1/audit", 401),
    ("GET", "/api/v1/api-keys", 401),
    ("POST", "/api/v1/api-keys", 401),
    ("DELETE", "/api/v1/api-keys/x", 401),
    ("GET", "/api/v1/signing-keys", 401),
    ("POST", "/api/v1/signing-keys", 401),
    ("GET", "/assets/..%2f..%2fCargo.toml", 404),
    ("GET", "//evil.example/", 404),
    ("TRACE", "/", 405),
    ("OPTIONS", "/login", 405),
    ("DELETE", "/nothing", 404),
];

/// On an MCP hostname.
pub const MCP: &[(&str, &str, u16)] = &[
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
    ("PUT", "/register/x", 401),
    ("POST", "/revoke", 401),
    ("GET", "/jwks", 200),
    ("POST", "/introspect", 401),
    ("GET", "/introspect", 405),
    ("POST", "/device_authorization", 401),
    ("GET", "/device_authorization", 405),
    ("GET", "/.well-known/oauth-authorization-server", 200),
    ("GET", "/.well-known/oauth-authorization-server/mcp", 200),
    ("GET", "/.well-known/openid-configuration", 200),
    ("GET", "/mcp/.well-known/openid-configuration", 200),
    ("GET", "/.well-known/oauth-protected-resource", 200),
    ("GET", "/.well-known/oauth-protected-resource/mcp", 200),
];

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
        if origin == mcp
            && page.status == StatusCode::UNAUTHORIZED
            && !["/token", "/revoke", "/device_authorization"].contains(target)
        {
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

/// The tables above are complete when every route that the sources name is in them.
#[test]
fn no_route_is_missing_above() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut named = 0;
    for door in DOORS {
        for file in files_below(&sources.join(door)) {
            let text = std::fs::read_to_string(&file).unwrap();
            for route in routes_of(&text) {
                named += 1;
                let known = ROOT.iter().chain(MCP).any(|(_, target, _)| fits(route, target));
                assert!(known, "{}: {route} is in neither table", file.display());
            }
        }
    }
    assert!(named > 20, "routes are named in another way: {named}");
}

/// The operations of the admin API are those of its document, which is held to its router elsewhere.
#[test]
fn no_operation_is_missing_above() {
    let document = serde_json::to_value(portcullis::api::document()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            let known =
                ROOT.iter().any(|(called, target, status)| *called == method && *status == 401 && fits(path, target));
            assert!(known, "{method} {path} is not in the table");
        }
    }
}

/// The modules that name routes of the two planes.
const DOORS: [&str; 3] = ["dashboard", "forward_auth", "issuer"];

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let entries = entries.filter(|path| path.file_stem().is_none_or(|name| name != "tests"));
    let nested = entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] });
    nested.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// `.route("/path", …)` of axum, and `path = "/path"` in the attributes that describe an operation.
fn routes_of(text: &str) -> impl Iterator<Item = &str> {
    let text = text.split("\nmod tests {").next().unwrap_or_default();
    let after = |marker: &'static str| text.split(marker).skip(1).filter_map(|rest| rest.split('"').next());
    after(".route(\"").chain(after("    path = \"")).filter(|route| route.starts_with('/'))
}

/// Whether a target is one of a route, whose parts in braces stand for anything.
fn fits(route: &str, target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let mut pairs = route.split('/').zip(path.split('/'));
    route.split('/').count() == path.split('/').count()
        && pairs.all(|(named, used)| named.starts_with('{') || named == used)
}
