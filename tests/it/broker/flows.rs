//! From a program that asks to a token that the service accepts, and everything that can happen to it later.

use super::world::{Shape, World};
use crate::client::{alice, send};
use crate::gateway::USER;
use crate::logs;
use http::{Method, StatusCode, header};
use portcullis::devkit::browser::Browser;
use portcullis::secret::Secret;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::process::Command;

#[tokio::test]
async fn like_google_from_nothing_to_a_token_and_its_renewal() {
    let mut world = World::new(Shape::Google).await;
    let begun = world.gateway.clock.now();
    world.connect().await;
    let asked = world.gateway.clock.now();
    let (status, first) = world.token().await;
    assert_eq!(status, StatusCode::OK, "{first}");
    assert_eq!((&first["token_type"], &first["source"]), (&json!("Bearer"), &json!("oauth")));
    assert_eq!(first["scope"], "email openid");
    let (answered, expires_at) = (world.gateway.clock.now(), first["expires_at"].as_i64().unwrap());
    assert!((begun.0 + 3590..=asked.0 + 3600).contains(&expires_at), "never longer than the service's own: {first}");
    let left = expires_at - first["expires_in"].as_i64().unwrap();
    assert!((asked.0..=answered.0).contains(&left), "as long as it had when it was handed out: {first}");
    let who = world.provider.whoami(&first).await.unwrap();
    assert_eq!(who["sub"], "ada");

    // As long as it has ten minutes it is handed out as it is.
    world.until(expires_at - 660);
    assert_eq!(world.token().await.1["access_token"], first["access_token"]);
    world.until(expires_at - 599);
    let (status, second) = world.token().await;
    assert_eq!(status, StatusCode::OK, "{second}");
    assert_ne!(second["access_token"], first["access_token"]);
    assert!(second["expires_in"].as_i64().unwrap() > 3000, "{second}");
    assert!(world.provider.whoami(&second).await.is_some());
    // The refresh token stays the same there, and keeps working here.
    world.gateway.clock.advance(Duration::from_secs(3700));
    let (status, third) = world.token().await;
    assert_eq!(status, StatusCode::OK, "{third}");
    let counted = world.provider.counted().await;
    assert_eq!((&counted["codes"], &counted["refreshes"]), (&json!(1), &json!(2)));
    nothing_leaks(&world, &[&first, &second, &third]);
}

#[tokio::test]
async fn like_github_a_form_with_commas_and_no_end() {
    let mut world = World::new(Shape::GitHub).await;
    let wanted = json!({ "user_id": USER, "scope": "read:user repo" });
    let (status, answer) = world.ask(Method::POST, "/token/github", wanted.clone()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
    let link = answer["auth_url"].as_str().unwrap();
    let page = world.browser.let_device_in(link, &alice()).await.unwrap();
    assert!(page.text().contains("GitHub is connected"), "{}", page.text());
    let (status, token) = world.ask(Method::POST, "/token/github", wanted).await;
    assert_eq!(status, StatusCode::OK, "{token}");
    assert_eq!((&token["scope"], &token["source"]), (&json!("read:user repo"), &json!("oauth")));
    assert_eq!((&token["expires_at"], token.get("expires_in")), (&Value::Null, None));
    assert_eq!(world.provider.whoami(&token).await.unwrap()["scope"], "read:user repo");
    world.gateway.clock.advance(Duration::from_secs(30 * 24 * 3600));
    assert_eq!(world.token().await.1["access_token"], token["access_token"]);
    assert_eq!(world.provider.counted().await["refreshes"], 0);
}

#[tokio::test]
async fn more_scope_leads_to_consent_again_and_what_is_withheld_is_not_pretended() {
    let mut world = World::new(Shape::Google).await;
    world.connect().await;
    let wanted = json!({ "user_id": USER, "scope": "calendar drive" });
    let (status, answer) = world.ask(Method::POST, "/token/google", wanted.clone()).await;
    assert_eq!((status, &answer["error"]), (StatusCode::UNAUTHORIZED, &json!("authorization_required")));
    // The person lets one of the two go through.
    world.provider.change(json!({ "withheld": ["drive"] })).await;
    let link = answer["auth_url"].as_str().unwrap();
    world.browser.let_device_in(link, &alice()).await.unwrap();
    let (status, _) = world.ask(Method::POST, "/token/google", wanted.clone()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, token) =
        world.ask(Method::POST, "/token/google", json!({ "user_id": USER, "scope": "calendar" })).await;
    assert_eq!((status, &token["scope"]), (StatusCode::OK, &json!("calendar email openid")), "{token}");
    assert_eq!(world.token().await.0, StatusCode::OK, "what was granted before is there still");
}

#[tokio::test]
async fn the_other_shape_does_the_same() {
    let world = World::new(Shape::Google).await;
    let about = json!({ "provider": "google", "user_id": USER });
    let (status, link) = world.ask(Method::POST, "/auth/init", about.clone()).await;
    assert_eq!((status, &link["expires_in"]), (StatusCode::OK, &json!(900)), "{link}");
    let page = world.browser.let_device_in(link["auth_url"].as_str().unwrap(), &alice()).await.unwrap();
    assert!(page.visited.iter().any(|url| url.path() == "/auth/callback"), "{:?}", page.visited);
    assert!(page.text().contains("Google is connected"), "{}", page.text());

    let (status, token) = world.ask(Method::POST, "/auth/token", json!({ "service": "google", "user_id": USER })).await;
    assert_eq!((status, &token["source"]), (StatusCode::OK, &json!("oauth")), "{token}");
    assert_eq!(world.token().await.1["access_token"], token["access_token"]);

    // A form, and the key as Bearer.
    let program = Browser::new().unwrap();
    let bearer = format!("Bearer {}", world.key.expose());
    let form = [("authorization", bearer.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let body = Some("provider=google&user_id=Alice&unknown=x".to_owned());
    let page = send(&program, Method::POST, &world.url("/auth/token"), &form, body).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);

    for _ in 0..2 {
        let address = world.url("/auth/revoke?service=google&user_id=alice");
        let page = send(&program, Method::DELETE, &address, &form[..1], None).await;
        assert_eq!(page.status, StatusCode::NO_CONTENT, "also when there is nothing to end any more");
    }
    let (status, answer) = world.ask(Method::POST, "/auth/token", about).await;
    assert_eq!((status, &answer["error"]), (StatusCode::UNAUTHORIZED, &json!("authorization_required")));
}

#[tokio::test]
async fn disconnecting_gives_the_access_back() {
    for shape in [Shape::Google, Shape::GitHub] {
        let world = World::new(shape).await;
        world.connect().await;
        let (_, token) = world.token().await;
        assert!(world.provider.whoami(&token).await.is_some());
        let (status, _) =
            world.ask(Method::DELETE, "/auth/revoke", json!({ "service": shape.name(), "user_id": USER })).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(world.token().await.0, StatusCode::UNAUTHORIZED);
        let given_back = async {
            while world.provider.whoami(&token).await.is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), given_back).await.expect("the service accepts the token still");
        world.connect().await;
    }
}

#[tokio::test]
async fn a_personal_access_token_steps_in_and_the_answer_says_so() {
    let mut world = World::new(Shape::Google).await;
    let user = world.gateway.app().store.user_by_name(USER).await.unwrap().unwrap();
    let services = &world.gateway.app().services;
    let google = services.find("google").unwrap();
    services.put_pat(&google, user.id, &Secret::new("ya29.pat".to_owned())).await.unwrap();
    let (status, pat) = world.token().await;
    assert_eq!(status, StatusCode::OK, "{pat}");
    assert_eq!((&pat["access_token"], &pat["source"]), (&json!("ya29.pat"), &json!("pat")));
    assert_eq!((&pat["expires_at"], &pat["scope"]), (&Value::Null, &json!("")));

    // Consent goes before it.
    let (_, link) = world.ask(Method::POST, "/auth/init", json!({ "service": "google", "user_id": USER })).await;
    world.browser.let_device_in(link["auth_url"].as_str().unwrap(), &alice()).await.unwrap();
    assert_eq!(world.token().await.1["source"], "oauth");

    // When the service fails, it steps in again; without it the program hears of the trouble, and the consent stays.
    world.provider.change(json!({ "down": true })).await;
    world.gateway.clock.advance(Duration::from_secs(3700));
    assert_eq!(world.token().await.1["source"], "pat");
    services.delete_pat(&google, user.id).await.unwrap();
    let about = json!({ "user_id": USER });
    let (page, answer) = world.ask_with(&world.key, Method::POST, "/token/google", about).await;
    assert_eq!(
        (page.status, &answer["error"]),
        (StatusCode::BAD_GATEWAY, &json!("temporarily_unavailable")),
        "{answer}"
    );
    let wait: u64 = page.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=15).contains(&wait), "{wait}");
    assert!(answer.get("auth_url").is_none());
    world.provider.change(json!({ "down": false })).await;
    world.gateway.clock.advance(Duration::from_secs(30));
    let (status, token) = world.token().await;
    assert_eq!((status, &token["source"]), (StatusCode::OK, &json!("oauth")), "{token}");
}

#[tokio::test]
async fn a_service_without_a_client_has_tokens_alone() {
    let configuration = "\n[[service]]\nname = \"legacy\"\nlabel = \"Legacy\"\npat = \"everybodys\"\n\n\
                         [[service]]\nname = \"bare\"\nlabel = \"Bare\"\npat = \"unused\"\n";
    let world = World::with(Shape::GitHub, configuration).await;
    let (status, token) = world.ask(Method::POST, "/token/legacy", json!({ "user_id": USER })).await;
    assert_eq!(
        (status, &token["access_token"], &token["source"]),
        (StatusCode::OK, &json!("everybodys"), &json!("pat"))
    );
    let (status, link) = world.ask(Method::POST, "/auth/init", json!({ "service": "legacy", "user_id": USER })).await;
    assert_eq!((status, &link["auth_url"]), (StatusCode::OK, &json!(world.url("/account"))));
    let page = world.browser.let_device_in(&world.url("/auth/legacy"), &alice()).await.unwrap();
    assert_eq!(page.status, StatusCode::CONFLICT, "{}", page.text());
    assert!(page.text().contains("personal access token"), "{}", page.text());
}

#[tokio::test]
async fn an_authorization_that_the_service_ended_leads_back_to_consent() {
    let mut world = World::new(Shape::Google).await;
    world.connect().await;
    let (_, token) = world.token().await;
    let basic = ("content-type", "application/x-www-form-urlencoded");
    let program = Browser::new().unwrap();
    let endpoint = format!("{}/token/revocation", world.provider.issuer);
    let body = format!("token={}", token["access_token"].as_str().unwrap());
    assert_eq!(send(&program, Method::POST, &endpoint, &[basic], Some(body)).await.status, StatusCode::OK);
    assert!(world.provider.whoami(&token).await.is_none());
    world.gateway.clock.advance(Duration::from_secs(3700));
    let (status, answer) = world.token().await;
    assert_eq!((status, &answer["error"]), (StatusCode::UNAUTHORIZED, &json!("authorization_required")), "{answer}");
    let asked = world.provider.counted().await["asked"].clone();
    world.connect().await;
    assert_ne!(world.provider.counted().await["asked"], asked, "the person was asked again");
}

/// The examples of docs/broker.md, as they are written there.
#[tokio::test]
async fn the_documented_examples_work() {
    let world = World::new(Shape::GitHub).await;
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/broker.md")).unwrap();
    let blocks = document.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let examples: Vec<&str> = blocks.flat_map(|block| block.split("\n\n")).collect();
    let said = ["authorization_required", "auth_url", "authorization_required", "204"];
    assert_eq!(examples.len(), said.len());
    for (example, part) in examples.iter().zip(said) {
        let mut shell = Command::new("sh");
        shell.args(["-c", &example.replace("curl -s", "curl -s -w '%{http_code}'")]).kill_on_drop(true);
        shell.env("KEY", world.key.expose()).env("GATEWAY", world.gateway.root());
        let output = tokio::time::timeout(Duration::from_secs(60), shell.output()).await.unwrap().unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && answer.contains(part), "{example}: {answer}");
    }
}

/// No token, link or key stands in the log or, in clear, in the database.
fn nothing_leaks(world: &World, answers: &[&Value]) {
    let mut canaries: Vec<&str> = answers.iter().map(|answer| answer["access_token"].as_str().unwrap()).collect();
    canaries.extend([world.key.expose(), "hunter2"]);
    for canary in &canaries {
        assert!(!logs::contain(canary), "{canary} was logged");
    }
    for (path, bytes) in world.gateway.kept() {
        for canary in &canaries {
            assert!(
                !bytes.windows(canary.len()).any(|window| window == canary.as_bytes()),
                "{} holds {canary} in clear",
                path.display()
            );
        }
    }
}
