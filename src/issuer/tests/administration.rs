//! Tokens of the admin API, by both flows.

use super::device::DEVICE_GRANT;
use super::*;
use crate::ids::{Digest, GrantId};
use crate::store::{Grant, RefreshToken};

const API: &str = "https://gw.example/api/v1";

fn request(client: &str, changes: &[(&str, &str)]) -> String {
    authorize("", client, &changed(&[("resource", API), ("scope", "admin")], changes)).replacen(
        "/authorize/?",
        "/authorize?",
        1,
    )
}

async fn exchange(world: &World, client: &str, code: &str) -> Reply {
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    world.post(&format!("{ROOT}/token"), &form).await
}

async fn approve(world: &World, page: &Reply) -> Reply {
    let decided = world.decide_at("/authorize", "client", page, "approve").await;
    world.browse(decided.location()).await
}

#[tokio::test]
async fn an_administrator_is_asked_each_time() {
    let world = World::with(Unknown::Ask, Role::Administrator).await;
    let client = world.client(ROOT).await;
    let page = world.browse(&request(&client, &[])).await;
    assert!(page.body.contains("the administration of this gateway"), "{}", page.body);
    assert!(!page.body.contains("name=\"remember\""), "{}", page.body);
    let code = approve(&world, &page).await.answer()["code"].clone();
    let tokens = exchange(&world, &client, &code).await.json();
    let access = world.issuer.tokens.verify(tokens["access_token"].as_str().unwrap()).unwrap();
    assert_eq!((&*access.audience, &*access.scope), (API, "admin"));
    let silent = world.browse(&request(&client, &[("prompt", "none")])).await.answer();
    assert_eq!(silent["error"], "interaction_required");

    // Whoever is no administrator any more does not go on being one.
    let (former, now) = (world.joined_by("former", Role::Member).await.alice, world.issuer.clock.now());
    let grants = world.issuer.store.grants_of(world.alice.id).await.unwrap();
    let grant = Grant { id: GrantId::random(&world.issuer.random), user: former.id, ..grants[0].clone() };
    world.issuer.store.insert_grant(&grant, None).await.unwrap();
    let refresh_token = RefreshToken {
        token: Digest::of("kept"),
        grant: grant.id,
        issued_at: now,
        expires_at: now.after(Duration::from_secs(60)),
        successor: None,
        first_used_at: None,
        dpop_jkt: None,
    };
    world.issuer.store.insert_refresh_token(&refresh_token).await.unwrap();
    let form = [("grant_type", "refresh_token"), ("client_id", client.as_str()), ("refresh_token", "kept")];
    assert_eq!(world.post(&format!("{ROOT}/token"), &form).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_member_is_told_and_the_client_gets_access_denied() {
    let world = World::new().await;
    let client = world.client(ROOT).await;
    let page = world.browse(&request(&client, &[])).await;
    assert!(page.status == StatusCode::FORBIDDEN && page.body.contains("Only administrators"), "{}", page.body);
    let flow = page.body.split("flow=").nth(1).unwrap().split(['"', '&']).next().unwrap().to_owned();
    // Not by answering a page that was not shown, either.
    let csrf_token = world.csrf_token().await;
    let form = [("flow", flow.as_str()), ("csrf_token", csrf_token.as_str()), ("decision", "approve")];
    let decided = world.submit("/authorize?decide=client", &form).await;
    assert_eq!(world.browse(decided.location()).await.status, StatusCode::FORBIDDEN);
    let answer = world.browse(&format!("/authorize?flow={flow}&cancel=administrator")).await.answer();
    assert_eq!(answer["error"], "access_denied");
    let silent = world.browse(&request(&client, &[("prompt", "none")])).await.answer();
    assert_eq!(silent["error"], "interaction_required");
    assert!(world.issuer.store.grants_of(world.alice.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn elsewhere_the_scope_means_nothing() {
    let world = World::new().await;
    let client = world.client(ROOT).await;
    for resource in ["https://gw.example/mcp", "https://gw.example/api/v1/", "https://gw.example/api/v1/users"] {
        let page = world.browse(&request(&client, &[("resource", resource), ("scope", "admin x")])).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        let code = approve(&world, &page).await.answer()["code"].clone();
        assert_eq!(exchange(&world, &client, &code).await.json()["scope"], "x", "{resource}");
    }
    // At an upstream it is the upstream's own.
    let client = world.client(NOTES).await;
    let tokens = world.signed_in(&client, "admin").await;
    assert_eq!(tokens["scope"], "admin");
}

#[tokio::test]
async fn devices_get_it_from_administrators_alone() {
    let world = World::new().await;
    let client = world.device_client(ROOT).await;
    let form = [("client_id", client.as_str()), ("scope", "admin"), ("resource", API)];
    let device = world.post(&format!("{ROOT}/device_authorization"), &form).await.json();
    let claimed = world.type_code(device["user_code"].as_str().unwrap()).await;
    assert_eq!(world.browse(claimed.location()).await.status, StatusCode::FORBIDDEN);
    let admin = world.joined_by("root", Role::Administrator).await;
    let device = world.post(&format!("{ROOT}/device_authorization"), &form).await.json();
    let claimed = admin.type_code(device["user_code"].as_str().unwrap()).await;
    let page = admin.browse(claimed.location()).await;
    assert_eq!(approve(&admin, &page).await.status, StatusCode::OK);
    let code = device["device_code"].as_str().unwrap();
    let form = [("grant_type", DEVICE_GRANT), ("client_id", client.as_str()), ("device_code", code)];
    assert_eq!(world.post(&format!("{ROOT}/token"), &form).await.json()["scope"], "admin");
}

#[tokio::test]
async fn b54_b55_its_metadata_say_so() {
    let world = World::new().await;
    let get = async |path: &str| world.get(&format!("{ROOT}/.well-known/{path}")).await.json();
    let server = get("oauth-authorization-server").await;
    assert!(server["scopes_supported"].as_array().unwrap().contains(&json!("admin")), "{server}");
    let api = get("oauth-protected-resource/api/v1").await;
    assert_eq!((&api["resource"], &api["scopes_supported"]), (&json!(API), &json!(["admin"])));
    assert!(get("oauth-protected-resource/mcp").await.get("scopes_supported").is_none());
}
