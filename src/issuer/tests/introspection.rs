//! Introspection (RFC 7662).

use super::*;
use crate::apikey::{ApiScope, NewApiKey};

const INTROSPECT: &str = "https://notes.gw.example/introspect";

impl World {
    /// Identifier and Basic header of a new confidential client of `notes`.
    pub(super) async fn confidential(&self) -> (String, String) {
        let metadata = json!({"client_name": "Service", "redirect_uris": [CALLBACK]});
        let client = self.register(NOTES, metadata).await.json();
        let (id, secret) = (text(&client, "client_id"), text(&client, "client_secret"));
        (id.to_owned(), format!("Basic {}", data_encoding::BASE64.encode(format!("{id}:{secret}").as_bytes())))
    }

    /// A Bearer header with a new key for introspection.
    pub(super) async fn key(&self, resource: &str) -> String {
        self.key_with(vec![ApiScope::Introspect], vec![resource.to_owned()]).await
    }

    async fn key_with(&self, scopes: Vec<ApiScope>, resources: Vec<String>) -> String {
        let new = NewApiKey { name: "server".to_owned(), scopes, resources, ..NewApiKey::default() };
        format!("Bearer {}", self.issuer.api_keys.create(&new).await.unwrap().key.expose())
    }

    /// Tokens of a confidential client.
    pub(super) async fn tokens_of(&self, client: &str, basic: &str) -> Value {
        let code = self.code(client, "read").await;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.post_with(&format!("{NOTES}/token"), &form, Some(basic)).await.json()
    }

    pub(super) async fn introspect(&self, token: &str, authorization: &str) -> Value {
        let reply = self.post_with(INTROSPECT, &[("token", token)], Some(authorization)).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        assert_eq!(reply.header(header::CACHE_CONTROL), "no-store");
        reply.json()
    }
}

pub(super) fn inactive() -> Value {
    json!({"active": false})
}

#[tokio::test]
async fn b43_clients_and_resource_servers_prove_who_they_are() {
    let world = World::new().await;
    let public = world.client(NOTES).await;
    let broker = world.key_with(Vec::new(), Vec::new()).await;
    let foreign = world.key("https://notes.gw.example").await.replace('.', ".x");
    for (authorization, form, scheme) in [
        (None, vec![], "Basic"),
        (None, vec![("client_id", public.as_str())], "Basic"),
        (None, vec![("client_id", "unknown"), ("client_secret", "x")], "Basic"),
        (Some("Basic eDp5"), vec![], "Basic"),
        (Some("Bearer x"), vec![], "Basic"),
        (Some(broker.as_str()), vec![], "Bearer"),
        (Some(foreign.as_str()), vec![], "Basic"),
    ] {
        let form = [&form[..], &[("token", "x")]].concat();
        let reply = world.post_with(INTROSPECT, &form, authorization).await;
        let refused = (reply.status, reply.error());
        assert_eq!(refused, (StatusCode::UNAUTHORIZED, "invalid_client".to_owned()), "{authorization:?} {form:?}");
        assert!(reply.header(header::WWW_AUTHENTICATE).starts_with(scheme), "{authorization:?} {form:?}");
    }
    let key = world.key("https://notes.gw.example").await;
    let reply = world.post_with(INTROSPECT, &[], Some(&key)).await;
    assert_eq!((reply.status, reply.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_request"));
    assert_eq!(reply.header(header::WWW_AUTHENTICATE), "", "nothing is wrong with the key");
    let twice = [("token", "x"), ("client_id", "x"), ("client_secret", "y")];
    let reply = world.post_with(INTROSPECT, &twice, Some("Basic eDp5")).await;
    assert_eq!((reply.status, reply.header(header::WWW_AUTHENTICATE)), (StatusCode::BAD_REQUEST, ""), "{}", reply.body);
    assert!(reply.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
}

#[tokio::test]
async fn whoever_shows_no_key_is_limited_by_address() {
    let mut world = World::new().await;
    let key = world.key("https://notes.gw.example").await;
    let once = Rate { count: 1, period: Duration::from_secs(3600), burst: 1 };
    let few = Limits { token_endpoint: once, ..plenty() };
    Arc::get_mut(&mut world.issuer).unwrap().limits = Arc::new(RateLimits::new(&few));
    assert_eq!(world.post(INTROSPECT, &[("token", "x")]).await.status, StatusCode::UNAUTHORIZED);
    for path in ["introspect", "revoke"] {
        let limited = world.post(&format!("{NOTES}/{path}"), &[("token", "x")]).await;
        assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert!(limited.headers.contains_key(header::RETRY_AFTER), "{path}");
    }
    assert_eq!(world.introspect("unknown", &key).await, inactive());
}

#[tokio::test]
async fn b43_a_client_learns_about_its_own_tokens_only() {
    let world = World::new().await;
    let ((client, basic), (_, other)) = (world.confidential().await, world.confidential().await);
    let tokens = world.tokens_of(&client, &basic).await;
    let (access_token, refresh_token) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    let now = world.issuer.clock.now().seconds();

    let told = world.introspect(access_token, &basic).await;
    assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!("Bearer")));
    assert_eq!((&told["iss"], &told["aud"]), (&json!(NOTES), &json!("https://notes.gw.example/mcp")));
    assert_eq!((text(&told, "sub"), text(&told, "username")), (world.alice.id.to_string().as_str(), "alice"));
    assert_eq!((text(&told, "client_id"), text(&told, "scope")), (client.as_str(), "read"));
    assert_eq!(text(&told, "jti").len(), 32);
    assert!(told["iat"].as_i64().unwrap() <= now && told["exp"].as_i64().unwrap() > now);
    assert!(told.get("act").is_none() && told.get("cnf").is_none() && told.get("gid").is_none());

    let told = world.introspect(refresh_token, &basic).await;
    assert_eq!((&told["active"], text(&told, "client_id")), (&json!(true), client.as_str()));
    assert_eq!((text(&told, "aud"), told.get("token_type")), ("https://notes.gw.example/mcp", None));

    for token in [access_token, refresh_token, "unknown", "a.b.c"] {
        assert_eq!(world.introspect(token, &other).await, inactive(), "{token}");
    }
    // The hint may be wrong or one that nobody knows.
    for hint in ["refresh_token", "access_token", "x"] {
        let form = [("token", access_token), ("token_type_hint", hint)];
        assert_eq!(world.post_with(INTROSPECT, &form, Some(&basic)).await.json()["active"], json!(true));
    }
}

#[tokio::test]
async fn b43_a_resource_server_learns_about_tokens_for_its_resource_only() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let tokens = world.signed_in(&client, "read").await;
    let (access_token, refresh_token) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    for (resource, active) in [
        ("https://notes.gw.example", true),
        ("https://notes.gw.example/mcp", true),
        ("https://notes.gw.example/mcp/x", false),
        ("https://notes.gw.example/mc", false),
        ("https://files.gw.example", false),
        ("https://gw.example", false),
    ] {
        let key = world.key(resource).await;
        let told = world.introspect(access_token, &key).await;
        assert_eq!(told["active"], json!(active), "{resource}");
        assert!(active || told == inactive(), "{told}");
        assert_eq!(world.introspect(refresh_token, &key).await, inactive());
    }
    // Each issuer answers for its own tokens.
    let key = world.key("https://notes.gw.example").await;
    let form = [("token", access_token)];
    for elsewhere in ["https://files.gw.example/introspect", "https://gw.example/introspect"] {
        assert_eq!(world.post_with(elsewhere, &form, Some(&key)).await.json(), inactive(), "{elsewhere}");
    }
    let reply = world.send(with_header(&key)).await;
    assert_eq!(reply.json(), inactive());
}

/// A request with the key in a header of its own.
fn with_header(bearer: &str) -> Request<Body> {
    Request::post(INTROSPECT)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header("x-api-key", bearer.strip_prefix("Bearer ").unwrap())
        .body(Body::from("token=unknown"))
        .unwrap()
}

#[tokio::test]
async fn b43_what_has_ended_is_inactive_and_nothing_else_is_said() {
    let world = World::new().await;
    let (client, basic) = world.confidential().await;
    let key = world.key("https://notes.gw.example").await;
    let first = world.tokens_of(&client, &basic).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", text(&first, "refresh_token"))];
    let second = world.post_with(&format!("{NOTES}/token"), &form, Some(&basic)).await.json();
    assert_eq!(world.introspect(text(&first, "refresh_token"), &basic).await, inactive());
    assert_eq!(world.introspect(text(&second, "refresh_token"), &basic).await["active"], json!(true));

    world.issuer.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(world.introspect(text(&second, "access_token"), &basic).await, inactive());
    assert_eq!(world.introspect(text(&second, "refresh_token"), &basic).await["active"], json!(true));

    let third = world.tokens_of(&client, &basic).await;
    assert_eq!(world.introspect(text(&third, "access_token"), &key).await["active"], json!(true));
    world.issuer.store.set_user_disabled(world.alice.id, true).await.unwrap();
    for (token, who) in [("access_token", &basic), ("access_token", &key), ("refresh_token", &basic)] {
        assert_eq!(world.introspect(text(&third, token), who).await, inactive(), "{token}");
    }
    world.issuer.store.set_user_disabled(world.alice.id, false).await.unwrap();
    let revoke = [("token", text(&third, "access_token"))];
    world.post_with(&format!("{NOTES}/revoke"), &revoke, Some(&basic)).await;
    for token in ["access_token", "refresh_token"] {
        assert_eq!(world.introspect(text(&third, token), &basic).await, inactive(), "{token}");
    }
}
