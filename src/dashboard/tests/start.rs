//! The start, and the connection centre.

use super::*;

#[tokio::test]
async fn only_those_who_approve_make_us_ask_an_unknown_server() {
    let house = House::with(&[("root", Role::Administrator), ("alice", Role::Member)]).await;
    let fields = [("server", "mcp.example.com")];
    let mut alice = house.browser();
    alice.sign_in("alice", PASSWORD, "/").await.location();
    let page = alice.get("/encode?domain=mcp.example.com").await;
    assert!(page.body.contains("What sign-in will it want?"));
    let told = alice.submit(&page, "/start/outlook", &fields).await;
    assert_eq!(told.status, StatusCode::FORBIDDEN);
    assert!(told.body.contains("does not talk to it"), "{}", told.body);

    let mut root = house.browser();
    root.sign_in("root", PASSWORD, "/").await.location();
    assert_eq!(root.get("/start/outlook?server=mcp.example.com").await.status, StatusCode::METHOD_NOT_ALLOWED);
    let page = root.get("/encode?domain=mcp.example.com").await;
    root.origin = "https://x-enc.gw.example";
    assert_eq!(root.submit(&page, "/start/outlook", &fields).await.status, StatusCode::FORBIDDEN);
    root.origin = "https://gw.example";
    let seen = root.submit(&page, "/start/outlook", &fields).await;
    assert_eq!(seen.status, StatusCode::OK);
    assert!(seen.body.contains("Its name <span class=\"state bad\">fails"), "{}", seen.body);
    let forbidden = root.submit(&page, "/start/outlook", &[("server", "10.0.0.1")]).await;
    assert_eq!(forbidden.status, StatusCode::NOT_FOUND, "nothing private is looked at");
}

#[tokio::test]
async fn administrators_see_what_a_new_gateway_needs_until_it_has_it() {
    let house = House::with(&[("root", Role::Administrator), ("alice", Role::Member)]).await;
    let mut alice = house.browser();
    alice.sign_in("alice", PASSWORD, "/").await.location();
    assert!(!alice.get("/").await.body.contains("Setting up this gateway"));
    let mut root = house.browser();
    root.sign_in("root", PASSWORD, "/").await.location();
    house.dashboard.doctor.look_at_own_entrance().await;
    let page = root.get("/").await.body;
    assert!(page.contains("Setting up this gateway") && page.contains("leads to no address"), "{page}");
    assert!(page.contains("First server <span class=\"state quiet\">to do"), "{page}");
    house.dashboard.store.put_connection(&connection(&house.user("alice").await)).await.unwrap();
    assert!(root.get("/").await.body.contains("First server <span class=\"state good\">there"));
}

#[tokio::test]
async fn people_name_their_own_connections_only() {
    let house = House::with(&[("alice", Role::Member), ("mallory", Role::Member)]).await;
    let id = house.dashboard.store.put_connection(&connection(&house.user("alice").await)).await.unwrap().to_string();
    let rename = async |browser: &mut Browser<'_>, title: &str| {
        let page = browser.get("/connections").await;
        let page = if page.body.contains("csrf_token") { page } else { browser.get("/account").await };
        browser.submit(&page, "/connections/rename", &[("id", &id), ("title", title)]).await
    };
    let mut mallory = house.browser();
    mallory.sign_in("mallory", PASSWORD, "/").await.location();
    assert_eq!(rename(&mut mallory, "mine").await.status, StatusCode::NOT_FOUND);
    let mut alice = house.browser();
    alice.sign_in("alice", PASSWORD, "/").await.location();
    for bad in [&*"x".repeat(61), "\u{202e}moc.live"] {
        let refused = rename(&mut alice, bad).await;
        assert!(refused.status == StatusCode::BAD_REQUEST && refused.body.contains("was not changed"), "{bad}");
    }
    assert_eq!(rename(&mut alice, " The office ").await.location(), "/connections");
    let page = alice.get("/connections").await;
    assert!(page.body.contains("<bdi>The office</bdi> <span class=\"tag\">work</span>"), "{}", page.body);
    assert_eq!(rename(&mut alice, "").await.location(), "/connections");
    assert!(alice.get("/connections").await.body.contains("<h3><bdi>work</bdi>"));
}

#[tokio::test]
async fn an_end_says_what_it_broke_off() {
    let house = House::with(&[("alice", Role::Member)]).await;
    let held = connection(&house.user("alice").await);
    let id = house.dashboard.store.put_connection(&held).await.unwrap().to_string();
    let mut alice = house.browser();
    alice.sign_in("alice", PASSWORD, "/").await.location();
    let page = alice.get("/connections").await;
    alice.submit(&page, "/connections/disconnect", &[("id", &id)]).await.location();
    let page = alice.get("/connections").await.body;
    assert!(page.contains("Disconnected from mcp.example.com.</p>"), "nothing was open: {page}");
}
