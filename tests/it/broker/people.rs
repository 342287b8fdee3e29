//! What people do by themselves: connect, disconnect, keep tokens; and what administrators see of it.

use super::world::{BOB, Shape, World, bob, browser_of, shown};
use crate::client::alice;
use crate::gateway::USER;
use http::StatusCode;
use portcullis::devkit::browser::{Browser, Form, Page};

#[tokio::test]
async fn a_person_connects_and_disconnects_on_the_account_page() {
    let world = World::new(Shape::Google).await;
    let browser = browser_of(&world, &bob()).await;
    let page = account(&browser, &world).await;
    assert!(page.body.contains("href=\"/auth/google?return_to=/account\""), "{}", page.body);
    let mut page = shown(browser.open(&world.url("/auth/google?return_to=/account"), "").await.unwrap());
    assert!(!page.text().contains("The program"), "nobody else asks: {}", page.text());
    while page.form_with("decision").is_some() {
        page = shown(browser.approve(&page, "").await.unwrap());
    }
    assert_eq!(page.url.path(), "/account");
    assert!(page.body.contains("Connected") && page.body.contains("<code>email</code>"), "{}", page.text());
    assert!(world.is_connected(BOB).await && !world.is_connected(USER).await);
    let home = shown(browser.open(&world.url("/"), "").await.unwrap());
    assert!(!home.body.contains("service:google"), "services are no MCP servers: {}", home.text());

    let form = form_to(&page, "/account/services/disconnect");
    let page = shown(browser.submit(&page, &form, &[], "").await.unwrap());
    assert_eq!(page.status, StatusCode::OK);
    assert!(!world.is_connected(BOB).await);
}

#[tokio::test]
async fn a_person_keeps_a_token_that_nobody_sees_again() {
    let world = World::new(Shape::GitHub).await;
    let browser = browser_of(&world, &alice()).await;
    let page = account(&browser, &world).await;
    let form = form_to(&page, "/account/services/pat");
    let bad = shown(browser.submit(&page, &form, &[("pat", "two words")], "").await.unwrap());
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert!(bad.body.contains("was not kept"), "{}", bad.text());
    let page = shown(browser.submit(&page, &form, &[("pat", "ghp_canary")], "").await.unwrap());
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("personal access token, kept") && !page.body.contains("ghp_canary"), "{}", page.text());
    assert_eq!(world.token().await.1["access_token"], "ghp_canary");
    let form = form_to(&page, "/account/services/pat/remove");
    shown(browser.submit(&page, &form, &[], "").await.unwrap());
    assert_eq!(world.token().await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_address_with_somebody_else_s_name_connects_nobody() {
    let world = World::new(Shape::Google).await;
    let browser = browser_of(&world, &bob()).await;
    for query in ["user_id=alice", "user_id=nobody", "user_email=alice@corp.example"] {
        let page = shown(browser.open(&world.url(&format!("/auth/google?{query}")), "").await.unwrap());
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{query}: {}", page.text());
        assert!(page.form_with("decision").is_none() && !page.text().contains("alice"), "{}", page.text());
    }
    let page = shown(browser.open(&world.url("/auth/google?user_id=BOB&scope=drive"), "").await.unwrap());
    assert!(page.form_with("decision").is_some() && page.text().contains("drive"), "{}", page.text());
    let page = shown(browser.open(&world.url("/auth/nowhere?user_id=bob"), "").await.unwrap());
    assert_eq!(page.status, StatusCode::NOT_FOUND);
}

async fn account(browser: &Browser, world: &World) -> Page {
    shown(browser.open(&world.url("/account"), "").await.unwrap())
}

fn form_to(page: &Page, action: &str) -> Form {
    let all = page.forms();
    all.into_iter().find(|form| form.action.ends_with(action)).unwrap_or_else(|| panic!("no form to {action}"))
}
