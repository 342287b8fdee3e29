//! What administrators do about programs, and see of the gateway itself.

use super::*;
use crate::config::{Section, Service, ServiceName, Setting, Shown};
use crate::store::Node;

const ROOMS: [&str; 8] = [
    "/programs",
    "/programs/clients/new",
    "/programs/grants",
    "/programs/keys",
    "/programs/services",
    "/system",
    "/system/configuration",
    "/system/notes",
];

const DEEDS: [&str; 9] = [
    "/programs/clients/new",
    "/programs/clients/delete",
    "/programs/grants/revoke",
    "/programs/keys",
    "/programs/keys/revoke",
    "/programs/services/forge/disconnect",
    "/programs/services/forge/pat",
    "/programs/services/forge/pat/remove",
    "/system/keys/rotate",
];

async fn house() -> House {
    House::with(&[("root", Role::Administrator), ("alice", Role::Member)]).await
}

async fn signed_in<'h>(house: &'h House, name: &str) -> Browser<'h> {
    let mut browser = house.browser();
    browser.sign_in(name, PASSWORD, "/").await.location();
    browser
}

/// What stands in the block that can be copied under a name.
fn copied(page: &Answer, name: &str) -> String {
    let block =
        page.body.split(&format!("data-copy=\"{name}\"><code>")).nth(1).unwrap_or_else(|| panic!("{}", page.body));
    block.split("</code>").next().unwrap().to_owned()
}

fn grant(user: &User, client: &str) -> crate::store::Grant {
    crate::store::Grant {
        id: GrantId::random(&Random::default()),
        user: user.id,
        client_id: client.to_owned(),
        client_name: format!("{client} for people"),
        realm: String::new(),
        resource: "https://gw.example/mcp".to_owned(),
        scope: "read".to_owned(),
        created_at: Clock::standing().now(),
        revoked_at: None,
    }
}

#[tokio::test]
async fn rooms_of_administrators_are_closed_to_everybody_else() {
    let house = house().await;
    let (mut stranger, mut alice) = (house.browser(), signed_in(&house, "alice").await);
    let home = alice.get("/").await;
    for room in ROOMS {
        assert!(stranger.get(room).await.location().starts_with("/login?return_to="), "{room}");
        assert_eq!(alice.get(room).await.status, StatusCode::FORBIDDEN, "{room}");
    }
    for deed in DEEDS {
        assert_eq!(alice.submit(&home, deed, &[("name", "x")]).await.status, StatusCode::FORBIDDEN, "{deed}");
    }
    let mut root = signed_in(&house, "root").await;
    for room in ROOMS {
        let page = root.get(room).await;
        assert_eq!((page.status, page.body.matches("<h1").count()), (StatusCode::OK, 1), "{room}");
    }
}

#[tokio::test]
async fn a_machine_client_shows_its_secret_once() {
    let house = house().await;
    let mut root = signed_in(&house, "root").await;
    let form = root.get("/programs/clients/new").await;
    let wrong = [("name", "nightly"), ("user", "nobody"), ("client_credentials", "on")];
    let refused = root.submit(&form, "/programs/clients/new", &wrong).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body.contains("There is no user nobody") && refused.body.contains("value=\"nightly\""));

    let right = [("name", "nightly"), ("user", "alice"), ("client_credentials", "on")];
    let made = root.submit(&refused, "/programs/clients/new", &right).await;
    assert_eq!((made.status, &made.headers[header::CACHE_CONTROL]), (StatusCode::OK, &"no-store".parse().unwrap()));
    assert!(!made.headers.contains_key(header::SET_COOKIE), "no notice carries it");
    let (id, secret) = (copied(&made, "client_id"), copied(&made, "client_secret"));
    let stored = house.dashboard.store.client("", &id).await.unwrap().unwrap();
    assert!(stored.secret.unwrap().matches(&crate::ids::Digest::of(&secret)));

    house.dashboard.store.insert_grant(&grant(&house.user("alice").await, &id), None).await.unwrap();
    let list = root.get("/programs").await;
    assert!(list.body.contains("Machine") && list.body.contains(&id) && !list.body.contains(&secret));
    let gone = root.submit(&list, "/programs/clients/delete", &[("realm", "-"), ("id", &id)]).await;
    assert_eq!(gone.location(), "/programs");
    assert!(root.get("/programs").await.body.contains("Deleted. One grant has ended"));
    assert!(house.dashboard.store.client("", &id).await.unwrap().is_none());
    let again = root.submit(&list, "/programs/clients/delete", &[("realm", "-"), ("id", &id)]).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_api_key_is_shown_once_and_revoked() {
    let house = house().await;
    let mut root = signed_in(&house, "root").await;
    let page = root.get("/programs/keys").await;
    for (fields, why) in [
        (&[("name", "ci")][..], "tick one of the three"),
        (&[("name", "c i"), ("broker", "on")], "1 to 64 characters"),
        (&[("name", "ci"), ("broker", "on"), ("expires", "soon")], "is not a duration"),
        (&[("name", "ci"), ("introspect", "on")], "introspect and resources go together"),
        (&[("name", "ci"), ("broker", "on"), ("users", "nobody")], "no user nobody"),
    ] {
        let refused = root.submit(&page, "/programs/keys", fields).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{fields:?}");
        assert!(refused.body.contains(why), "{fields:?}: {}", refused.body);
    }
    assert!(house.dashboard.store.api_keys().await.unwrap().is_empty());
    let fields = [("name", "ci"), ("broker", "on"), ("users", "alice, root"), ("expires", "90d")];
    let made = root.submit(&page, "/programs/keys", &fields).await;
    assert_eq!((made.status, &made.headers[header::CACHE_CONTROL]), (StatusCode::OK, &"no-store".parse().unwrap()));
    let key = copied(&made, "API key");
    let (id, secret) = key.split_once('.').unwrap();
    let page = root.get("/programs/keys").await;
    assert!(page.body.contains(id) && page.body.contains("alice, root") && !page.body.contains(secret));
    assert_eq!(root.submit(&page, "/programs/keys/revoke", &[("id", id)]).await.location(), "/programs/keys");
    assert!(house.dashboard.store.api_keys().await.unwrap().is_empty());
    assert!(root.get("/programs/keys").await.body.contains("Revoked."));
}

#[tokio::test]
async fn grants_are_found_by_person_and_client_and_taken_back() {
    let house = house().await;
    let (alice, admin) = (house.user("alice").await, house.user("root").await);
    let grants = [grant(&alice, "claude"), grant(&alice, "cursor"), grant(&admin, "claude")];
    for one in &grants {
        house.dashboard.store.insert_grant(one, None).await.unwrap();
    }
    let mut root = signed_in(&house, "root").await;
    let mut found = async |query: &str| {
        let page = root.get(&format!("/programs/grants{query}")).await;
        grants.iter().map(|one| page.body.contains(&one.id.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(found("").await, [true, true, true]);
    assert_eq!(found("?user=alice").await, [true, true, false]);
    assert_eq!(found("?client=claude").await, [true, false, true]);
    assert_eq!(found("?user=alice&client=claude").await, [true, false, false]);
    assert_eq!(found("?user=nobody").await, [false, false, false]);
    let page = root.get("/programs/grants?user=alice").await;
    let fields = [("id", grants[0].id.to_string()), ("user", "alice".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(root.submit(&page, "/programs/grants/revoke", &fields).await.location(), "/programs/grants?user=alice");
    let page = root.get("/programs/grants?user=alice").await;
    assert!(page.body.contains("its open streams have ended") && !page.body.contains(&grants[0].id.to_string()));
}

#[tokio::test]
async fn long_lists_go_on_on_the_next_page() {
    let house = house().await;
    let alice = house.user("alice").await;
    for number in 0..51 {
        house.dashboard.store.insert_grant(&grant(&alice, &format!("client{number:02}")), None).await.unwrap();
    }
    let mut root = signed_in(&house, "root").await;
    for (room, deed) in [("/programs", "/programs/clients/delete"), ("/programs/grants", "/programs/grants/revoke")] {
        let page = root.get(room).await;
        assert_eq!(page.body.matches(&format!("action=\"{deed}\"")).count(), 50, "{room}");
        let more = page.body.split("\">More<").next().unwrap().rsplit("href=\"").next().unwrap();
        let rest = root.get(&more.replace("&#38;", "&")).await;
        assert_eq!(rest.body.matches(&format!("action=\"{deed}\"")).count(), 1, "{room}");
        assert!(!rest.body.contains(">More<"), "{room}");
    }
}

#[tokio::test]
async fn personal_access_tokens_are_kept_for_others_and_never_shown() {
    let house = house().await;
    house.dashboard.connections.services().reconfigure(vec![Service {
        name: ServiceName::parse("forge").unwrap(),
        label: "Forge".to_owned(),
        client: None,
        pat: None,
        allow_private: false,
    }]);
    let mut root = signed_in(&house, "root").await;
    assert!(root.get("/programs/services").await.body.contains("/programs/services/forge"));
    assert_eq!(root.get("/programs/services/nothing").await.status, StatusCode::NOT_FOUND);
    let page = root.get("/programs/services/forge").await;
    let put = "/programs/services/forge/pat";
    let refused = root.submit(&page, put, &[("user", "nobody"), ("pat", "hunter2")]).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body.contains("There is no user nobody") && !refused.body.contains("hunter2"));
    let kept = root.submit(&page, put, &[("user", "alice"), ("pat", "hunter2")]).await;
    assert_eq!(kept.location(), "/programs/services/forge");
    let page = root.get("/programs/services/forge").await;
    let alice = house.user("alice").await.id.to_string();
    assert!(page.body.contains(&alice) && !page.body.contains("hunter2"));
    let removed = root.submit(&page, &format!("{put}/remove"), &[("user", &alice)]).await;
    assert_eq!(removed.location(), "/programs/services/forge");
    assert!(!root.get("/programs/services/forge").await.body.contains(&alice));
    let nothing = root.submit(&page, "/programs/services/forge/disconnect", &[("user", &alice)]).await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_system_says_who_serves_and_with_which_keys() {
    let house = house().await;
    let now = house.dashboard.clock.now();
    let node = |id, host: &str, version: &str, behind_ms| Node {
        id,
        host: host.to_owned(),
        pid: 7,
        version: version.to_owned(),
        started_at: now,
        ending: false,
        streams: 3,
        memory: 64 << 20,
        behind_ms,
    };
    let random = Random::default();
    let other = crate::ids::NodeId::random(&random);
    let store = &house.dashboard.store;
    store.put_node(&node(house.dashboard.node, "one.example", env!("CARGO_PKG_VERSION"), 0)).await.unwrap();
    store.put_node(&node(other, "two.example", "0.0.1", 4000)).await.unwrap();
    let mut root = signed_in(&house, "root").await;
    let page = root.get("/system").await;
    assert_eq!(page.body.matches("this one").count(), 1);
    for part in ["one.example", "two.example", "another version", "Serves", "4 seconds behind", "3 open", "64 MiB"] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    assert_eq!(root.submit(&page, "/system/keys/rotate", &[]).await.location(), "/system");
    let page = root.get("/system").await;
    assert!(page.body.contains("is published. It signs a day from now."), "{}", page.body);
    assert_eq!(root.submit(&page, "/system/keys/rotate", &[("at_once", "on")]).await.location(), "/system");
    assert!(root.get("/system").await.body.contains("What other keys signed is refused."));
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let house = house().await;
    let mut root = signed_in(&house, "root").await;
    let page = root.get("/system/configuration").await;
    for part in ["<code>tokens</code>", "<code>24h</code>", "line 3", ">secret<", "another value waits for a restart"] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
}

/// What the house shows as its configuration.
pub(super) fn in_force() -> InForce {
    let setting =
        |key, value, given: Option<&str>, waits| Setting { key, value, given: given.map(str::to_owned), waits };
    let settings = vec![
        setting("access_ttl", Shown::Text("24h".to_owned()), None, false),
        setting("secret", Shown::Secret, Some("line 3"), true),
        setting("nothing", Shown::Unset, None, false),
    ];
    InForce { sections: vec![Section { name: "tokens".to_owned(), settings }], files: Vec::new() }
}
