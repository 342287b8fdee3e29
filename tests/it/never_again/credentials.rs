//! What lets somebody in: a credential of ours that is good now, and nothing that looks like one.

use super::{OK, ask, in_front_of};
use crate::client::{Client, mcp_url, send};
use crate::forward_auth::{cookie_of, root_token};
use crate::gateway::{Gateway, PASSWORD, USER, upstream};
use crate::raw::{RawUpstream, field, status};
use crate::upstreams::Notes;
use data_encoding::BASE64URL_NOPAD;
use http::{Method, StatusCode};
use portcullis::apikey::{ApiScope, NewApiKey};
use portcullis::clock::Clock;
use portcullis::config::UpstreamAuth;
use portcullis::secret::Secret;
use portcullis::store::Role;
use ring::hmac;
use serde_json::json;
use std::time::Duration;

/// What is said to be a secret where nobody has set one.
const DEFAULTS: [&str; 12] = [
    "",
    "secret",
    "changeme",
    "change-me",
    "default",
    "password",
    "admin",
    "portcullis",
    "mcp",
    "your-256-bit-secret",
    "00000000000000000000000000000000",
    "my-test-key",
];

/// Places that want a credential: on the hostname of an upstream (`true`) and on the root domain, with the status of refusal.
const GUARDED: [(bool, &str, u16); 9] = [
    (true, "GET /mcp", 401),
    (true, "DELETE /anything", 401),
    (false, "GET /mcp", 401),
    (false, "GET /mcp/sse", 401),
    (false, "GET /api/v1/users", 401),
    (false, "GET /verify", 401),
    (false, "POST /auth/init", 401),
    (false, "POST /introspect", 401),
    (false, "GET /connections", 303),
];

struct Doors {
    notes: RawUpstream,
    gateway: Gateway,
}

impl Doors {
    async fn new() -> Self {
        let notes = RawUpstream::answering(OK).await;
        let gateway = in_front_of(&[&notes.authority]).await;
        Self { notes, gateway }
    }

    /// Sends these header lines to every guarded place: each refuses, and nothing reaches the upstream.
    async fn all_refuse(&self, lines: &[String]) {
        let root = format!("localhost:{}", self.gateway.port());
        let mcp = self.gateway.host_of(&self.notes.authority);
        for (at_mcp, place, refused) in GUARDED {
            let host = if at_mcp { &mcp } else { &root };
            let (line, host) = (format!("{place} HTTP/1.1"), format!("Host: {host}"));
            let form = ["Content-Type: application/x-www-form-urlencoded", "Content-Length: 0"];
            let given = lines.iter().map(String::as_str);
            let head: Vec<&str> = [line.as_str(), &host].into_iter().chain(form).chain(given).collect();
            let (answered, head, body) = ask(self.gateway.port(), &head).await;
            assert_eq!(answered, refused, "{place} with {lines:?}: {head}{body}");
        }
        assert_eq!(self.notes.connections(), 0, "{lines:?}");
    }
}

/// A token that anybody can make: signed with a secret that everybody knows, or not at all.
fn forged(secret: &str, algorithm: &str, issuer: &str) -> String {
    let now = Clock::system().now().seconds();
    let claims = json!({
        "iss": issuer, "aud": format!("{issuer}/mcp"), "sub": "00000000000000000000000000000000", "username": USER,
        "client_id": "test", "gid": "00000000000000000000000000000000", "jti": "1", "scope": "admin",
        "iat": now, "exp": now + 3600, "role": "administrator",
    });
    let part = |value: &serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message =
        format!("{}.{}", part(&json!({ "typ": "at+jwt", "alg": algorithm, "kid": "default" })), part(&claims));
    let signature = match algorithm {
        "none" => String::new(),
        _ => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            BASE64URL_NOPAD.encode(hmac::sign(&key, message.as_bytes()).as_ref())
        }
    };
    format!("{message}.{signature}")
}

#[tokio::test]
async fn a7_no_magic_header_and_no_default_secret_opens_anything() {
    let doors = Doors::new().await;
    for line in [
        "X-Mcp-Init-Host: localhost",
        "X-Router-Key: secret",
        "Router-Key: secret-api-key",
        "Mcp-Init-Host: localhost",
        "X-Internal: true",
        "X-Internal-Request: 1",
        "X-Debug: 1",
        "X-Admin: true",
        "X-Role: administrator",
        "X-User-Id: 1",
        "X-User-Name: alice",
        "X-Forwarded-User: alice",
        "X-Remote-User: alice",
        "Remote-User: alice",
        "X-Auth-Request-User: alice",
        "X-Authenticated-User: alice",
        "X-Forwarded-For: 127.0.0.1",
        "X-Real-Ip: 127.0.0.1",
        "X-Forwarded-Access-Token: x",
        "X-Original-Url: /health",
        "X-Rewrite-Url: /health",
        "X-Forwarded-Uri: /health",
        "X-Http-Method-Override: OPTIONS",
        "X-Client-Cert: x",
        "X-Ssl-Client-Verify: SUCCESS",
        "X-Portcullis-User: alice",
        "Proxy-Authorization: Basic YWRtaW46YWRtaW4=",
        "Authorization: Basic YWRtaW46YWRtaW4=",
        "Authorization: Basic YWxpY2U6",
        "Cookie: portcullis=alice",
        "Cookie: __Host-portcullis=1; session=admin",
        "Upgrade-Insecure-Requests: 1",
    ] {
        doors.all_refuse(&[line.to_owned()]).await;
    }
    let issuers = [doors.gateway.root(), doors.gateway.url_of(&doors.notes.authority)];
    for secret in DEFAULTS {
        for issuer in &issuers {
            for token in [forged(secret, "HS256", issuer), forged(secret, "none", issuer)] {
                doors.all_refuse(&[format!("Authorization: Bearer {token}")]).await;
            }
        }
        doors.all_refuse(&[format!("Authorization: Bearer {secret}x")]).await;
        doors.all_refuse(&[format!("X-Api-Key: {secret}x")]).await;
    }
    // No key of an installation is that of another one.
    let keys = |gateway: &Gateway| gateway.app().tokens.jwks()["keys"].clone();
    assert_ne!(keys(&doors.gateway), keys(&Gateway::start().await));
    // A header changes the authority of a request with a good token no more than that of any other.
    let (token, _) = doors.gateway.token_for(&doors.notes.authority).await;
    let mcp = doors.gateway.host_of(&doors.notes.authority);
    let elsewhere = ["X-Forwarded-Host: localhost", "X-Mcp-Init-Host: localhost", "X-Host: localhost"];
    let lines = ["GET /api/v1/users HTTP/1.1", &format!("Host: {mcp}"), &format!("Authorization: Bearer {token}")];
    let (answered, ..) = ask(doors.gateway.port(), &[&lines[..], &elsewhere].concat()).await;
    assert_eq!((answered, doors.notes.connections()), (200, 1), "it is the upstream's path");
}

#[tokio::test]
async fn a10_a_token_of_another_deployment_is_refused() {
    let doors = Doors::new().await;
    let twin = Doors::new().await;
    // The same person, client, hostname and issuer, and another installation.
    let app = twin.gateway.app();
    let user = app.store.user_by_name(USER).await.unwrap().unwrap();
    let url = doors.gateway.url_of(&doors.notes.authority);
    let (_, grant) = twin.gateway.token_for(&twin.notes.authority).await;
    let new = portcullis::tokens::NewToken {
        issuer: &url,
        resource: &format!("{url}/mcp"),
        user: &user,
        client_id: "test",
        scope: "",
        grant,
        ttl: Duration::from_secs(3600),
        actor: None,
        confirmation: None,
    };
    let token = app.tokens.mint(&new).unwrap();
    doors.all_refuse(&[format!("Authorization: Bearer {token}")]).await;
    let key = NewApiKey { name: "theirs".to_owned(), scopes: vec![ApiScope::Admin], ..NewApiKey::default() };
    let key = app.api_keys.create(&key).await.unwrap().key;
    doors.all_refuse(&[format!("X-Api-Key: {}", key.expose())]).await;
    doors.all_refuse(&[format!("Cookie: {}", cookie_of(&twin.gateway, USER).await)]).await;
}

/// Whatever is wrong with a credential, the answer is a refusal, and a good one beside it makes up for nothing.
#[tokio::test]
async fn a11_what_cannot_be_verified_is_denied() {
    let doors = Doors::new().await;
    let (token, _) = doors.gateway.token_for(&doors.notes.authority).await;
    let host = doors.gateway.host_of(&doors.notes.authority);
    for value in
        ["", " ", "Bearer", "Bearer  ", "Bearer a b", "Bearer \u{e9}", "bearer,x", "Token x", "Negotiate x", "Bearer ="]
    {
        let bad = format!("Authorization: {value}");
        doors.all_refuse(std::slice::from_ref(&bad)).await;
        // A good one beside it does not help, in either order.
        let good = format!("Authorization: Bearer {token}");
        for (first, second) in [(&bad, &good), (&good, &bad)] {
            let head = ["GET /mcp HTTP/1.1", &format!("Host: {host}"), first, second];
            assert_eq!(ask(doors.gateway.port(), &head).await.0, 400, "{value:?}");
        }
    }
    assert_eq!(doors.notes.connections(), 0);
}

/// Tokens of two people begin alike, with more than any shortened key of a cache would have. Whose is whose is never in doubt.
#[tokio::test]
async fn a13_tokens_with_a_common_beginning_never_share_an_identity() {
    let gateway = Gateway::start().await;
    gateway.add("bob").await;
    let [alice, bob] = [root_token(&gateway, USER).await, root_token(&gateway, "bob").await];
    let common = alice.bytes().zip(bob.bytes()).take_while(|(a, b)| a == b).count();
    assert!(common > 64, "only {common} bytes are the same: the case needs another one");
    let root = format!("localhost:{}", gateway.port());
    let named = async |token: &str| {
        let lines = ["GET /verify HTTP/1.1", &format!("Host: {root}"), &format!("Authorization: Bearer {token}")];
        let (answered, head, _) = ask(gateway.port(), &lines).await;
        (answered, field(&head, "x-user-name"))
    };
    for _ in 0..3 {
        assert_eq!(named(&alice).await, (200, Some(USER.to_owned())));
        assert_eq!(named(&bob).await, (200, Some("bob".to_owned())));
    }
    // Both are remembered by now. What is made of pieces of them is neither.
    let signature = alice.rfind('.').unwrap();
    for cut in
        [8, 16, 20, 32, common, common + 1, common + 40, signature, signature + 1, signature + 20, alice.len() - 2]
    {
        for (first, second) in [(&alice, &bob), (&bob, &alice)] {
            let begun = &first[..cut.min(first.len())];
            for mixed in [format!("{begun}{}", second.get(cut..).unwrap_or_default()), begun.to_owned()] {
                if mixed != alice && mixed != bob {
                    assert_eq!(named(&mixed).await, (401, None), "cut at {cut}");
                }
            }
        }
    }
    assert_eq!(named(&format!("{alice}{bob}")).await, (401, None));
    // Nor are keys of programs known by their beginning.
    let new = |name: &str| NewApiKey { name: name.to_owned(), scopes: vec![ApiScope::Admin], ..NewApiKey::default() };
    let keys = &gateway.app().api_keys;
    let (one, other) = (keys.create(&new("one")).await.unwrap().key, keys.create(&new("other")).await.unwrap().key);
    let (one, other) = (one.expose(), other.expose());
    let point = one.find('.').unwrap() + 1;
    for key in
        [one[..point].to_owned(), one[..one.len() - 1].to_owned(), format!("{}{}", &one[..point], &other[point..])]
    {
        let lines = ["GET /api/v1/users HTTP/1.1", &format!("Host: {root}"), &format!("X-Api-Key: {key}")];
        assert_eq!(ask(gateway.port(), &lines).await.0, 401, "{key}");
    }
}

/// Probes are nobody: what calls itself one is told what everybody is told.
#[tokio::test]
async fn a19_no_user_agent_authorises() {
    let doors = Doors::new().await;
    for agent in [
        "kube-probe/1.31",
        "GoogleHC/1.0",
        "ELB-HealthChecker/2.0",
        "Amazon-Route53-Health-Check-Service",
        "Envoy/HC",
        "HAProxy",
        "Consul Health Check",
        "Prometheus/2.54.1",
        "Blackbox Exporter/0.25.0",
        "UptimeRobot/2.0",
        "curl/8.5.0",
        "portcullis",
        "GoogleStackdriverMonitoring-UptimeChecks(https://cloud.google.com/monitoring)",
        "Claude-User/1.0",
        "",
    ] {
        doors.all_refuse(&[format!("User-Agent: {agent}")]).await;
        let good = format!("User-Agent: {agent}\r\nAccept: text/plain\r\nX-Health-Check: 1");
        doors.all_refuse(&[good]).await;
    }
}

/// What was taken back stays so: the lists in memory are made again from the database, and so is the end of every family.
#[tokio::test]
async fn a46_what_was_revoked_is_worth_nothing_after_a_restart() {
    let notes = Notes::start().await;
    let authority = notes.authority();
    let gateway = Gateway::with(move |config| {
        crate::visitors::without_limits(config);
        config.upstream.push(upstream(&authority, UpstreamAuth::OAuth(Box::default())));
    })
    .await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let (by_client, by_person) = (client.connect().await, client.connect().await);
    let (by_reuse, alive) = (client.connect().await, client.connect().await);
    let successor = crate::client::tokens(client.refresh(&by_reuse.refresh).await.1);
    let third = crate::client::tokens(client.refresh(&successor.refresh).await.1);
    gateway.clock.advance(Duration::from_secs(61));
    assert_eq!(client.refresh(&by_reuse.refresh).await.0, StatusCode::BAD_REQUEST, "reuse");
    let body = crate::visitors::encoded(&[("token", &by_client.refresh), ("client_id", &client.client_id)]);
    let revoked = send(&client.browser, Method::POST, &client.endpoint("revocation_endpoint"), &[], Some(body)).await;
    assert_eq!(revoked.status, StatusCode::OK);
    let verified = gateway.app().tokens.verify(&by_person.access).unwrap();
    gateway.app().revocations.grant(verified.grant()).await.unwrap();
    let (plain, grant) = gateway.token_for(&notes.authority()).await;
    gateway.app().revocations.grant(grant).await.unwrap();

    let mut gateway = gateway;
    for restart in 0..2 {
        gateway = gateway.restart().await;
        for token in [&by_client.access, &by_person.access, &by_reuse.access, &successor.access, &third.access, &plain]
        {
            assert_eq!(client.call(token, "whoami").await.0, StatusCode::UNAUTHORIZED, "restart {restart}");
        }
        for token in [&by_client.refresh, &by_person.refresh, &by_reuse.refresh, &successor.refresh, &third.refresh] {
            let (status, answer) = client.refresh(token).await;
            assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")), "{restart}");
        }
        assert_eq!(client.call(&alive.access, "whoami").await.0, StatusCode::OK, "restart {restart}");
    }
    // So is the end of a person, who must not be the last administrator.
    let password = Secret::new(PASSWORD.to_owned());
    gateway.app().identity.create("carol", &password, Role::Administrator).await.unwrap();
    let cookie = cookie_of(&gateway, USER).await;
    let user = gateway.app().store.user_by_name(USER).await.unwrap().unwrap();
    gateway.app().revocations.disable(user.id).await.unwrap();
    let gateway = gateway.restart().await;
    let lines = ["GET /verify HTTP/1.1", &format!("Host: localhost:{}", gateway.port()), &format!("Cookie: {cookie}")];
    let (answered, head, _) = ask(gateway.port(), &lines).await;
    assert_eq!((answered, status(&head)), (401, 401));
    assert_eq!(client.refresh(&alive.refresh).await.0, StatusCode::BAD_REQUEST);
}
