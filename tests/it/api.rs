//! The admin API: what it answers, to whom, and that its document says so.

use crate::client::send;
use crate::gateway::{Gateway, PASSWORD, USER, without_rates};
use crate::visitors::{forge, signed_in};
use http::{Method, StatusCode, header};
use portcullis::apikey::{ApiScope, NewApiKey};
use portcullis::cli::Process;
use portcullis::clock::Timestamp;
use portcullis::devkit::browser::{Browser, Page};
use portcullis::devkit::prover::Prover;
use portcullis::hostname::Realm;
use portcullis::ids::{ConnectionId, GrantId, Random};
use portcullis::secret::Secret;
use portcullis::store::{Connection, ConnectionState, Grant, Role};
use portcullis::tokens::NewToken;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// A gateway and a program that administers it.
struct World {
    gateway: Gateway,
    browser: Browser,
    key: Secret,
}

impl World {
    async fn new() -> Self {
        let gateway = Gateway::with(|config| {
            without_rates(config);
            config.service = forge();
        })
        .await;
        let key = key(&gateway, ApiScope::Admin).await;
        Self { gateway, browser: Browser::new().unwrap(), key }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.gateway.root())
    }

    /// With the key.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let authorization = format!("Bearer {}", self.key.expose());
        let page = self.send(method, path, &[("authorization", &authorization)], body).await;
        let body = if page.body.is_empty() { Value::Null } else { serde_json::from_str(&page.body).unwrap() };
        (page.status, body)
    }

    async fn send(&self, method: Method, path: &str, fields: &[(&str, &str)], body: Option<Value>) -> Page {
        let mut fields = fields.to_vec();
        if body.is_some() {
            fields.push(("content-type", "application/json"));
        }
        send(&self.browser, method, &self.url(path), &fields, body.map(|body| body.to_string())).await
    }

    async fn good(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }

    async fn member(&self) -> String {
        let new = json!({ "name": "bob", "password": "correct horse" });
        self.good(Method::POST, "/users", Some(new)).await["id"].as_str().unwrap().to_owned()
    }

    /// A token of somebody, with this audience below the root's origin.
    async fn token(&self, name: &str, path: &str, scope: &str) -> String {
        self.bound_token(name, path, scope, None).await
    }

    /// The same, bound to the key with this thumbprint (RFC 9449).
    async fn bound_token(&self, name: &str, path: &str, scope: &str, key: Option<&str>) -> String {
        let app = self.gateway.app();
        let user = app.store.user_by_name(name).await.unwrap().unwrap();
        let issuer = app.site.issuer(&Realm::Root);
        let grant = grant(user.id, &format!("{issuer}{path}"), app.clock.now());
        app.store.insert_grant(&grant, None).await.unwrap();
        let new = NewToken {
            issuer: &issuer,
            resource: &grant.resource,
            user: &user,
            client_id: &grant.client_id,
            scope,
            grant: grant.id,
            ttl: Duration::from_secs(3600),
            actor: None,
            confirmation: key,
        };
        app.tokens.mint(&new).unwrap()
    }
}

async fn key(gateway: &Gateway, scope: ApiScope) -> Secret {
    let new = NewApiKey { name: "test".to_owned(), scopes: vec![scope], ..NewApiKey::default() };
    gateway.app().api_keys.create(&new).await.unwrap().key
}

fn grant(user: portcullis::ids::UserId, resource: &str, created_at: Timestamp) -> Grant {
    Grant {
        id: GrantId::random(&Random::default()),
        user,
        client_id: "test".to_owned(),
        client_name: "Test".to_owned(),
        realm: String::new(),
        resource: resource.to_owned(),
        scope: "admin".to_owned(),
        created_at,
        revoked_at: None,
    }
}

fn assert_problem(page: &Page, status: u16) -> Value {
    assert_eq!(page.status.as_u16(), status, "{}", page.body);
    assert_eq!(page.headers[header::CONTENT_TYPE], "application/problem+json", "{}", page.body);
    assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
    let problem: Value = serde_json::from_str(&page.body).unwrap();
    assert_eq!((&problem["type"], &problem["status"]), (&json!("about:blank"), &json!(status)));
    assert!(!problem["title"].as_str().unwrap().is_empty() && !problem["detail"].as_str().unwrap().is_empty());
    problem
}

#[tokio::test]
async fn people_are_added_changed_and_removed() {
    let world = World::new().await;
    let bob = world.member().await;
    let path = format!("/users/{bob}");
    let change = json!({ "role": "administrator", "email": "bob@example.com", "disabled": true });
    let changed = world.good(Method::PATCH, &path, Some(change)).await;
    assert_eq!(changed["role"], "administrator");
    assert_eq!((&changed["email"], &changed["disabled"]), (&json!("bob@example.com"), &json!(true)));
    assert_eq!(world.good(Method::GET, &path, None).await, changed);
    let by_name = world.good(Method::GET, "/users?name=BOB", None).await;
    assert_eq!(by_name, json!({ "items": [changed], "next": null }));

    let password = json!({ "password": "battery staple" });
    world.good(Method::PUT, &format!("{path}/password"), Some(password)).await;
    world.good(Method::PATCH, &path, Some(json!({ "disabled": false, "email": "" }))).await;
    let signed_in = world.gateway.app().identity.verify("bob", &Secret::new("battery staple".to_owned())).await;
    assert_eq!(signed_in.unwrap().email, None);
    assert_eq!(world.good(Method::DELETE, &path, None).await, json!({ "grants": 0, "connections": 0 }));
    assert_eq!(world.ask(Method::GET, &path, None).await.0, StatusCode::NOT_FOUND);

    world.gateway.app().audit.flush().await;
    let log = world.good(Method::GET, "/audit?actor=apikey:test", None).await;
    let actions: Vec<_> = log["items"].as_array().unwrap().iter().map(|event| event["action"].clone()).collect();
    let expected = [
        "user.removed",
        "user.email_changed",
        "user.enabled",
        "user.password_changed",
        "user.email_changed",
        "user.role_changed",
        "user.disabled",
        "user.created",
    ];
    let sorted = |mut actions: Vec<Value>| {
        actions.sort_by_key(Value::to_string);
        actions
    };
    assert_eq!(sorted(actions), sorted(expected.map(Value::from).to_vec()));
}

#[tokio::test]
async fn a_gateway_keeps_an_administrator() {
    let world = World::new().await;
    let alice = world.good(Method::GET, "/users?name=alice", None).await["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/users/{alice}");
    for (method, body) in [
        (Method::DELETE, None),
        (Method::PATCH, Some(json!({ "role": "member" }))),
        (Method::PATCH, Some(json!({ "disabled": true }))),
    ] {
        let (status, problem) = world.ask(method.clone(), &path, body).await;
        assert_eq!(status, StatusCode::CONFLICT, "{method}");
        assert!(problem["detail"].as_str().unwrap().contains("only administrator"), "{problem}");
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new().await;
    let app = world.gateway.app();
    let user = app.store.user_by_name(USER).await.unwrap().unwrap();
    for number in 0..7 {
        // Several at the same second.
        let mut grant = grant(user.id, "x", Timestamp(number / 3));
        grant.client_id = format!("client-{number}");
        app.store.insert_grant(&grant, None).await.unwrap();
    }
    for number in 0..3 {
        app.audit.record(USER, "test.done", &number.to_string(), None);
    }
    app.audit.flush().await;
    for (path, expected) in [("/grants?limit=2", 7), ("/clients?limit=2", 7), ("/audit?limit=1", 3)] {
        let (mut seen, mut next) = (Vec::new(), None::<String>);
        loop {
            let after = next.as_ref().map(|next| format!("&after={next}")).unwrap_or_default();
            let page = world.good(Method::GET, &format!("{path}{after}"), None).await;
            seen.extend(page["items"].as_array().unwrap().iter().map(Value::to_string));
            match page["next"].as_str() {
                Some(cursor) => next = Some(cursor.to_owned()),
                None => break,
            }
        }
        let listed = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), listed, "{path}: something is there twice");
        assert!(listed >= expected, "{path}: {listed}");
    }
    let some = world.good(Method::GET, "/grants?client_id=client-3", None).await;
    assert_eq!(some["items"].as_array().unwrap().len(), 1);
    let id = some["items"][0]["id"].as_str().unwrap();
    world.good(Method::DELETE, &format!("/grants/{id}"), None).await;
    assert_eq!(world.ask(Method::DELETE, &format!("/grants/{id}"), None).await.0, StatusCode::NOT_FOUND);
    for bad in ["/grants?limit=0", "/grants?limit=501", "/grants?after=x", "/audit?after=YQ", "/users?after=YQBi"] {
        assert_eq!(world.ask(Method::GET, bad, None).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    assert_eq!(world.ask(Method::GET, "/grants?limit=x", None).await.0, StatusCode::BAD_REQUEST);
    let none = world.good(Method::GET, "/audit?since=2030-01-01T00:00:00Z", None).await;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn upstreams_are_decided_about() {
    let world = World::new().await;
    let put =
        async |domain: &str, body: Value| world.ask(Method::PUT, &format!("/upstreams/{domain}"), Some(body)).await;
    let approve = json!({ "decision": "approved", "alias": "notes", "name": "Notes" });
    let (status, approved) = put("MCP.example:443", approve.clone()).await;
    assert_eq!((status, &approved["domain"]), (StatusCode::OK, &json!("mcp.example")));
    let (_, denied) = put("mcp.example", json!({ "decision": "denied" })).await;
    assert_eq!((&denied["standing"], &denied["alias"]), (&json!("denied"), &json!("notes")), "what is not named stays");
    assert_eq!(put("other.example", approve).await.0, StatusCode::CONFLICT);
    for (domain, body) in [
        ("localhost", json!({ "decision": "approved" })),
        ("a_b", json!({ "decision": "approved" })),
        ("other.example", json!({ "decision": "approved", "alias": "x-enc" })),
        ("other.example", json!({ "decision": "maybe" })),
        ("other.example", json!({})),
    ] {
        assert_eq!(put(domain, body.clone()).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{domain} {body}");
    }
    world.good(Method::DELETE, "/upstreams/mcp.example", None).await;
    assert_eq!(world.ask(Method::GET, "/upstreams/mcp.example", None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_may_use_what_is_said_as_a_whole() {
    let world = World::new().await;
    world.good(Method::PUT, "/upstreams/mcp.example", Some(json!({ "decision": "approved" }))).await;
    let (permission, tools) = ("/upstreams/mcp.example/permission", "/upstreams/mcp.example/tools");
    let only = |users: &[&str], groups: &[&str]| json!({ "users": users, "groups": groups });
    for whom in [only(&[USER], &["dev"]), only(&[], &[]), only(&[USER], &[])] {
        let said = world.good(Method::PUT, permission, Some(whom.clone())).await;
        assert_eq!(said["permission"], whom, "in place of what was said before");
    }
    let unknown = world.ask(Method::PUT, permission, Some(only(&["nobody"], &[]))).await;
    assert_eq!(unknown.0, StatusCode::NOT_FOUND, "{}", unknown.1);
    world.good(Method::DELETE, permission, None).await;

    let rules = json!({ "allow": ["get_*"], "deny": [] });
    assert_eq!(world.good(Method::PUT, tools, Some(json!({ "allow": ["get_*"] }))).await, rules);
    let one = world.good(Method::GET, "/upstreams/mcp.example", None).await;
    assert_eq!((&one["permission"], &one["tools"]), (&Value::Null, &rules));
    for bad in [json!({ "deny": ["a[b]"] }), json!({ "denny": [] }), json!({ "allow": [""] })] {
        assert_eq!(world.ask(Method::PUT, tools, Some(bad)).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    }
    world.good(Method::DELETE, tools, None).await;
    assert_eq!(world.good(Method::GET, "/upstreams/mcp.example", None).await["tools"], Value::Null);

    let user = world.good(Method::GET, &format!("/users?name={USER}"), None).await["items"][0]["id"].clone();
    let group = format!("/users/{}/groups/dev", user.as_str().unwrap());
    assert_eq!(world.good(Method::PUT, &group, None).await["groups"], json!(["dev"]));
    let groups = world.good(Method::GET, "/groups", None).await;
    assert_eq!(groups["items"], json!([{ "name": "dev", "members": 1 }]));
    assert_eq!(world.good(Method::DELETE, &group, None).await["groups"], json!([]));
    assert_eq!(world.ask(Method::DELETE, &group, None).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn only_administrators_come_in() {
    let world = World::new().await;
    world.member().await;
    let introspector = NewApiKey {
        name: "server".to_owned(),
        scopes: vec![ApiScope::Introspect],
        resources: vec!["https://x.example".to_owned()],
        ..NewApiKey::default()
    };
    let weak = world.gateway.app().api_keys.create(&introspector).await.unwrap().key;
    let tokens = [
        (world.token(USER, "/api/v1", "admin").await, 200),
        (world.token(USER, "/api/v1", "offline_access admin").await, 200),
        (world.token(USER, "/api/v1", "").await, 403),
        (world.token(USER, "/mcp", "admin").await, 401),
        (world.token(USER, "/api/v1/", "admin").await, 401),
        (world.token("bob", "/api/v1", "admin").await, 403),
        (world.gateway.token_for("mcp.example").await.0, 401),
        (weak.expose().to_owned(), 403),
        (format!("{}x", world.key.expose()), 401),
        (String::new(), 401),
    ];
    for (number, (token, expected)) in tokens.iter().enumerate() {
        let page = world.send(Method::GET, "/users", &[("authorization", &format!("Bearer {token}"))], None).await;
        assert_eq!(page.status.as_u16(), *expected, "{number}: {}", page.body);
        if *expected != 200 {
            assert_problem(&page, *expected);
        }
        if *expected == 401 {
            let challenge = page.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenge.contains("/.well-known/oauth-protected-resource/api/v1\""), "{challenge}");
            assert!(
                challenge.contains("error=\"invalid_token\"") && challenge.contains("scope=\"admin\""),
                "{challenge}"
            );
        }
    }
    let bare = world.send(Method::GET, "/users", &[], None).await;
    assert_problem(&bare, 401);
    assert!(!bare.headers[header::WWW_AUTHENTICATE].to_str().unwrap().contains("error"));
    let with_header = world.send(Method::GET, "/users", &[("x-api-key", world.key.expose())], None).await;
    assert_eq!(with_header.status, StatusCode::OK);
    let basic = world.send(Method::GET, "/users", &[("authorization", "Basic YTpi")], None).await;
    assert_problem(&basic, 401);

    // A person who is disabled has no power left, whatever tokens there are.
    let admin = world.token(USER, "/api/v1", "admin").await;
    let app = world.gateway.app();
    let alice = app.store.user_by_name(USER).await.unwrap().unwrap();
    app.identity.create("carol", &Secret::new(PASSWORD.to_owned()), Role::Administrator).await.unwrap();
    app.revocations.disable(alice.id).await.unwrap();
    let late = world.send(Method::GET, "/users", &[("authorization", &format!("Bearer {admin}"))], None).await;
    assert_problem(&late, 401);
}

#[tokio::test]
async fn b48_a_token_that_is_bound_to_a_key_needs_a_proof_for_every_request() {
    let world = World::new().await;
    let prover = Prover::new().unwrap();
    let token = world.bound_token(USER, "/api/v1", "admin", Some(&prover.thumbprint())).await;
    let url = format!("{}/api/v1/users", world.gateway.root());
    let now = world.gateway.clock.now();
    let proof = prover.proof("GET", &url, Some(&token), now);
    let elsewhere = prover.proof("GET", &format!("{url}/x"), Some(&token), now);
    let dpop = format!("DPoP {token}");
    let ask = async |authorization: &str, proof: &str| {
        let fields = [("authorization", authorization), ("dpop", proof)];
        world.send(Method::GET, "/users", if proof.is_empty() { &fields[..1] } else { &fields }, None).await
    };
    assert_problem(&ask(&format!("Bearer {token}"), "").await, 401);
    assert_problem(&ask(&dpop, "").await, 401);
    let refused = ask(&dpop, &elsewhere).await;
    assert_problem(&refused, 401);
    assert!(refused.headers.contains_key("dpop-nonce"), "{:?}", refused.headers);
    assert_eq!(ask(&dpop, &proof).await.status, StatusCode::OK);
    assert_problem(&ask(&dpop, &proof).await, 401);
}

#[tokio::test]
async fn a_session_changes_something_from_our_own_pages_only() {
    let world = World::new().await;
    let (browser, csrf_token) = signed_in(&world.gateway).await;
    let (root, users) = (world.gateway.root(), world.url("/users"));
    let body = |name: &str| Some(json!({ "name": name }).to_string());
    let ours = [
        ("content-type", "application/json"),
        ("origin", root.as_str()),
        ("sec-fetch-site", "same-origin"),
        ("x-csrf-token", csrf_token.as_str()),
    ];
    assert_eq!(send(&browser, Method::GET, &users, &[], None).await.status, StatusCode::OK);
    let good = send(&browser, Method::POST, &users, &ours, body("carol")).await;
    assert_eq!(good.status, StatusCode::CREATED, "{}", good.body);
    let location = good.headers[header::LOCATION].to_str().unwrap();
    assert_eq!(send(&browser, Method::GET, &format!("{root}{location}"), &[], None).await.body, good.body);
    for (place, value) in [(1, "https://evil.example"), (2, "same-site"), (2, "cross-site"), (3, "x")] {
        let mut foreign = ours;
        foreign[place].1 = value;
        assert_problem(&send(&browser, Method::POST, &users, &foreign, body("dave")).await, 403);
    }
    assert_problem(&send(&browser, Method::POST, &users, &ours[..3], body("dave")).await, 403);
    world.gateway.app().audit.flush().await;
    let log = world.good(Method::GET, "/audit?actor=alice&action=user.created", None).await;
    assert_eq!(log["items"][0]["subject"], "carol");
}

#[tokio::test]
async fn refusals_have_one_form() {
    let world = World::new().await;
    let authorization = format!("Bearer {}", world.key.expose());
    let ask = async |method: &str, path: &str, kind: &str, body: &str| {
        let fields = [("authorization", authorization.as_str()), ("content-type", kind)];
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("{}{path}", world.gateway.root());
        send(&world.browser, method, &url, &fields, Some(body.to_owned())).await
    };
    let (large, larger) = ("x".repeat(50_000), "x".repeat(70_000));
    for (method, path, kind, body, expected) in [
        ("POST", "/api/v1/users", "application/json", "{", 400),
        ("POST", "/api/v1/users", "application/json", "{}", 422),
        ("POST", "/api/v1/users", "application/json", "{\"name\":\"a b\"}", 422),
        ("POST", "/api/v1/users", "application/json", "{\"name\":\"x\",\"more\":1}", 422),
        ("POST", "/api/v1/users", "application/json", "{\"name\":\"alice\"}", 409),
        ("POST", "/api/v1/users", "text/plain", "{}", 415),
        ("POST", "/api/v1/users", "application/json", &large, 413),
        ("POST", "/api/v1/users", "application/json", &larger, 413),
        ("PUT", "/api/v1/users", "application/json", "{}", 405),
        ("OPTIONS", "/api/v1/users", "application/json", "", 405),
        ("GET", "/api/v1/users/x", "application/json", "", 404),
        ("GET", "/api/v1/users/%ff", "application/json", "", 404),
        ("GET", "/api/v1/nothing", "application/json", "", 404),
        ("GET", "/api/v1", "application/json", "", 404),
        ("GET", "/api/v2/users", "application/json", "", 404),
        ("GET", "/api/v1/users?limit=x", "application/json", "", 400),
    ] {
        let page = ask(method, path, kind, body).await;
        assert_eq!(page.status.as_u16(), expected, "{method} {path} {}", page.body);
        assert_problem(&page, expected);
        assert!(!page.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        if expected == 405 {
            assert!(page.headers[header::ALLOW].to_str().unwrap().contains("POST"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn keys_of_programs_and_keys_that_sign() {
    let world = World::new().await;
    let new = json!({ "name": "ci", "scopes": ["admin"], "expires_in": 3600 });
    let made = world.good(Method::POST, "/api-keys", Some(new)).await;
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let listed = world.good(Method::GET, "/api-keys", None).await;
    assert!(listed.to_string().contains(id) && !listed.to_string().contains(key.split('.').nth(1).unwrap()));
    assert_eq!(world.send(Method::GET, "/users", &[("x-api-key", key)], None).await.status, StatusCode::OK);
    world.good(Method::DELETE, &format!("/api-keys/{id}"), None).await;
    assert_eq!(world.send(Method::GET, "/users", &[("x-api-key", key)], None).await.status, StatusCode::UNAUTHORIZED);

    let next = world.good(Method::POST, "/signing-keys", Some(json!({ "algorithm": "EdDSA" }))).await;
    assert_eq!((&next["state"], &next["algorithm"]), (&json!("published"), &json!("EdDSA")));
    let again = world.ask(Method::POST, "/signing-keys", Some(json!({}))).await;
    assert_eq!(again.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", again.1);
    assert_eq!(world.good(Method::GET, "/signing-keys", None).await["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn services_and_who_has_connected_them() {
    let world = World::new().await;
    let listed = world.good(Method::GET, "/services", None).await;
    assert_eq!((&listed["items"][0]["name"], &listed["items"][0]["scopes"]), (&json!("forge"), &json!(["repo"])));
    let alice = world.gateway.app().store.user_by_name(USER).await.unwrap().unwrap().id;
    let pat = format!("/services/forge/pats/{alice}");
    world.good(Method::PUT, &pat, Some(json!({ "pat": "canary-of-alice" }))).await;
    let pats = world.good(Method::GET, "/services/forge/pats", None).await;
    assert_eq!(pats["items"][0]["user"], USER);
    assert!(!pats.to_string().contains("canary"));
    let row = Connection {
        id: ConnectionId([7; 16]),
        user: alice,
        authority: "service:forge".to_owned(),
        account: String::new(),
        state: ConnectionState::NeedsConsent,
        sealed: vec![1],
        scope: "repo".to_owned(),
        expires_at: None,
        version: 1,
        personal: None,
        refreshing_since: None,
        last_error: None,
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
        last_used_at: None,
    };
    world.gateway.app().store.put_connection(&row).await.unwrap();
    for (query, count) in [(String::new(), 1), (format!("?user_id={alice}"), 1), ("?user_id=x".to_owned(), 0)] {
        let found = world.good(Method::GET, &format!("/services/forge/connections{query}"), None).await;
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{query}");
    }

    // The command line tells the same, and does it.
    let directory = tempfile::tempdir().unwrap();
    for (arguments, input, said) in [
        (&["service", "list"][..], "", "forge"),
        (&["service", "connections", "--user", "alice"], "", "needs_consent"),
        (&["service", "pat", "list"], "", "alice"),
        (&["service", "disconnect", "forge", "--user", "alice"], "", "disconnected alice from forge"),
        (&["service", "pat", "remove", "forge", "--user", "alice"], "", "has no token for forge"),
        (&["service", "pat", "set", "forge", "--user", "alice"], "canary-of-alice\n", "alice has a token for forge"),
        (&["apikey", "create", "x", "--service", "forge"], "", "."),
    ] {
        let (status, stdout, stderr) = command(&world, directory.path(), arguments, input).await;
        assert_eq!((status, stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(stdout.contains(said), "{arguments:?}: {stdout}");
    }
    for path in [format!("/services/forge/connections/{alice}"), "/services/forge/pats/x".to_owned()] {
        assert_eq!(world.ask(Method::DELETE, &path, None).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    world.good(Method::DELETE, &pat, None).await;
    assert_eq!(world.ask(Method::GET, "/services/forgery/pats", None).await.0, StatusCode::NOT_FOUND);
    let unknown = json!({ "name": "x", "services": ["forgery"] });
    let (status, problem) = world.ask(Method::POST, "/api-keys", Some(unknown)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(problem["detail"].as_str().unwrap().contains("forgery"), "{problem}");
}

/// What the router answers is compared with the document in both directions: a path that is not in it is 404 even with
/// credentials, a method that is not in it 405.
#[tokio::test]
async fn the_document_lists_exactly_the_routes() {
    let world = World::new().await;
    let served = send(&world.browser, Method::GET, &world.url("/openapi.json"), &[], None).await;
    assert_eq!(served.headers[header::CONTENT_TYPE], "application/json");
    let document: Value = serde_json::from_str(&served.body).unwrap();
    assert_eq!(document, serde_json::to_value(portcullis::api::document()).unwrap());
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 10);
    for (path, item) in paths {
        let target = format!("{}{}", world.gateway.root(), path.replace(['{', '}'], ""));
        for method in ["get", "put", "post", "delete", "patch"] {
            let page = send(&world.browser, method.to_uppercase().parse().unwrap(), &target, &[], None).await;
            let expected = if item.get(method).is_some() { 401 } else { 405 };
            assert_eq!(page.status.as_u16(), expected, "{method} {path}");
            assert_problem(&page, expected);
        }
    }
}

const LIMIT: Duration = Duration::from_secs(120);

async fn python(program: &str, arguments: &[&str], directory: &Path) -> std::process::Output {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let python = clients.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make deps`", python.display());
    let mut command = Command::new(python);
    command.args(["-m", program]).args(arguments).current_dir(directory).env("HOME", directory);
    command.stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(LIMIT, command.output()).await.expect("it takes too long").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn the_document_is_valid() {
    let directory = tempfile::tempdir().unwrap();
    let document = serde_json::to_string(&portcullis::api::document()).unwrap();
    std::fs::write(directory.path().join("openapi.json"), document).unwrap();
    let judged = python("openapi_spec_validator", &["openapi.json"], directory.path()).await;
    assert!(judged.status.success(), "{}{}", text(&judged.stdout), text(&judged.stderr));
}

/// Of the key that asks nobody may take the life while it asks: what ends keys has a key of its own, later.
#[tokio::test]
async fn schemathesis_finds_nothing() {
    let world = World::new().await;
    let app = world.gateway.app();
    let bob = world.member().await;
    for number in 0..3 {
        app.store.insert_grant(&grant(bob.parse().unwrap(), "x", Timestamp(number)), None).await.unwrap();
    }
    world.good(Method::PUT, "/upstreams/mcp.example", Some(json!({ "decision": "approved" }))).await;
    let revoke = "operation-id=revoke_api_key";
    examine(&world, &world.key, &format!("--exclude-{revoke}"), &["--phases=examples,coverage,fuzzing"]).await;
    world.good(Method::GET, "/users", None).await;
    let other = key(&world.gateway, ApiScope::Admin).await;
    examine(&world, &other, &format!("--include-{revoke}"), &["--phases=fuzzing", "--mode=positive"]).await;
}

/// No 5xx, no answer or media type that is not in the document, bodies as it says, 401 without credentials.
async fn examine(world: &World, key: &Secret, which: &str, how: &[&str]) {
    let (directory, document) = (tempfile::tempdir().unwrap(), world.url("/openapi.json"));
    let header = format!("Authorization: Bearer {}", key.expose());
    let arguments = [
        "run",
        &document,
        "--header",
        &header,
        which,
        "--max-examples=5",
        "--seed=4",
        "--generation-database=none",
        "--checks=all",
        // What a schema cannot say is refused with 422.
        "--exclude-checks=positive_data_acceptance",
        // Threads of hypothesis compile its sources at the same time, which CPython 3.11 does not survive.
        "--workers=1",
        "--no-color",
    ];
    let judged = python("schemathesis.cli", &[&arguments[..], how].concat(), directory.path()).await;
    assert!(judged.status.success(), "{}{}", text(&judged.stdout), text(&judged.stderr));
}

/// What a command says about the gateway of a world, asked from elsewhere.
async fn command(world: &World, directory: &Path, arguments: &[&str], input: &str) -> (u8, String, String) {
    let key = directory.join("key");
    std::fs::write(&key, world.key.expose()).unwrap();
    let (root, key) = (world.gateway.root(), key.display().to_string());
    told(&[&["--server", &root, "--api-key-file", &key][..], arguments].concat(), [], input).await
}

async fn told<const N: usize>(
    arguments: &[&str],
    environment: [(String, String); N],
    mut input: &str,
) -> (u8, String, String) {
    let (mut stdout, mut stderr, mut stdin) = (Vec::new(), Vec::new(), std::mem::take(&mut input).as_bytes());
    let process = Process {
        arguments: ["portcullis"].iter().chain(arguments).map(OsString::from).collect(),
        environment: environment.into(),
        stdin: &mut stdin,
        stdout: &mut stdout,
        stderr: &mut stderr,
    };
    let status = portcullis::cli::run(process).await;
    (status, text(&stdout), text(&stderr))
}

#[tokio::test]
async fn the_command_line_tells_a_gateway_elsewhere_the_same() {
    let world = World::new().await;
    let directory = tempfile::tempdir().unwrap();
    let database = world.gateway.app().config().store.url.expose().to_owned();
    for (arguments, input, said) in [
        (&["user", "add", "bob", "--password-stdin"][..], "correct horse\n", "added bob"),
        (&["user", "passwd", "bob", "--password-stdin"], "battery staple\n", "bob has a new password"),
        (&["user", "reset-factors", "bob"], "", "bob had no second factor"),
        (&["upstream", "add", "https://mcp.example/mcp", "--alias", "notes"], "", "approved mcp.example"),
        (&["upstream", "deny", "mcp.example"], "", "denied mcp.example"),
        (&["upstream", "remove", "mcp.example"], "", "removed mcp.example"),
        (&["client", "add", "ci", "--user", "bob", "--root", "--jwks", "https://ci.example/jwks"], "", "client id"),
        (&["user", "remove", "bob"], "", "removed bob: 0 grants and 0 connections ended"),
        (&["upstream", "approve", "mcp.example"], "", "approved mcp.example"),
    ] {
        let (status, stdout, stderr) = command(&world, directory.path(), arguments, input).await;
        assert_eq!((status, stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(stdout.starts_with(said), "{arguments:?}: {stdout}");
    }
    let alice = world.gateway.app().store.user_by_name(USER).await.unwrap().unwrap();
    let url = "https://client.example/metadata.json";
    let mut to_a_url = grant(alice.id, "x", Timestamp(1));
    to_a_url.client_id = url.to_owned();
    world.gateway.app().store.insert_grant(&to_a_url, None).await.unwrap();
    world.gateway.app().audit.flush().await;
    for listing in ["user", "upstream", "connection", "client", "grant", "apikey", "keys", "audit"] {
        for form in [&[listing, "list"][..], &[listing, "list", "--json"]] {
            let environment = [("PORTCULLIS__STORE__URL".to_owned(), database.clone())];
            let here = told(form, environment, "").await;
            assert_eq!((here.0, here.2.as_str()), (0, ""), "{form:?}");
            assert_eq!(command(&world, directory.path(), form, "").await, here, "{form:?}");
        }
    }
    let (_, said, _) = command(&world, directory.path(), &["client", "revoke", url], "").await;
    assert_eq!(said, format!("revoked {url}: 1 grant ended\n"));
    for (arguments, why) in [
        (&["user", "remove", "nobody"][..], "no user nobody"),
        (&["grant", "revoke", "x"], "no grant x"),
        (&["client", "revoke", "-", "nobody"], "no client nobody"),
        (&["upstream", "add", "a_b"], "a_b"),
    ] {
        let (status, stdout, stderr) = command(&world, directory.path(), arguments, "").await;
        assert_eq!((status, stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(stderr.contains(why), "{stderr}");
    }
}

#[tokio::test]
async fn the_command_line_says_why_it_is_not_let_in() {
    let world = World::new().await;
    let root = world.gateway.root();
    let home = tempfile::tempdir().unwrap();
    let environment = |key: &str| {
        let config = home.path().display().to_string();
        [("XDG_CONFIG_HOME".to_owned(), config), ("PORTCULLIS_API_KEY".to_owned(), key.to_owned())]
    };
    let list = |server: &str| {
        [&["user", "list", "--server"][..], &[server]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for (server, key, why) in [
        (root.as_str(), "", "portcullis login"),
        (root.as_str(), "wrong", "portcullis login"),
        (root.as_str(), "wrong", "PORTCULLIS_API_KEY"),
        ("http://127.0.0.1:1", "x", "cannot be reached"),
        ("http://gw.example", "x", "https"),
        ("https://x.example/mcp", "x", "gateway itself"),
    ] {
        let arguments = list(server);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (status, stdout, stderr) = told(&arguments, environment(key), "").await;
        assert_eq!((status, stdout.as_str()), (1, ""), "{server}");
        assert!(stderr.contains(why), "{server}: {stderr}");
    }
    let arguments = list(&root);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert_eq!(told(&arguments, environment(world.key.expose()), "").await.0, 0);
}

/// The examples of docs/api.md, as they are written there.
#[tokio::test]
async fn the_documented_examples_work() {
    let world = World::new().await;
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md")).unwrap();
    let block = document.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let examples: Vec<&str> = block.split("\n\n").collect();
    assert_eq!(examples.len(), 4);
    for (example, part) in examples.iter().zip(["\"alice\"", "\"linear\"", "\"next\"", "\"points\""]) {
        let mut shell = Command::new("sh");
        shell.args(["-c", &example.replace("curl -s", "curl -sf")]).kill_on_drop(true);
        shell.env("KEY", world.key.expose()).env("GATEWAY", world.gateway.root());
        let output = tokio::time::timeout(LIMIT, shell.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{example}: {}", text(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(answer.to_string().contains(part), "{example}: {answer}");
    }
}
