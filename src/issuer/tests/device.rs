//! Devices (RFC 8628): their endpoint, the page on which people type codes, and their tokens.

use super::*;

pub(super) const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

impl World {
    pub(super) async fn device_client(&self, origin: &str) -> String {
        let metadata = json!({
            "client_name": "Television",
            "grant_types": [DEVICE_GRANT, "refresh_token"],
            "token_endpoint_auth_method": "none",
        });
        let reply = self.register(origin, metadata).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
        reply.json()["client_id"].as_str().unwrap().to_owned()
    }

    /// The answer to a device's request at `notes`.
    async fn device(&self, client: &str) -> Value {
        let form = [("client_id", client), ("scope", "read"), ("resource", "https://notes.gw.example/mcp")];
        let reply = self.post(&format!("{NOTES}/device_authorization"), &form).await;
        assert_eq!((reply.status, reply.header(header::CACHE_CONTROL)), (StatusCode::OK, "no-store"), "{}", reply.body);
        reply.json()
    }

    async fn poll(&self, client: &str, device: &Value) -> Reply {
        let code = device["device_code"].as_str().unwrap();
        let form = [("grant_type", DEVICE_GRANT), ("client_id", client), ("device_code", code)];
        self.post(&format!("{NOTES}/token"), &form).await
    }

    pub(super) async fn type_code(&self, code: &str) -> Reply {
        let csrf_token = self.csrf_token().await;
        self.submit("/device", &[("user_code", code), ("csrf_token", &csrf_token)]).await
    }

    /// From the typed code to the last page.
    async fn let_in(&self, device: &Value, decision: &str) -> Reply {
        let claimed = self.type_code(device["user_code"].as_str().unwrap()).await;
        let consent = self.browse(claimed.location()).await;
        let decided = self.decide("client", &consent, decision).await;
        if decided.status == StatusCode::SEE_OTHER { self.browse(decided.location()).await } else { decided }
    }
}

#[tokio::test]
async fn from_the_code_to_tokens() {
    let world = World::new().await;
    let client = world.device_client(NOTES).await;
    let device = world.device(&client).await;
    assert_eq!(device["verification_uri"], "https://gw.example/device");
    assert_eq!((&device["interval"], &device["expires_in"]), (&json!(5), &json!(900)));
    let complete = device["verification_uri_complete"].as_str().unwrap();
    assert_eq!(world.poll(&client, &device).await.error(), "authorization_pending");

    // A link fills the form in and does nothing else.
    let page = world.browse(complete).await;
    let user_code = device["user_code"].as_str().unwrap();
    assert!(page.status == StatusCode::OK && page.body.contains(user_code), "{}", page.body);
    let claimed = world.type_code(&format!(" {}", user_code.to_lowercase().replace('-', " "))).await;
    assert_eq!(claimed.status, StatusCode::SEE_OTHER, "{}", claimed.body);
    assert!(claimed.location().starts_with("/authorize/notes?flow="), "{}", claimed.location());
    let consent = world.browse(claimed.location()).await;
    for shown in ["Television", user_code, "<code>read</code>", "started this yourself", "https://notes.gw.example/mcp"]
    {
        assert!(consent.body.contains(shown), "{shown}: {}", consent.body);
    }
    assert!(!consent.body.contains("name=\"remember\""), "never for devices");
    world.issuer.clock.advance(Duration::from_secs(10));
    assert_eq!(world.poll(&client, &device).await.error(), "authorization_pending");
    let decided = world.decide("client", &consent, "approve").await;
    let done = world.browse(decided.location()).await;
    assert!(done.status == StatusCode::OK && done.body.contains("Your device has access now"), "{}", done.body);

    let tokens = world.poll(&client, &device).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    let access = world.issuer.tokens.verify(tokens.json()["access_token"].as_str().unwrap()).unwrap();
    assert_eq!((&*access.audience, &*access.scope), ("https://notes.gw.example/mcp", "read"));
    assert_eq!(access.user, world.alice.id);
    let refreshed = world.refresh(&client, tokens.json()["refresh_token"].as_str().unwrap(), &[]).await;
    assert_eq!(refreshed.status, StatusCode::OK);
    assert_eq!(world.poll(&client, &device).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_stranger_signs_in_first_and_keeps_the_code() {
    let world = World::new().await;
    let reply = world.get("/device?user_code=wdjbmjht").await;
    assert_eq!(reply.location(), "/login?return_to=%2Fdevice%3Fuser_code%3DWDJB-MJHT");
    assert_eq!(world.get("/device?user_code=%3Cscript%3E").await.location(), "/login?return_to=%2Fdevice");
    let form = [("user_code", "WDJB-MJHT"), ("csrf_token", "wrong")];
    assert_eq!(world.submit("/device", &form).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn b21_b23_what_a_device_cannot_ask_for() {
    let world = World::new().await;
    let (client, other) = (world.device_client(NOTES).await, world.client(NOTES).await);
    let uri = format!("{NOTES}/device_authorization");
    for (form, error) in [
        (vec![], "invalid_client"),
        (vec![("client_id", "unknown")], "invalid_client"),
        (vec![("client_id", client.as_str()), ("client_secret", "x")], "invalid_client"),
        (vec![("client_id", other.as_str())], "unauthorized_client"),
        (vec![("client_id", client.as_str()), ("scope", "a\"b")], "invalid_scope"),
        (vec![("client_id", client.as_str()), ("resource", "https://gw.example/mcp")], "invalid_target"),
        (vec![("client_id", client.as_str()), ("scope", "a"), ("scope", "b")], "invalid_request"),
    ] {
        assert_eq!(world.post(&uri, &form).await.error(), error, "{form:?}");
    }
    // Not at another realm, where it is not registered.
    let elsewhere = world.post("https://files.gw.example/device_authorization", &[("client_id", &client)]).await;
    assert_eq!(elsewhere.error(), "invalid_client");
    let metadata = json!({ "grant_types": [DEVICE_GRANT], "token_endpoint_auth_method": "client_secret_post" });
    let confidential = world.register(NOTES, metadata).await.json();
    let id = confidential["client_id"].as_str().unwrap();
    assert_eq!(world.post(&uri, &[("client_id", id)]).await.error(), "invalid_client");
    let form = [("client_id", id), ("client_secret", confidential["client_secret"].as_str().unwrap())];
    assert_eq!(world.post(&uri, &form).await.status, StatusCode::OK);
}

#[tokio::test]
async fn b10_b42_a_code_is_worth_nothing_to_another_client() {
    let world = World::new().await;
    let (client, other) = (world.device_client(NOTES).await, world.device_client(NOTES).await);
    let device = world.device(&client).await;
    assert_eq!(world.poll(&other, &device).await.error(), "invalid_grant", "nor that it waits");
    world.let_in(&device, "approve").await;
    assert_eq!(world.poll(&other, &device).await.error(), "invalid_grant");
    assert_eq!(world.poll(&other, &json!({ "device_code": "unknown" })).await.error(), "invalid_grant");
    assert_eq!(world.poll(&client, &device).await.status, StatusCode::OK);
}

#[tokio::test]
async fn b44_codes_are_long_and_guesses_are_few() {
    let world = World::new().await;
    let client = world.device_client(NOTES).await;
    let device = world.device(&client).await;
    assert!(device["device_code"].as_str().unwrap().len() >= 43, "256 bits");
    assert_ne!(world.device(&client).await["user_code"], device["user_code"]);
    // What can be no code is not counted.
    for _ in 0..15 {
        assert_eq!(world.type_code("wrong").await.status, StatusCode::BAD_REQUEST);
    }
    for _ in 0..10 {
        let reply = world.type_code("BBBB-BBBB").await;
        assert!(reply.status == StatusCode::BAD_REQUEST && reply.body.contains("No device waits"), "{}", reply.body);
    }
    let user_code = device["user_code"].as_str().unwrap();
    assert_eq!(world.type_code(user_code).await.status, StatusCode::TOO_MANY_REQUESTS, "even the right one");
    // Another session of the same person is as locked out, another person is not.
    let again = World {
        cookie: cookie_of(&world.issuer.sessions, &world.alice).await,
        ..world.joined_by("eve", Role::Member).await
    };
    assert_eq!(again.type_code(user_code).await.status, StatusCode::TOO_MANY_REQUESTS);
    let bob = world.joined_by("bob", Role::Member).await;
    assert_eq!(bob.type_code(user_code).await.status, StatusCode::SEE_OTHER);
    world.issuer.clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(world.type_code("BBBB-BBBB").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn b44_attempts_are_limited_by_address() {
    let mut world = World::new().await;
    let issuer = Arc::get_mut(&mut world.issuer).unwrap();
    let rate = Rate { count: 1, period: Duration::from_secs(3600), burst: 3 };
    issuer.limits = Arc::new(RateLimits::new(&Limits { login: rate, ..plenty() }));
    for _ in 0..3 {
        assert_eq!(world.type_code("nonsense").await.status, StatusCode::BAD_REQUEST);
    }
    let reply = world.joined_by("bob", Role::Member).await.type_code("nonsense").await;
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS, "the same address");
    assert!(reply.headers.contains_key(header::RETRY_AFTER));
}

#[tokio::test]
async fn b45_slow_down_adds_five_seconds() {
    let world = World::new().await;
    let client = world.device_client(NOTES).await;
    let (device, other) = (world.device(&client).await, world.device(&client).await);
    let wait = |seconds| world.issuer.clock.advance(Duration::from_secs(seconds));
    assert_eq!(world.poll(&client, &device).await.error(), "authorization_pending");
    assert_eq!(world.poll(&client, &device).await.error(), "slow_down");
    wait(7);
    assert_eq!(world.poll(&client, &device).await.error(), "slow_down", "10 seconds by now");
    wait(11);
    assert_eq!(world.poll(&client, &device).await.error(), "slow_down", "15 seconds by now");
    wait(21);
    assert_eq!(world.poll(&client, &device).await.error(), "authorization_pending");
    assert_eq!(world.poll(&client, &other).await.error(), "authorization_pending", "each device has its own pace");
    // Haste keeps nobody from what was approved.
    world.let_in(&device, "approve").await;
    assert_eq!(world.poll(&client, &device).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a47_whoever_types_the_code_first_owns_the_device() {
    let world = World::new().await;
    let client = world.device_client(NOTES).await;
    let device = world.device(&client).await;
    let user_code = device["user_code"].as_str().unwrap();
    let bob = world.joined_by("bob", Role::Member).await;
    let consent = world.browse(world.type_code(user_code).await.location()).await;
    let late = bob.type_code(user_code).await;
    assert!(late.status == StatusCode::BAD_REQUEST && late.body.contains("No device waits"), "{}", late.body);
    // Nor with the handle of the flow.
    assert_eq!(bob.decide("client", &consent, "approve").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.poll(&client, &device).await.error(), "authorization_pending");
    // The person may begin again in another window; one of the two decides.
    let again = world.browse(world.type_code(user_code).await.location()).await;
    let decided = world.decide("client", &again, "approve").await;
    assert_eq!(world.browse(decided.location()).await.status, StatusCode::OK);
    let decided = world.decide("client", &consent, "approve").await;
    let reply = world.browse(decided.location()).await;
    assert!(reply.status == StatusCode::BAD_REQUEST && reply.body.contains("another window"), "{}", reply.body);
    assert_eq!(world.issuer.store.grants_of(world.alice.id).await.unwrap().len(), 1);
    assert!(world.issuer.store.grants_of(bob.alice.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn who_says_no_keeps_the_device_out() {
    let world = World::new().await;
    let client = world.device_client(NOTES).await;
    let device = world.device(&client).await;
    let reply = world.let_in(&device, "deny").await;
    assert!(reply.status == StatusCode::OK && reply.body.contains("got no access"), "{}", reply.body);
    assert_eq!(world.poll(&client, &device).await.error(), "access_denied");
    assert_eq!(world.type_code(device["user_code"].as_str().unwrap()).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_code_expires() {
    let world = World::new().await;
    let client = world.device_client(NOTES).await;
    let (device, approved) = (world.device(&client).await, world.device(&client).await);
    world.let_in(&approved, "approve").await;
    let claimed = world.type_code(device["user_code"].as_str().unwrap()).await;
    let consent = world.browse(claimed.location()).await;
    let decided = world.decide("client", &consent, "approve").await;
    world.issuer.clock.advance(Duration::from_secs(900));
    assert_eq!(world.poll(&client, &device).await.error(), "expired_token");
    assert_eq!(world.poll(&client, &approved).await.error(), "expired_token");
    assert_eq!(world.type_code(device["user_code"].as_str().unwrap()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.browse(decided.location()).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn b7_of_a_hundred_requests_one_gets_tokens() {
    let world = Arc::new(World::new().await);
    let client = world.device_client(NOTES).await;
    let device = world.device(&client).await;
    world.let_in(&device, "approve").await;
    let attempts = (0..100).map(|_| {
        let (world, client, device) = (world.clone(), client.clone(), device.clone());
        tokio::spawn(async move { world.poll(&client, &device).await.status })
    });
    let mut winners = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        winners += usize::from(attempt.await.unwrap() == StatusCode::OK);
    }
    assert_eq!(winners, 1);
}

#[tokio::test]
async fn a_device_that_was_let_in_and_taken_back_gets_nothing() {
    let world = World::new().await;
    let client = world.device_client(NOTES).await;
    let device = world.device(&client).await;
    world.let_in(&device, "approve").await;
    let grant = world.issuer.store.grants_of(world.alice.id).await.unwrap().remove(0);
    world.issuer.revocations.grant(grant.id).await.unwrap();
    assert_eq!(world.poll(&client, &device).await.error(), "invalid_grant");
}

#[tokio::test]
async fn an_unknown_upstream_waits_for_an_administrator_here_too() {
    let label = "nvrxaltborwgc43tnfqw4ltdn5wq-enc";
    let origin = format!("https://{label}.gw.example");
    let world = World::with(Unknown::Ask, Role::Member).await;
    let client = world.device_client(&origin).await;
    let device = world.post(&format!("{origin}/device_authorization"), &[("client_id", &client)]).await.json();
    let claimed = world.type_code(device["user_code"].as_str().unwrap()).await;
    let reply = world.browse(claimed.location()).await;
    assert!(reply.status == StatusCode::FORBIDDEN && reply.body.contains("mcp.atlassian.com"), "{}", reply.body);
    // Giving up tells the device.
    let cancel = reply.body.split("href=\"").find(|rest| rest.contains("cancel=denied")).unwrap();
    let cancel = cancel.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    assert!(world.browse(&cancel).await.body.contains("got no access"));
    let code = device["device_code"].as_str().unwrap();
    let form = [("grant_type", DEVICE_GRANT), ("client_id", client.as_str()), ("device_code", code)];
    assert_eq!(world.post(&format!("{origin}/token"), &form).await.error(), "access_denied");
}
