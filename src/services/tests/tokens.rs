//! Tokens handed out: fresh ones, ones that are enough, and personal access tokens in their place.

use super::*;

fn required(outcome: &Result<ServiceToken, NoToken>) -> String {
    match outcome {
        Err(NoToken::AuthorizationRequired { scopes }) => scopes.to_string(),
        _ => panic!("authorization should have been required"),
    }
}

fn in_trouble(outcome: &Result<ServiceToken, NoToken>) -> bool {
    matches!(outcome, Err(NoToken::Trouble { .. }))
}

fn token_of(outcome: Result<ServiceToken, NoToken>) -> (String, TokenSource) {
    let token = outcome.unwrap_or_else(|why| panic!("{why:?}"));
    (token.access_token.expose().to_owned(), token.source)
}

fn oauth(token: &str) -> (String, TokenSource) {
    (token.to_owned(), TokenSource::OAuth)
}

fn pat(token: &str) -> (String, TokenSource) {
    (token.to_owned(), TokenSource::Pat)
}

#[tokio::test]
async fn a_token_with_less_than_ten_minutes_to_live_is_renewed() {
    let world = World::new().await;
    world.connect().await;
    world.clock.advance(Duration::from_secs(3600 - 601));
    assert_eq!(token_of(world.token().await), oauth("at-1"));
    world.clock.advance(Duration::from_secs(2));
    let token = world.token().await.ok().unwrap();
    assert_eq!(token.access_token.expose(), "at-2");
    assert_eq!(token.expires_at, world.row().await.expires_at);
    assert_eq!(world.stranger.last("POST /token").form()["refresh_token"], "rt-1");
}

#[tokio::test]
async fn a_provider_of_short_lives_is_not_asked_again_and_again() {
    let world = World::new().await;
    let answer = |n: u32| {
        json!({ "access_token": format!("short-{n}"), "token_type": "Bearer", "expires_in": 300,
        "refresh_token": format!("again-{n}") })
    };
    world.stranger.answers("POST /token", Reply::Json(200, answer(1)));
    world.connect().await;
    world.stranger.answers("POST /token", Reply::Json(200, answer(2)));
    world.clock.advance(Duration::from_secs(1));
    for _ in 0..3 {
        assert_eq!(token_of(world.token().await), oauth("short-2"));
    }
    assert_eq!(world.stranger.count("POST /token"), 2);
    world.stranger.answers("POST /token", Reply::Json(200, answer(3)));
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(token_of(world.token().await), oauth("short-3"));
}

#[tokio::test]
async fn five_hundred_at_once_are_one_refresh() {
    let world = World::new().await;
    world.connect().await;
    world.clock.advance(Duration::from_secs(3600));
    let tokens = futures_util::future::join_all((0..500).map(|_| world.token())).await;
    assert!(tokens.into_iter().all(|token| token_of(token) == oauth("at-2")));
    assert_eq!(world.stranger.count("POST /token"), 2);
}

#[tokio::test]
async fn a_token_lives_on_while_the_provider_is_in_trouble() {
    let world = World::new().await;
    world.connect().await;
    world.stranger.answers("POST /token", Reply::Text(503, "later"));
    world.clock.advance(Duration::from_secs(3600 - 300));
    assert_eq!(token_of(world.token().await), oauth("at-1"));
    world.clock.advance(Duration::from_secs(300));
    assert!(in_trouble(&world.token().await));
    world.stranger.as_it_should("POST /token");
    world.clock.advance(Duration::from_secs(15));
    assert_eq!(token_of(world.token().await), oauth("at-2"));
}

#[tokio::test]
async fn a_personal_access_token_stands_in_for_what_there_is_not() {
    let world = World::with(&format!("{PLAIN}\npat = \"everybody\"")).await;
    let it = world.it();
    assert_eq!(token_of(world.token().await), pat("everybody"), "never connected");
    world.services.put_pat(&it, world.user, &secret(" own\n")).await.unwrap();
    assert_eq!(token_of(world.token().await), pat("own"), "the person's goes first");
    world.connect().await;
    assert_eq!(token_of(world.token().await), oauth("at-1"), "consent goes before both");
    world.clock.advance(Duration::from_secs(3600));
    for reply in [Reply::Text(500, "broken"), Reply::Silence, Reply::Text(200, "<html>")] {
        world.stranger.answers("POST /token", reply);
        world.clock.advance(Duration::from_secs(16));
        assert_eq!(token_of(world.token().await), pat("own"), "the provider fails");
    }
    world.stranger.as_it_should("POST /token");
    world.clock.advance(Duration::from_secs(16));
    assert_eq!(token_of(world.token().await), oauth("at-2"), "it is back");
    world.stranger.answers("POST /token", Reply::Json(400, json!({ "error": "invalid_grant" })));
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(token_of(world.token().await), pat("own"), "the authorization ended");
    assert_eq!(world.row().await.state, ConnectionState::NeedsConsent);
    assert!(world.services.delete_pat(&it, world.user).await.unwrap());
    assert!(!world.services.delete_pat(&it, world.user).await.unwrap());
    assert_eq!(token_of(world.token().await), pat("everybody"));
    world.reconfigure(PLAIN);
    assert_eq!(required(&world.token().await), "");
}

#[tokio::test]
async fn where_there_are_only_personal_access_tokens_none_is_an_error() {
    let world = World::with("").await;
    assert!(matches!(world.token().await, Err(NoToken::NoPat(_))));
    world.services.put_pat(&world.it(), world.user, &secret("own")).await.unwrap();
    assert_eq!(token_of(world.token().await), pat("own"));
    let bob = add_user(&world.store, "bob", &world.clock).await;
    assert!(matches!(world.services.token(&world.it(), bob, &Scopes::default()).await, Err(NoToken::NoPat(_))));
}

#[tokio::test]
async fn personal_access_tokens_are_sealed_listed_without_their_text_and_bound_to_their_person() {
    let world = World::new().await;
    let it = world.it();
    for bad in ["", " ", "two words", "line\nbreak", "\u{e9}\u{7f}"] {
        assert!(world.services.put_pat(&it, world.user, &secret(bad)).await.is_err(), "{bad:?}");
    }
    world.services.put_pat(&it, world.user, &secret("first")).await.unwrap();
    world.services.put_pat(&it, world.user, &secret("second")).await.unwrap();
    let pats = world.services.pats(world.user).await.unwrap();
    assert_eq!(pats.len(), 1);
    assert_eq!(pats[0].service.as_str(), "it");
    let mut row = world.store.service_pat(world.user, "it").await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&row.sealed).contains("second"));
    // Somebody who can write into the database moves it to another person.
    row.user = add_user(&world.store, "eve", &world.clock).await;
    world.store.put_service_pat(&row).await.unwrap();
    assert!(matches!(world.services.token(&it, row.user, &Scopes::default()).await, Err(NoToken::Failed(_))));
}

#[tokio::test]
async fn more_scope_is_asked_for_together_with_what_there_is() {
    let world = World::with(&format!("{PLAIN}\npat = \"everybody\"")).await;
    world.connect_for("one").await;
    assert_eq!(token_of(world.token_for("one base").await), oauth("at-1"));
    // A personal access token is no answer: nobody knows what it may do.
    assert_eq!(required(&world.token_for("two one").await), "base one two");
    let (_, query) = world.begin("two").await;
    assert_eq!(query["scope"], "base one two");
    world.connect_for("two").await;
    assert_eq!(token_of(world.token_for("one two").await), oauth("at-2"));
    // It ended, and what was granted before is not forgotten.
    world.stranger.answers("POST /token", Reply::Json(400, json!({ "error": "invalid_grant" })));
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(token_of(world.token().await), pat("everybody"));
    let (_, query) = world.begin("").await;
    assert_eq!(query["scope"], "base one two");
}

#[tokio::test]
async fn a_provider_that_grants_less_is_believed() {
    let world = World::new().await;
    let answer = json!({ "access_token": "at", "token_type": "Bearer", "scope": ["base"] });
    world.stranger.answers("POST /token", Reply::Json(200, answer));
    world.connect_for("files").await;
    assert_eq!(world.row().await.scope, "base");
    assert_eq!(required(&world.token_for("files").await), "base files");
    assert_eq!(token_of(world.token_for("base openid offline_access").await), oauth("at"));
}

#[tokio::test]
async fn scopes_that_come_back_under_other_names_ask_nobody_again() {
    let keys = "client_id = \"id\"\nclient_secret = \"secret\"";
    let world = World::with(&format!("preset = \"google\"\n{keys}")).await;
    let scope = "openid https://www.googleapis.com/auth/userinfo.email";
    let answer = json!({ "access_token": "at", "token_type": "Bearer", "expires_in": 3599, "scope": scope });
    world.stranger.answers("POST /token", Reply::Json(200, answer));
    let (url, query) = world.begin("").await;
    assert_eq!((query["access_type"].as_str(), query["prompt"].as_str()), ("offline", "consent"));
    world.finish(world.consent(&url)).await.unwrap();
    assert_eq!(token_of(world.token_for("email").await), oauth("at"));
    assert!(required(&world.token_for("profile").await).contains("profile"));
    let world = World::with(&format!("preset = \"microsoft\"\n{keys}")).await;
    let answer = json!({ "access_token": "at", "token_type": "Bearer", "scope": "openid user.read mail.read" });
    world.stranger.answers("POST /token", Reply::Json(200, answer));
    world.connect_for("https://graph.microsoft.com/Mail.Read").await;
    assert_eq!(token_of(world.token_for("User.Read https://graph.microsoft.com/Mail.Read").await), oauth("at"));
}

#[tokio::test]
async fn a_refresh_keeps_what_the_answer_leaves_out() {
    let world = World::new().await;
    world.connect_for("one").await;
    *world.stranger.rotates.lock() = false;
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(token_of(world.token_for("one").await), oauth("at-2"));
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(token_of(world.token_for("one").await), oauth("at-3"));
    assert_eq!(world.stranger.last("POST /token").form()["refresh_token"], "rt-1");
    assert_eq!(world.row().await.scope, "base one");
}

#[tokio::test]
async fn a_refusal_with_status_200_under_the_provider_s_own_name_is_the_end() {
    for (preset, code) in [("github", "bad_refresh_token"), ("slack", "token_revoked")] {
        let keys = format!("preset = \"{preset}\"\nclient_id = \"id\"\nclient_secret = \"secret\"");
        let world = World::with(&keys).await;
        world.connect().await;
        world.stranger.answers("POST /token", Reply::Json(200, json!({ "ok": false, "error": code })));
        world.clock.advance(Duration::from_secs(3600));
        required(&world.token().await);
        assert_eq!(world.row().await.state, ConnectionState::NeedsConsent, "{preset}");
    }
}

#[tokio::test]
async fn an_administrator_s_mistake_ends_nobody_s_authorization() {
    let world = World::new().await;
    world.connect().await;
    world.stranger.answers("POST /token", Reply::Json(401, json!({ "error": "invalid_client" })));
    world.clock.advance(Duration::from_secs(3600));
    assert!(in_trouble(&world.token().await));
    world.stranger.as_it_should("POST /token");
    world.reconfigure("client_id = \"id\"\nclient_secret = \"corrected\"");
    world.clock.advance(Duration::from_secs(16));
    assert_eq!(token_of(world.token().await), oauth("at-2"));
    let sent = world.stranger.last("POST /token");
    assert_eq!(sent.authorization.as_deref(), Some("Basic aWQ6Y29ycmVjdGVk"));
}
