//! The token and revocation endpoints.

use super::*;
use data_encoding::BASE64;

#[tokio::test]
async fn b19_b32_a_token_for_exactly_the_resource_that_was_asked_for() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let code = world.code(&client, "read offline_access").await;
    let reply = world.exchange(&client, &code, &[]).await;
    assert_eq!((reply.header(header::CACHE_CONTROL), reply.header(header::PRAGMA)), ("no-store", "no-cache"));
    let tokens = reply.json();
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(24 * 3600)));
    assert_eq!(tokens["scope"], json!("offline_access read"));
    let verified = world.issuer.tokens.verify(text(&tokens, "access_token")).unwrap();
    assert_eq!((&*verified.audience, &*verified.issuer), ("https://notes.gw.example/mcp", NOTES));
    assert_eq!((verified.user, &*verified.client_id), (world.alice.id, client.as_str()));
}

#[tokio::test]
async fn a2_b5_b9_b10_b31_everything_is_checked_before_the_code_is_consumed() {
    let world = World::new().await;
    let (client, other) = (world.client(NOTES).await, world.client(NOTES).await);
    let code = world.code(&client, "read").await;
    let long = "a".repeat(129);
    for (changes, error) in [
        (vec![("client_id", other.as_str())], "invalid_grant"),
        (vec![("redirect_uri", "https://app.example/other")], "invalid_grant"),
        (vec![("code_verifier", "")], "invalid_request"),
        (vec![("code_verifier", "short")], "invalid_grant"),
        (vec![("code_verifier", long.as_str())], "invalid_grant"),
        (vec![("code_verifier", "xBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")], "invalid_grant"),
        (vec![("resource", "https://files.gw.example/mcp")], "invalid_target"),
        (vec![("resource", "https://notes.gw.example/mcp/")], "invalid_target"),
        (vec![("code", "unknown")], "invalid_grant"),
        (vec![("code", "")], "invalid_request"),
    ] {
        let reply = world.exchange(&client, &code, &changes).await;
        assert_eq!((reply.status, reply.error().as_str()), (StatusCode::BAD_REQUEST, error), "{changes:?}");
    }
    let good = [("resource", "https://notes.gw.example/mcp")];
    assert_eq!(world.exchange(&client, &code, &good).await.status, StatusCode::OK);
}

#[tokio::test]
async fn b7_a_code_lives_sixty_seconds() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let code = world.code(&client, "").await;
    world.issuer.clock.advance(Duration::from_secs(60));
    assert_eq!(world.exchange(&client, &code, &[]).await.error(), "invalid_grant");
}

#[tokio::test]
async fn b7_b8_a_replayed_code_ends_what_it_bought() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let code = world.code(&client, "").await;
    let tokens = world.exchange(&client, &code, &[]).await.json();
    assert!(world.issuer.tokens.verify(text(&tokens, "access_token")).is_ok());
    assert_eq!(world.exchange(&client, &code, &[]).await.error(), "invalid_grant");
    assert!(world.issuer.tokens.verify(text(&tokens, "access_token")).is_err());
    assert_eq!(world.refresh(&client, text(&tokens, "refresh_token"), &[]).await.error(), "invalid_grant");
}

#[tokio::test]
async fn b7_b8_of_a_hundred_at_once_one_wins_and_the_grant_ends() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    for _ in 0..10 {
        let code = world.code(&client, "").await;
        let attempts = (0..100).map(|_| world.exchange(&client, &code, &[]));
        let replies = futures_util::future::join_all(attempts).await;
        let winners: Vec<_> = replies.iter().filter(|reply| reply.status == StatusCode::OK).collect();
        assert_eq!(winners.len(), 1);
        let tokens = winners[0].json();
        assert!(world.issuer.tokens.verify(text(&tokens, "access_token")).is_err());
        assert_eq!(world.refresh(&client, text(&tokens, "refresh_token"), &[]).await.error(), "invalid_grant");
    }
}

/// No request without a challenge gets a code (4), so such a row is made by hand.
#[tokio::test]
async fn a2_b6_a_verifier_without_a_challenge_is_worth_nothing() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let (issuer, now) = (&world.issuer, world.issuer.clock.now());
    let grant = world.grant(&client);
    let code = crate::store::AuthorizationCode {
        code: crate::ids::Digest::of("code"),
        grant: grant.id,
        redirect_uri: CALLBACK.to_owned(),
        code_challenge: String::new(),
        expires_at: now.after(Duration::from_secs(60)),
        used_at: None,
        dpop_jkt: None,
    };
    issuer.store.insert_grant(&grant, Some(&code)).await.unwrap();
    assert_eq!(world.exchange(&client, "code", &[]).await.error(), "invalid_grant");
}

#[tokio::test]
async fn b3_b16_b17_b18_b23_forms_only_and_each_parameter_once() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    for grant in ["password", "implicit", "urn:x"] {
        let form = [("grant_type", grant), ("client_id", client.as_str())];
        assert_eq!(world.post(&format!("{NOTES}/token"), &form).await.error(), "unsupported_grant_type");
    }
    let form = [("grant_type", "refresh_token"), ("grant_type", "refresh_token"), ("client_id", client.as_str())];
    assert_eq!(world.post(&format!("{NOTES}/token"), &form).await.error(), "invalid_request");
    assert_eq!(world.post(&format!("{NOTES}/token"), &[("client_id", &client)]).await.error(), "invalid_request");
    assert_eq!(world.get(&format!("{NOTES}/token")).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let json = Request::post(format!("{NOTES}/token")).header(header::CONTENT_TYPE, "application/json");
    assert_eq!(world.send(json.body(Body::from("{}")).unwrap()).await.error(), "invalid_request");
    // Nothing is read from the query string.
    let code = world.code(&client, "").await;
    let query = format!("{NOTES}/token?grant_type=authorization_code&client_id={client}&code={code}");
    assert_eq!(world.post(&query, &[]).await.error(), "invalid_client");
    assert_eq!(world.exchange(&client, &code, &[("unknown", "x")]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn b20_b21_b22_clients_authenticate_as_they_registered() {
    let world = World::new().await;
    let registered = |method: &str| json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": method});
    let basic = world.register(NOTES, registered("client_secret_basic")).await.json();
    let post = world.register(NOTES, registered("client_secret_post")).await.json();
    let header = |client: &Value, secret: &str| {
        format!("Basic {}", BASE64.encode(format!("{}:{secret}", text(client, "client_id")).as_bytes()))
    };
    let token = format!("{NOTES}/token");
    let grant = [("grant_type", "refresh_token"), ("refresh_token", "unknown")];
    let ask = async |authorization: Option<String>, form: &[(&str, &str)]| {
        world.post_with(&token, &changed(&grant, form), authorization.as_deref()).await
    };
    let secret_of = |client: &Value| text(client, "client_secret").to_owned();

    // Past authentication the refresh token is what is wrong.
    let good = ask(Some(header(&basic, &secret_of(&basic))), &[]).await;
    assert_eq!(good.error(), "invalid_grant");
    let (id, secret) = (text(&post, "client_id"), secret_of(&post));
    assert_eq!(ask(None, &[("client_id", id), ("client_secret", &secret)]).await.error(), "invalid_grant");

    let wrong = ask(Some(header(&basic, "wrong")), &[]).await;
    assert_eq!((wrong.status, wrong.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_client"));
    assert!(wrong.header(header::WWW_AUTHENTICATE).starts_with("Basic"));
    let both = ask(Some(header(&basic, &secret_of(&basic))), &[("client_secret", "x")]).await;
    assert_eq!(both.error(), "invalid_request");
    for (authorization, form) in [
        (Some(header(&post, &secret)), vec![]),
        (None, vec![("client_id", text(&basic, "client_id"))]),
        (None, vec![("client_id", id), ("client_secret", "wrong")]),
        (None, vec![("client_id", id)]),
        (None, vec![("client_id", "unknown")]),
        (None, vec![]),
    ] {
        let reply = ask(authorization, &form).await;
        assert_eq!((reply.status, reply.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_client"), "{form:?}");
    }
}

#[tokio::test]
async fn b25_b46_scope_and_resource_never_widen() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let first = world.signed_in(&client, "read write").await;
    let token = text(&first, "refresh_token");
    assert_eq!(world.refresh(&client, token, &[("scope", "read admin")]).await.error(), "invalid_scope");
    let other = [("resource", "https://files.gw.example/mcp")];
    assert_eq!(world.refresh(&client, token, &other).await.error(), "invalid_target");
    let narrow = world.refresh(&client, token, &[("scope", "read")]).await.json();
    assert_eq!(narrow["scope"], json!("read"));
    let full = world.refresh(&client, text(&narrow, "refresh_token"), &[]).await.json();
    assert_eq!(full["scope"], json!("read write"));
}

#[tokio::test]
async fn b26_b28_b29_refresh_tokens_rotate_forgive_and_end() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let first = world.signed_in(&client, "").await;
    let old = text(&first, "refresh_token");
    let second = world.refresh(&client, old, &[]).await.json();
    let successor = text(&second, "refresh_token");
    assert_ne!(old, successor);
    // A lost answer: the same successor, within the grace and, as long as it was not used, after it.
    assert_eq!(text(&world.refresh(&client, old, &[]).await.json(), "refresh_token"), successor);
    world.issuer.clock.advance(Duration::from_secs(3600));
    assert_eq!(text(&world.refresh(&client, old, &[]).await.json(), "refresh_token"), successor);
    let third = world.refresh(&client, successor, &[]).await.json();
    // Used, and long ago: somebody else has the token.
    assert_eq!(world.refresh(&client, old, &[]).await.error(), "invalid_grant");
    for token in [&first, &second, &third] {
        assert!(world.issuer.tokens.verify(text(token, "access_token")).is_err());
        assert_eq!(world.refresh(&client, text(token, "refresh_token"), &[]).await.error(), "invalid_grant");
    }
}

#[tokio::test]
async fn b29_in_the_grace_even_a_used_successor_is_repeated() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let first = world.signed_in(&client, "").await;
    let old = text(&first, "refresh_token");
    let second = world.refresh(&client, old, &[]).await.json();
    world.refresh(&client, text(&second, "refresh_token"), &[]).await;
    let again = world.refresh(&client, old, &[]).await.json();
    assert_eq!(text(&again, "refresh_token"), text(&second, "refresh_token"));
}

#[tokio::test]
async fn a45_b28_b29_a_hundred_at_once_get_one_successor() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let first = world.signed_in(&client, "").await;
    let attempts = (0..100).map(|_| world.refresh(&client, text(&first, "refresh_token"), &[]));
    let replies = futures_util::future::join_all(attempts).await;
    let mut successors: Vec<_> = replies.iter().map(|reply| text(&reply.json(), "refresh_token").to_owned()).collect();
    successors.sort_unstable();
    successors.dedup();
    assert_eq!(successors.len(), 1);
    // One family, and it is alive: nobody was taken for a thief.
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK));
    assert_eq!(world.refresh(&client, &successors[0], &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn b27_b30_a_refresh_token_is_its_client_s_and_idles_out() {
    let world = World::new().await;
    let (client, other) = (world.client(NOTES).await, world.client(NOTES).await);
    let first = world.signed_in(&client, "").await;
    assert_eq!(world.refresh(&other, text(&first, "refresh_token"), &[]).await.error(), "invalid_grant");
    // Every use starts the idle time again.
    world.issuer.clock.advance(Duration::from_secs(20 * 24 * 3600));
    let second = world.refresh(&client, text(&first, "refresh_token"), &[]).await.json();
    world.issuer.clock.advance(Duration::from_secs(20 * 24 * 3600));
    let third = world.refresh(&client, text(&second, "refresh_token"), &[]).await.json();
    world.issuer.clock.advance(Duration::from_secs(30 * 24 * 3600));
    assert_eq!(world.refresh(&client, text(&third, "refresh_token"), &[]).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_client_without_the_refresh_grant_gets_no_refresh_token() {
    let world = World::new().await;
    let metadata = json!({
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"],
    });
    let client = world.register(NOTES, metadata).await.json();
    assert!(world.signed_in(text(&client, "client_id"), "").await.get("refresh_token").is_none());
}

#[tokio::test]
async fn b40_b41_b42_revocation() {
    let world = World::new().await;
    let (client, other) = (world.client(NOTES).await, world.client(NOTES).await);
    let tokens = world.signed_in(&client, "").await;
    let revoke = async |client: &str, token: &str| {
        world.post(&format!("{NOTES}/revoke"), &[("client_id", client), ("token", token)]).await.status
    };
    let (access_token, refresh_token) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    for token in ["unknown", refresh_token, access_token] {
        assert_eq!(revoke(&other, token).await, StatusCode::OK);
    }
    assert!(world.issuer.tokens.verify(access_token).is_ok());
    assert_eq!(revoke(&client, refresh_token).await, StatusCode::OK);
    assert!(world.issuer.tokens.verify(access_token).is_err());
    assert_eq!(world.refresh(&client, refresh_token, &[]).await.error(), "invalid_grant");
    // By the access token as well, and for good: a restart revives nothing.
    let tokens = world.signed_in(&client, "").await;
    assert_eq!(revoke(&client, text(&tokens, "access_token")).await, StatusCode::OK);
    let again = AccessTokens::new(
        world.issuer.tokens.keys.clone(),
        Arc::default(),
        world.issuer.clock.clone(),
        Random::default(),
    );
    assert!(again.verify(text(&tokens, "access_token")).is_ok());
    again.recall_revocations(&world.issuer.store).await.unwrap();
    assert!(again.verify(text(&tokens, "access_token")).is_err());
}

#[tokio::test]
async fn b40_b41_revocation_heeds_no_hint_and_asks_who_it_is() {
    let world = World::new().await;
    let (client, basic) = world.confidential().await;
    let tokens = world.tokens_of(&client, &basic).await;
    let revoke = async |form: &[(&str, &str)], authorization: Option<&str>| {
        world.post_with(&format!("{NOTES}/revoke"), form, authorization).await
    };
    let (access_token, refresh_token) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    let public = revoke(&[("client_id", &client), ("token", refresh_token)], None).await;
    assert_eq!((public.status, public.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_client"));
    assert_eq!(revoke(&[], Some(&basic)).await.error(), "invalid_request");
    assert!(world.issuer.tokens.verify(access_token).is_ok());

    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    let rotated = world.post_with(&format!("{NOTES}/token"), &form, Some(&basic)).await.json();
    // The old one stands for the whole family, whatever it is said to be.
    let form = [("token", refresh_token), ("token_type_hint", "access_token")];
    assert_eq!(revoke(&form, Some(&basic)).await.status, StatusCode::OK);
    for token in [access_token, text(&rotated, "access_token")] {
        assert!(world.issuer.tokens.verify(token).is_err());
    }
    assert_eq!(world.introspect(text(&rotated, "refresh_token"), &basic).await, json!({"active": false}));
    for hint in ["refresh_token", "urn:unknown"] {
        let form = [("token", access_token), ("token_type_hint", hint)];
        assert_eq!(revoke(&form, Some(&basic)).await.status, StatusCode::OK, "{hint}");
    }
}
