//! Who may register, for how long, and managing a registration (RFC 7592).

use super::*;
use crate::config::RegistrationMode;
use crate::secret::Secret;
use http::Method;

/// A registration as its client knows it.
struct Registration {
    uri: String,
    token: String,
    answer: Value,
}

impl Registration {
    fn of(answer: Value) -> Self {
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Self { uri: text("registration_client_uri"), token: text("registration_access_token"), answer }
    }

    fn id(&self) -> &str {
        self.answer["client_id"].as_str().unwrap()
    }
}

impl World {
    async fn registered(&self, changes: Value) -> Registration {
        let mut metadata = json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"});
        metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        Registration::of(self.register(NOTES, metadata).await.json())
    }

    async fn manage(&self, method: Method, uri: &str, token: &str, body: Option<Value>) -> Reply {
        let request =
            Request::builder().method(method).uri(uri).header(header::AUTHORIZATION, format!("Bearer {token}"));
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }

    async fn put(&self, of: &Registration, metadata: Value) -> Reply {
        self.manage(Method::PUT, &of.uri, &of.token, Some(metadata)).await
    }

    fn policy(&mut self, change: impl FnOnce(&mut crate::config::Registration)) {
        change(&mut Arc::get_mut(&mut self.issuer).unwrap().registration);
    }

    async fn ask_to_register(&self, token: Option<&str>) -> Reply {
        let request = Request::post(format!("{NOTES}/register"));
        let request = match token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        };
        let metadata = json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"});
        self.send(request.body(Body::from(metadata.to_string())).unwrap()).await
    }
}

#[tokio::test]
async fn b34_reading_says_what_is_in_force_and_keeps_the_token() {
    let world = World::new().await;
    let client =
        world.registered(json!({"client_name": "One", "token_endpoint_auth_method": "client_secret_post"})).await;
    let read = world.manage(Method::GET, &client.uri, &client.token, None).await;
    assert_eq!((read.status, read.header(header::CACHE_CONTROL)), (StatusCode::OK, "no-store"));
    let mut expected = client.answer.clone();
    expected.as_object_mut().unwrap().remove("client_secret");
    assert_eq!(read.json(), expected, "everything but the secret, which we do not have");
}

#[tokio::test]
async fn b35_only_the_registration_s_own_token_manages_it() {
    let world = World::new().await;
    let (client, other) = (world.registered(json!({})).await, world.registered(json!({})).await);
    let unknown = format!("{NOTES}/register/nobody");
    let elsewhere = client.uri.replace("notes.", "files.");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        for (uri, token) in [
            (&client.uri, "wrong"),
            (&client.uri, other.token.as_str()),
            (&client.uri, ""),
            (&unknown, client.token.as_str()),
            (&elsewhere, client.token.as_str()),
        ] {
            let reply = world.manage(method.clone(), uri, token, Some(json!({"client_id": client.id()}))).await;
            assert_eq!((reply.status, reply.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_token"), "{uri}");
            assert!(reply.header(header::WWW_AUTHENTICATE).starts_with("Bearer"));
        }
    }
    let bare = world.get(&client.uri).await;
    assert_eq!((bare.status, bare.header(header::WWW_AUTHENTICATE)), (StatusCode::UNAUTHORIZED, "Bearer"));
    assert_eq!(world.manage(Method::GET, &client.uri, &client.token, None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn b34_replacing_takes_effect_at_once_and_keeps_what_people_granted() {
    let world = World::new().await;
    let client = world.registered(json!({"client_name": "Old", "client_uri": "https://app.example"})).await;
    let tokens = world.signed_in(client.id(), "").await;
    let other = "https://app.example/other";
    let new = json!({
        "client_id": client.id(), "client_name": "New", "redirect_uris": [other], "token_endpoint_auth_method": "none",
    });
    let replaced = world.put(&client, new).await;
    assert_eq!(replaced.status, StatusCode::OK, "{}", replaced.body);
    let answer = replaced.json();
    assert_eq!((&answer["client_name"], &answer["redirect_uris"]), (&json!("New"), &json!([other])));
    assert_eq!(answer["registration_access_token"], json!(client.token));
    assert!(answer.get("client_uri").is_none(), "what is left out is gone");
    assert_eq!(world.browse(&authorize("notes", client.id(), &[])).await.status, StatusCode::BAD_REQUEST);
    let page = world.browse(&authorize("notes", client.id(), &[("redirect_uri", other)])).await;
    assert!(page.body.contains("New"), "{}", page.body);
    let refreshed = world.refresh(client.id(), tokens["refresh_token"].as_str().unwrap(), &[]).await;
    assert_eq!(refreshed.status, StatusCode::OK, "{}", refreshed.body);
}

#[tokio::test]
async fn b1_a_person_who_is_signing_in_is_not_sent_to_an_address_that_was_taken_back() {
    let world = World::new().await;
    let client = world.registered(json!({})).await;
    let page = world.browse(&authorize("notes", client.id(), &[])).await;
    let other = json!({
        "client_id": client.id(), "redirect_uris": ["https://app.example/other"], "token_endpoint_auth_method": "none",
    });
    assert_eq!(world.put(&client, other).await.status, StatusCode::OK);
    let decided = world.decide("client", &page, "approve").await;
    let end = world.browse(decided.location()).await;
    assert_eq!((end.status, end.location()), (StatusCode::BAD_REQUEST, ""));
    assert!(world.issuer.store.grants_of(world.alice.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn b33_replacing_is_checked_as_registering_is() {
    let world = World::new().await;
    let client = world.registered(json!({"token_endpoint_auth_method": "client_secret_post"})).await;
    let with = |changes: Value| {
        let mut metadata = json!({
            "client_id": client.id(), "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_post",
        });
        metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        metadata
    };
    for (metadata, code) in [
        (with(json!({"client_id": "other"})), "invalid_client_metadata"),
        (with(json!({"client_id": null})), "invalid_client_metadata"),
        (with(json!({"client_secret": "wrong"})), "invalid_client_metadata"),
        (with(json!({"redirect_uris": ["javascript:alert(1)"]})), "invalid_redirect_uri"),
        (with(json!({"redirect_uris": []})), "invalid_redirect_uri"),
        (with(json!({"grant_types": ["client_credentials"]})), "invalid_client_metadata"),
        (with(json!({"token_endpoint_auth_method": "tls_client_auth"})), "invalid_client_metadata"),
        (json!([]), "invalid_client_metadata"),
    ] {
        let reply = world.put(&client, metadata.clone()).await;
        assert_eq!((reply.status, reply.error().as_str()), (StatusCode::BAD_REQUEST, code), "{metadata}");
    }
    let secret = client.answer["client_secret"].as_str().unwrap();
    let same = world.put(&client, with(json!({ "client_secret": secret }))).await.json();
    assert_eq!(same["client_secret"], json!(secret));
}

#[tokio::test]
async fn b21_a_replaced_method_is_enforced_and_brings_or_takes_the_secret() {
    let world = World::new().await;
    let client = world.registered(json!({})).await;
    let with = |method: &str| json!({"client_id": client.id(), "redirect_uris": [CALLBACK], "token_endpoint_auth_method": method});
    let tokens = world.signed_in(client.id(), "").await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let confidential = world.put(&client, with("client_secret_post")).await.json();
    let secret = confidential["client_secret"].as_str().unwrap();
    assert_eq!(confidential["client_secret_expires_at"], json!(0));
    assert_eq!(world.refresh(client.id(), refresh, &[]).await.error(), "invalid_client");
    let authenticated = world.refresh(client.id(), refresh, &[("client_secret", secret)]).await;
    assert_eq!(authenticated.status, StatusCode::OK, "{}", authenticated.body);
    // Another way of sending it is no reason for another secret.
    assert!(world.put(&client, with("client_secret_basic")).await.json().get("client_secret").is_none());
    let row = world.issuer.store.client("notes", client.id()).await.unwrap().unwrap();
    assert!(row.secret.unwrap().matches(&crate::ids::Digest::of(secret)));
    let public = world.put(&client, with("none")).await.json();
    assert!(public.get("client_secret").is_none() && public.get("client_secret_expires_at").is_none());
    assert!(world.issuer.store.client("notes", client.id()).await.unwrap().unwrap().secret.is_none());
    let mut former = with("none");
    former["client_secret"] = json!(secret);
    assert_eq!(world.put(&client, former).await.error(), "invalid_client_metadata", "there is none any more");
}

#[tokio::test]
async fn registration_with_an_initial_access_token() {
    let mut world = World::new().await;
    world.policy(|policy| policy.mode = RegistrationMode::Token(Secret::new("an initial access token".into())));
    for (token, challenge) in
        [(None, "Bearer"), (Some("wrong"), "Bearer error=\"invalid_token\""), (Some(""), "Bearer")]
    {
        let reply = world.ask_to_register(token).await;
        assert_eq!((reply.status, reply.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_token"));
        assert!(reply.header(header::WWW_AUTHENTICATE).starts_with(challenge));
    }
    assert_eq!(world.ask_to_register(Some("an initial access token")).await.status, StatusCode::CREATED);
    let metadata = world.get(&format!("{NOTES}/.well-known/oauth-authorization-server")).await.json();
    assert!(metadata["registration_endpoint"].is_string());
}

#[tokio::test]
async fn registration_switched_off_is_no_endpoint_but_registrations_are_still_managed() {
    let mut world = World::new().await;
    let client = world.registered(json!({})).await;
    world.policy(|policy| policy.mode = RegistrationMode::Off);
    let reply = world.ask_to_register(None).await;
    assert_eq!((reply.status, reply.error().as_str()), (StatusCode::NOT_FOUND, "invalid_request"));
    let metadata = world.get(&format!("{NOTES}/.well-known/oauth-authorization-server")).await.json();
    assert!(metadata.get("registration_endpoint").is_none());
    assert_eq!(metadata["client_id_metadata_document_supported"], json!(true));
    assert_eq!(world.manage(Method::DELETE, &client.uri, &client.token, None).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_flood_of_registrations_hits_a_wall_and_pushes_nobody_out_who_is_signing_in() {
    let mut world = World::new().await;
    world.policy(|policy| policy.max_clients = 20);
    let used = world.registered(json!({})).await;
    world.signed_in(used.id(), "").await;
    let early = world.registered(json!({})).await;
    for _ in 1..20 {
        assert_eq!(world.ask_to_register(None).await.status, StatusCode::CREATED);
    }
    let full = world.ask_to_register(None).await;
    assert_eq!((full.status, full.error().as_str()), (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable"));
    let wait: u64 = full.header(header::RETRY_AFTER).parse().unwrap();
    assert!((1..=15 * 60).contains(&wait), "{wait}");
    world.issuer.clock.advance(Duration::from_secs(wait + 1));
    // Now the oldest gives way, one for one, and never one that got a token.
    for _ in 0..100 {
        world.ask_to_register(None).await;
    }
    let known = world.issuer.store.clients().await.unwrap();
    assert_eq!(known.iter().filter(|client| client.last_used_at.is_none()).count(), 20);
    assert!(known.iter().any(|client| client.id == used.id()) && !known.iter().any(|client| client.id == early.id()));
}

#[tokio::test]
async fn an_expired_registration_is_no_client_any_more_but_replacing_renews_it() {
    const DAY: u64 = 24 * 3600;
    let mut world = World::new().await;
    world.policy(|policy| policy.client_ttl = Some(Duration::from_secs(DAY)));
    let secret_post = json!({"token_endpoint_auth_method": "client_secret_post"});
    let (client, renewed) = (world.registered(secret_post.clone()).await, world.registered(secret_post).await);
    let issued_at = client.answer["client_id_issued_at"].as_i64().unwrap();
    assert_eq!(client.answer["client_secret_expires_at"], json!(issued_at + 24 * 3600));
    world.issuer.clock.advance(Duration::from_secs(DAY - 60));
    let again = json!({
        "client_id": renewed.id(), "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_post",
    });
    assert_eq!(world.put(&renewed, again).await.status, StatusCode::OK);
    world.issuer.clock.advance(Duration::from_secs(120));
    let ask = async |of: &Registration| {
        let secret = of.answer["client_secret"].as_str().unwrap();
        world.exchange(of.id(), "x", &[("client_secret", secret)]).await.error()
    };
    assert_eq!(ask(&client).await, "invalid_client");
    assert_eq!(ask(&renewed).await, "invalid_grant");
    assert_eq!(world.manage(Method::GET, &client.uri, &client.token, None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.browse(&authorize("notes", client.id(), &[])).await.status, StatusCode::BAD_REQUEST);
    let expired = world.issuer.store.expired_clients(world.issuer.clock.now()).await.unwrap();
    assert_eq!(expired, [("notes".to_owned(), client.id().to_owned())]);
}

#[tokio::test]
async fn b23_a_client_gets_only_the_grant_types_that_it_registered() {
    let world = World::new().await;
    let device = world.registered(json!({"grant_types": ["urn:ietf:params:oauth:grant-type:device_code"]})).await;
    let refused = world.exchange(device.id(), "x", &[]).await;
    assert_eq!((refused.status, refused.error().as_str()), (StatusCode::BAD_REQUEST, "unauthorized_client"));
    let answer = world.browse(&authorize("notes", device.id(), &[])).await.answer();
    assert_eq!(answer["error"], "unauthorized_client");
    let code_only = world.registered(json!({"grant_types": ["authorization_code"]})).await;
    assert!(world.signed_in(code_only.id(), "").await.get("refresh_token").is_none());
    assert_eq!(world.refresh(code_only.id(), "x", &[]).await.error(), "unauthorized_client");
    let password = [("client_id", code_only.id()), ("grant_type", "password")];
    assert_eq!(world.post(&format!("{NOTES}/token"), &password).await.error(), "unsupported_grant_type");
}
