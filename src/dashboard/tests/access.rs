//! What administrators do on the pages of servers and people.

use super::*;
use crate::hostname::Authority;

const OTHER_PASSWORD: &str = "battery staple";

async fn house() -> House {
    let house = House::ruled(SecondFactor::Optional, 1000).await;
    for (name, role) in [("root", Role::Administrator), ("alice", Role::Member)] {
        house.dashboard.identity.create(name, &Secret::new(PASSWORD.to_owned()), role).await.unwrap();
    }
    house
}

impl House {
    async fn page_of(&self, name: &str) -> String {
        format!("/people/{}", self.user(name).await.id)
    }
}

/// What the page after a deed says.
async fn told(browser: &mut Browser<'_>, answer: Answer) -> String {
    let to = answer.location().to_owned();
    browser.get(&to).await.body
}

#[tokio::test]
async fn the_last_administrator_stays_whoever_asks() {
    let house = house().await;
    let mut root = house.signed_in("root").await;
    let page = house.page_of("root").await;
    for deed in ["demote", "disable", "delete"] {
        let path = format!("{page}/sure/{deed}");
        let asked = root.get(&path).await;
        assert!(asked.status == StatusCode::OK && asked.body.contains("This is your own account"), "{}", asked.body);
        let refused = root.submit(&asked, &path, &[]).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{deed}");
        assert!(refused.body.contains("only administrator"), "{}", refused.body);
    }
    let user = house.user("root").await;
    assert!(user.role == Role::Administrator && !user.disabled);
    assert_eq!(root.get("/people").await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_deletes_the_own_account_is_asked_and_signed_out() {
    let house = house().await;
    house.dashboard.identity.create("other", &Secret::new(PASSWORD.to_owned()), Role::Administrator).await.unwrap();
    let mut root = house.signed_in("root").await;
    let path = format!("{}/sure/delete", house.page_of("root").await);
    let asked = root.get(&path).await;
    assert!(asked.body.contains("One signed-in browser ends at once."), "{}", asked.body);
    assert_eq!(root.submit(&asked, &path, &[]).await.location(), "/");
    assert!(house.dashboard.store.user_by_name("root").await.unwrap().is_none());
    assert!(root.get("/").await.body.contains("Sign in"));
    // Demoted by oneself: still there, but without this room.
    let mut other = house.signed_in("other").await;
    house.dashboard.identity.create("third", &Secret::new(PASSWORD.to_owned()), Role::Administrator).await.unwrap();
    let path = format!("{}/sure/demote", house.page_of("other").await);
    let asked = other.get(&path).await;
    assert_eq!(other.submit(&asked, &path, &[]).await.location(), "/");
    assert_eq!(other.get("/people").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_lets_people_in_or_locks_them_out_wants_a_recent_sign_in() {
    let house = house().await;
    let mut root = house.signed_in("root").await;
    let (page, people) = (house.page_of("alice").await, root.get("/people").await);
    house.dashboard.clock.advance(Duration::from_secs(15 * 60));
    for path in ["/people".to_owned(), format!("{page}/password"), format!("{page}/promote"), format!("{page}/enable")]
        .into_iter()
        .chain([format!("{page}/passkeys/remove")])
        .chain(["demote", "disable", "delete", "reset"].map(|deed| format!("{page}/sure/{deed}")))
    {
        let answer = root.submit(&people, &path, &[("name", "eve"), ("password", OTHER_PASSWORD)]).await;
        assert!(
            answer.location().starts_with("/login?again=true&return_to=%2Fpeople"),
            "{path}: {}",
            answer.location()
        );
    }
    assert!(house.dashboard.store.user_by_name("eve").await.unwrap().is_none());
    let path = format!("{page}/groups/join");
    assert_eq!(root.submit(&people, &path, &[("group", "dev")]).await.location(), page, "this can be taken back");
}

#[tokio::test]
async fn one_s_own_way_in_is_changed_elsewhere() {
    let house = house().await;
    let mut root = house.signed_in("root").await;
    let page = house.page_of("root").await;
    let shown = root.get(&page).await;
    assert!(!shown.body.contains(&format!("{page}/password")) && shown.body.contains("Change how you sign in"));
    for (path, fields) in [("password", vec![("password", OTHER_PASSWORD)]), ("sure/reset", vec![])] {
        let refused = root.submit(&shown, &format!("{page}/{path}"), &fields).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{path}");
    }
    house.browser().sign_in("root", PASSWORD, "/").await.location();
}

#[tokio::test]
async fn somebody_is_added_changed_and_deleted() {
    let house = house().await;
    let mut root = house.signed_in("root").await;
    let people = root.get("/people").await;
    for (fields, why) in [
        ([("name", "a b"), ("password", PASSWORD)], "letters"),
        ([("name", "bob"), ("password", "short")], "8 characters"),
        ([("name", "ALICE"), ("password", PASSWORD)], "already"),
    ] {
        let refused = root.submit(&people, "/people", &fields).await;
        assert!(refused.status.is_client_error(), "{fields:?}");
        assert!(refused.body.contains(&format!("value=\"{}\"", fields[0].1)), "what was typed is there: {fields:?}");
        assert!(!refused.body.contains(&format!("value=\"{}\"", fields[1].1)), "but no password");
        assert!(refused.body.to_lowercase().contains(why), "{why}: {}", refused.body);
    }
    let fields = [("name", "bob"), ("password", PASSWORD), ("email", "bob@corp.example")];
    let added = root.submit(&people, "/people", &fields).await;
    assert!(told(&mut root, added).await.contains("Added."));
    let page = house.page_of("bob").await;
    let mut bob = house.signed_in("bob").await;

    let shown = root.get(&page).await;
    let joined = root.submit(&shown, &format!("{page}/groups/join"), &[("group", "dev")]).await;
    assert!(told(&mut root, joined).await.contains("bob is in dev now."));
    assert_eq!(root.submit(&shown, &format!("{page}/groups/leave"), &[("group", "ops")]).await.status.as_u16(), 400);
    let left = root.submit(&shown, &format!("{page}/groups/leave"), &[("group", "dev")]).await;
    assert!(told(&mut root, left).await.contains("bob is out of dev; no open streams ended."));
    let bad = root.submit(&shown, &format!("{page}/email"), &[("email", "nowhere")]).await;
    assert!(bad.status == StatusCode::BAD_REQUEST && bad.body.contains("no address"), "{}", bad.body);

    let set = root.submit(&shown, &format!("{page}/password"), &[("password", OTHER_PASSWORD)]).await;
    assert!(told(&mut root, set).await.contains("bob has a new password; one session ended."));
    assert!(!bob.get("/account").await.status.is_success(), "signed out at once");
    let mut bob = house.browser();
    bob.sign_in("bob", OTHER_PASSWORD, "/").await.location();
    let path = format!("{page}/sure/disable");
    let asked = root.get(&path).await;
    let disabled = root.submit(&asked, &path, &[]).await;
    let notice = told(&mut root, disabled).await;
    assert!(notice.contains("bob is disabled: one session, no grants and no open streams ended."), "{notice}");
    assert!(!bob.get("/account").await.status.is_success());
    assert!(root.submit(&shown, &format!("{page}/enable"), &[]).await.location().starts_with(&page));
    let promoted = root.submit(&shown, &format!("{page}/promote"), &[]).await;
    assert!(told(&mut root, promoted).await.contains("bob administers this gateway now."));

    let path = format!("{page}/sure/delete");
    let asked = root.get(&path).await;
    let deleted = root.submit(&asked, &path, &[]).await;
    assert_eq!(deleted.location(), "/people");
    assert_eq!(root.get(&page).await.status, StatusCode::NOT_FOUND);
    let found = root.get("/people?name=ROOT").await;
    assert!(found.body.contains(">root<") && !found.body.contains(">alice<"), "{}", found.body);
}

#[tokio::test]
async fn connections_and_grants_of_somebody_else_end_from_the_person_s_page() {
    let house = house().await;
    let id = house.dashboard.store.put_connection(&connection(&house.user("alice").await)).await.unwrap().to_string();
    let mut root = house.signed_in("root").await;
    let page = house.page_of("alice").await;
    let shown = root.get(&page).await;
    assert!(shown.body.contains("mcp.example.com") && shown.body.contains("Needs consent again"), "{}", shown.body);
    let path = format!("{page}/connections/disconnect");
    let ended = root.submit(&shown, &path, &[("id", &id)]).await;
    assert!(told(&mut root, ended).await.contains("Disconnected; no open streams ended."));
    assert!(house.dashboard.store.connections().await.unwrap().is_empty());
    assert_eq!(root.submit(&shown, &path, &[("id", &id)]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_queue_says_who_asked_and_a_decision_empties_it() {
    let house = house().await;
    let mut alice = house.signed_in("alice").await;
    assert_eq!(alice.get("/oauth/start?server=mcp.example.com").await.status, StatusCode::FORBIDDEN);
    // A link on somebody's page is nobody's wish.
    let link = Request::get("/oauth/start?server=evil.example").header("sec-fetch-site", "cross-site");
    alice.send(link.body(Body::empty()).unwrap()).await;
    let mut root = house.signed_in("root").await;
    let queue = root.get("/servers").await;
    assert!(queue.body.contains("Waiting for your decision") && queue.body.contains("<bdi>alice</bdi> asked"));
    assert!(queue.body.contains("mcp.example.com") && !queue.body.contains("evil.example"), "{}", queue.body);
    let one = root.get("/servers/mcp.example.com").await;
    assert!(one.body.contains("Look at it now") && one.body.contains("<bdi>alice</bdi> asked"), "{}", one.body);
    let denied = root.submit(&one, "/servers/mcp.example.com/deny", &[]).await;
    assert!(told(&mut root, denied).await.contains("Denied: nobody can use mcp.example.com."));
    assert!(!root.get("/servers").await.body.contains("Waiting for your decision"));
    let approved = root.submit(&one, "/upstreams/approve", &[("authority", "mcp.example.com")]).await;
    assert!(told(&mut root, approved).await.contains("Approved"));
}

#[tokio::test]
async fn a_server_is_named_restricted_and_forgotten() {
    let house = house().await;
    let mut root = house.signed_in("root").await;
    let servers = root.get("/servers").await;
    let refused = root.submit(&servers, "/servers", &[("domain", "no domain")]).await;
    assert!(refused.status == StatusCode::BAD_REQUEST && refused.body.contains("value=\"no domain\""));
    let added = root.submit(&servers, "/servers", &[("domain", "https://MCP.example.com/mcp")]).await;
    assert_eq!(added.location(), "/servers/mcp.example.com");
    let one = root.get("/servers/mcp.example.com").await;
    let post = |what: &str| format!("/servers/mcp.example.com/{what}");
    let bad = root.submit(&one, &post("name"), &[("alias", "Not An Alias")]).await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    let named = root.submit(&one, &post("name"), &[("name", "Example"), ("alias", "example")]).await;
    assert!(told(&mut root, named).await.contains("https://example.gw.example"));
    let named = root.submit(&one, &post("name"), &[("name", ""), ("alias", "")]).await;
    assert!(!told(&mut root, named).await.contains("https://example.gw.example"), "taken away again");

    assert_eq!(root.submit(&one, &post("permit"), &[]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(root.submit(&one, &post("permit"), &[("user", "nobody")]).await.status, StatusCode::NOT_FOUND);
    let permitted = root.submit(&one, &post("permit"), &[("user", "alice"), ("group", "dev")]).await;
    assert!(told(&mut root, permitted).await.contains("These may use it now: alice, the group dev."));
    let authority = Authority::parse("mcp.example.com").unwrap();
    let may = async |name: &str| house.dashboard.registry.may_use(house.user(name).await.id, &authority);
    assert!(may("alice").await && !may("root").await);
    root.submit(&one, &post("forbid"), &[("user", "alice")]).await;
    let nobody = root.submit(&one, &post("forbid"), &[("group", "dev")]).await;
    assert!(told(&mut root, nobody).await.contains("Nobody may use it now."));
    let everybody = root.submit(&one, &post("everybody"), &[]).await;
    assert!(told(&mut root, everybody).await.contains("Everybody may use it now."));
    let forgotten = root.submit(&one, "/upstreams/remove", &[("authority", "mcp.example.com")]).await;
    assert!(told(&mut root, forgotten).await.contains("The decision is forgotten."));
    assert_eq!(root.get("/servers/mcp.example.com").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn rules_about_tools_can_be_written_without_the_list() {
    let house = house().await;
    let mut root = house.signed_in("root").await;
    let servers = root.get("/servers").await;
    root.submit(&servers, "/servers", &[("domain", "mcp.example.com")]).await;
    let path = "/servers/mcp.example.com/tools";
    let tools = root.get(path).await;
    assert!(tools.status == StatusCode::OK && tools.body.contains("has not been read"), "{}", tools.body);
    let bad = root.submit(&tools, path, &[("later", "allowed"), ("denied", "a[b]")]).await;
    assert!(bad.status == StatusCode::BAD_REQUEST && bad.body.contains("a[b]"), "{}", bad.body);
    let fields = [("later", "refused"), ("allowed", "get_*\r\nsearch\r\n\r\n"), ("denied", "get_secret")];
    let saved = root.submit(&tools, path, &fields).await;
    assert!(told(&mut root, saved).await.contains("Saved. Those that it gains later may not be used"));
    let authority = Authority::parse("mcp.example.com").unwrap();
    let policy = || house.dashboard.registry.by_authority(&authority).unwrap().tools.clone();
    let permitted = ["get_a", "search", "get_secret", "drop"].map(|tool| policy().unwrap().permits(tool));
    assert_eq!(permitted, [true, true, false, false]);
    assert!(root.get("/servers").await.body.contains("not all tools"));
    root.submit(&tools, path, &[("later", "allowed")]).await.location();
    assert_eq!(policy(), None, "nothing is said any more");
}
