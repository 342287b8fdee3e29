//! From the click to the connection.

use super::*;

const GITHUB: &str = "preset = \"github\"\nclient_id = \"id\"\nclient_secret = \"secret\"";
const SLACK: &str = "preset = \"slack\"\nclient_id = \"id\"\nclient_secret = \"secret\"";
const NOTION: &str = "preset = \"notion\"\nclient_id = \"id\"\nclient_secret = \"secret\"";

#[tokio::test]
async fn a_person_connects_a_service() {
    let world = World::new().await;
    let (url, query) = world.begin("more").await;
    assert!(url.starts_with(&format!("{}/authorize?", world.stranger.origin)), "{url}");
    assert_eq!(query["redirect_uri"], "https://gw.example/callback/it");
    assert_eq!((query["scope"].as_str(), query["client_id"].as_str()), ("base more", "id"));
    assert_eq!(query["code_challenge_method"], "S256");
    assert!(!query.contains_key("resource"));
    let back = world.consent(&url);
    let connected = world.finish(back).await.unwrap();
    assert_eq!(connected.return_to, "/go/on");
    let sent = world.stranger.last("POST /token");
    assert_eq!(sent.authorization.as_deref(), Some("Basic aWQ6c2VjcmV0"));
    assert_eq!(sent.form()["redirect_uri"], "https://gw.example/callback/it");
    let row = world.row().await;
    assert_eq!((row.authority.as_str(), row.scope.as_str()), ("service:it", "base more"));
    assert!(!String::from_utf8_lossy(&row.sealed).contains("at-1"));
    let token = world.token().await.ok().unwrap();
    assert_eq!((token.access_token.expose(), token.token_type, token.source), ("at-1", "Bearer", TokenSource::OAuth));
    assert_eq!(token.expires_at, row.expires_at);
}

#[tokio::test]
async fn b70_the_shared_callback_is_another_address() {
    let world = World::new().await;
    let (url, query) = world.begin_with("", Callback::Shared).await;
    assert_eq!(query["redirect_uri"], "https://gw.example/auth/callback");
    let (step, text) = failure(world.finish(world.consent(&url)).await);
    assert_eq!(step, "callback");
    assert!(text.contains("another address"), "{text}");
    let (url, _) = world.begin_with("", Callback::Shared).await;
    let back = world.consent(&url);
    assert!(world.services.finish(&world.session, None, &back).await.is_ok());
    assert_eq!(world.stranger.count("POST /token"), 1, "no code went out for the answer at the wrong address");
}

#[tokio::test]
async fn b58_the_answer_belongs_to_one_browser_and_counts_once() {
    let world = World::new().await;
    let (url, _) = world.begin("").await;
    let back = || world.consent(&url);
    let elsewhere = world.services.finish(&Digest::of("another"), Some(&world.it().name), &back()).await;
    assert!(failure(elsewhere).1.contains("another browser"));
    assert!(world.finish(back()).await.is_ok());
    assert!(failure(world.finish(back()).await).1.contains("completed already"));
    let (url, _) = world.begin("").await;
    world.clock.advance(Duration::from_secs(601));
    assert!(failure(world.finish(world.consent(&url)).await).1.contains("longer than ten minutes"));
}

#[tokio::test]
async fn b59_an_answer_of_another_issuer_is_thrown_away() {
    let world = World::with(&format!("{PLAIN}\nissuer = \"https://as.example\"")).await;
    let (url, _) = world.begin("").await;
    let back = CallbackQuery { iss: Some("https://other.example".to_owned()), ..world.consent(&url) };
    assert!(failure(world.finish(back).await).1.contains("does not come from the authorization server"));
    assert_eq!(world.stranger.count("POST /token"), 0);
    let (url, _) = world.begin("").await;
    let back = CallbackQuery { iss: Some("https://as.example".to_owned()), ..world.consent(&url) };
    assert!(world.finish(back).await.is_ok());
}

#[tokio::test]
async fn what_the_provider_refuses_is_told_with_what_to_correct() {
    let world = World::with(GITHUB).await;
    let (url, _) = world.begin("").await;
    let back = CallbackQuery { error: Some("access_denied".to_owned()), ..world.consent(&url) };
    let error = world.finish(back).await.unwrap_err();
    assert!(error.denied && error.return_to.as_deref() == Some("/go/on"));
    let (url, _) = world.begin("").await;
    let back = CallbackQuery { error: Some("redirect_uri_mismatch".to_owned()), ..world.consent(&url) };
    let (_, text) = failure(world.finish(back).await);
    assert!(text.contains("register the redirect URI https://gw.example/callback/it at GitHub"), "{text}");
    // With status 200, as GitHub has it.
    for (code, told) in [
        ("incorrect_client_credentials", "correct client_id and client_secret of the [[service]] it"),
        ("redirect_uri_mismatch", "register the redirect URI https://gw.example/callback/it"),
        ("bad_verification_code", "did not accept its own authorization code"),
    ] {
        world.stranger.answers("POST /token", Reply::Json(200, json!({ "error": code })));
        let (url, _) = world.begin("").await;
        let (step, text) = failure(world.finish(world.consent(&url)).await);
        assert_eq!(step, "token");
        assert!(text.contains(told), "{text}");
    }
    assert!(world.services.connection(&world.it(), world.user).await.unwrap().is_none());
}

#[tokio::test]
async fn github_answers_as_a_form_with_commas_and_without_an_end() {
    let world = World::with(GITHUB).await;
    let answer = "access_token=gho_1&scope=gist%2Crepo%2Cread%3Auser&token_type=bearer";
    world.stranger.answers("POST /token", Reply::Form(200, answer));
    let (url, query) = world.begin("repo gist").await;
    assert_eq!(query["scope"], "gist read:user repo");
    world.finish(world.consent(&url)).await.unwrap();
    assert_eq!(world.stranger.last("POST /token").form()["client_secret"], "secret");
    assert_eq!(world.row().await.scope, "gist read:user repo");
    let token = world.token_for("gist public_repo").await.ok().unwrap();
    assert_eq!((token.access_token.expose(), token.expires_at), ("gho_1", None));
}

#[tokio::test]
async fn slack_has_the_person_s_token_inside_and_takes_no_challenge() {
    let world = World::with(SLACK).await;
    let answer = json!({ "ok": true, "access_token": "xoxb-bot", "token_type": "bot", "scope": "commands",
        "authed_user": { "id": "U1", "access_token": "xoxp-1", "token_type": "user", "scope": "users:read,search:read" } });
    world.stranger.answers("POST /token", Reply::Json(200, answer));
    let (url, query) = world.begin("search:read").await;
    assert_eq!(query["user_scope"], "search:read,users:read");
    assert!(!query.contains_key("scope") && !query.contains_key("code_challenge"));
    world.finish(world.consent(&url)).await.unwrap();
    assert!(!world.stranger.last("POST /token").form().contains_key("code_verifier"));
    assert_eq!(world.token_for("search:read").await.ok().unwrap().access_token.expose(), "xoxp-1");
    world.stranger.answers("POST /token", Reply::Json(200, json!({ "ok": false, "error": "bad_redirect_uri" })));
    let (url, _) = world.begin("").await;
    assert!(failure(world.finish(world.consent(&url)).await).1.contains("register the redirect URI"));
}

#[tokio::test]
async fn notion_wants_json_basic_and_a_version() {
    let world = World::with(NOTION).await;
    let (url, query) = world.begin("").await;
    assert_eq!(query["owner"], "user");
    assert!(!query.contains_key("scope"));
    world.finish(world.consent(&url)).await.unwrap();
    let sent = world.stranger.last("POST /token");
    assert_eq!(sent.authorization.as_deref(), Some("Basic aWQ6c2VjcmV0"));
    assert_eq!(
        (sent.version.as_deref(), sent.json()["grant_type"].as_str()),
        (Some("2022-06-28"), Some("authorization_code"))
    );
}

#[tokio::test]
async fn a_service_without_a_client_sends_nobody_anywhere() {
    let world = World::with("pat = \"everybody\"").await;
    let (service, scopes) = (world.it(), Scopes::default());
    let (user, session, callback) = (world.user, world.session, Callback::OfService);
    let begin = Begin { service: &service, user, scopes: &scopes, session, callback, return_to: "/" };
    assert!(failure(world.services.begin(begin).await).1.contains("personal access tokens"));
}

#[tokio::test]
async fn a_service_that_is_taken_away_meanwhile_gets_no_code() {
    let world = World::new().await;
    let (url, _) = world.begin("").await;
    let name = world.it().name.clone();
    world.connections.services().reconfigure(Vec::new());
    let outcome = world.services.finish(&world.session, Some(&name), &world.consent(&url)).await;
    assert!(failure(outcome).1.contains("does not connect to that server any longer"));
    assert_eq!(world.stranger.count("POST /token"), 0);
}
