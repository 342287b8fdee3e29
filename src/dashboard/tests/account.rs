//! What people see of their own sessions, and end.

use super::*;

const OTHER_PASSWORD: &str = "battery staple";

async fn house() -> House {
    let house = House::ruled(SecondFactor::Optional, 1000).await;
    for name in ["alice", "mallory"] {
        house.dashboard.identity.create(name, &Secret::new(PASSWORD.to_owned()), Role::Member).await.unwrap();
    }
    house
}

impl House {
    /// A browser in which somebody has signed in.
    pub(super) async fn signed_in(&self, name: &str) -> Browser<'_> {
        let mut browser = self.browser();
        browser.sign_in(name, PASSWORD, "/").await.location();
        browser
    }

    async fn session_ids(&self, name: &str) -> Vec<String> {
        let sessions = self.dashboard.sessions.of(&self.user(name).await).await.unwrap();
        sessions.into_iter().map(|session| session.id.to_string()).collect()
    }
}

impl Browser<'_> {
    async fn is_signed_in(&mut self) -> bool {
        self.get("/account").await.status == StatusCode::OK
    }

    fn session_cookie(&self) -> &str {
        &self.cookies["__Host-portcullis"]
    }
}

#[tokio::test]
async fn people_see_their_browsers_and_end_one_of_them() {
    let house = house().await;
    let (mut here, mut there) = (house.signed_in("alice").await, house.signed_in("alice").await);
    let mut mallory = house.signed_in("mallory").await;
    let page = here.get("/account").await;
    assert_eq!(page.body.matches("action=\"/account/sessions/end\"").count(), 2);
    assert_eq!(page.body.matches("This one").count(), 1);
    assert!(page.body.contains("127.0.0.1") && page.body.contains("with password"), "{}", page.body);
    let ids = house.session_ids("alice").await;
    let digest = data_encoding::HEXLOWER.encode(&crate::ids::Digest::of(here.session_cookie()).0);
    assert!(!page.body.contains(&digest[..32]) && ids.iter().all(|id| page.body.contains(id)));

    let theirs = mallory.get("/account").await;
    for id in &ids {
        let answer = mallory.submit(&theirs, "/account/sessions/end", &[("id", id)]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    for id in ids {
        if here.is_signed_in().await && there.is_signed_in().await {
            assert_eq!(here.submit(&page, "/account/sessions/end", &[("id", &id)]).await.location(), "/account");
        }
    }
    assert_ne!(here.is_signed_in().await, there.is_signed_in().await, "one of the two");
    assert!(mallory.is_signed_in().await);
}

#[tokio::test]
async fn signing_out_everywhere_ends_all_browsers_and_applications_only_when_asked() {
    let house = house().await;
    let alice = house.user("alice").await;
    let grant = crate::store::Grant {
        id: GrantId::random(&Random::default()),
        user: alice.id,
        client_id: "claude".to_owned(),
        client_name: "Claude".to_owned(),
        realm: String::new(),
        resource: "https://gw.example/mcp".to_owned(),
        scope: String::new(),
        created_at: house.dashboard.clock.now(),
        revoked_at: None,
    };
    house.dashboard.store.insert_grant(&grant, None).await.unwrap();
    let mut mallory = house.signed_in("mallory").await;
    for (applications, left) in [("keep", 1), ("end", 0)] {
        let (mut here, mut there) = (house.signed_in("alice").await, house.signed_in("alice").await);
        let page = here.get("/account").await;
        assert!(page.body.contains("<bdi>Claude</bdi>"));
        let fields = [("applications", applications)];
        assert_eq!(here.submit(&page, "/account/sign-out-everywhere", &fields).await.location(), "/");
        assert!(!here.is_signed_in().await && !there.is_signed_in().await);
        assert_eq!(house.dashboard.store.grants_of(alice.id).await.unwrap().len(), left, "{applications}");
    }
    assert!(mallory.is_signed_in().await);
}

#[tokio::test]
async fn another_password_ends_other_browsers_and_gives_this_one_another_cookie() {
    let house = house().await;
    let (mut here, mut there) = (house.signed_in("alice").await, house.signed_in("alice").await);
    let page = here.get("/account").await;
    let change = |now, new, again| [("password", now), ("new_password", new), ("new_password_again", again)];
    for (fields, why) in [
        (change("wrong password", OTHER_PASSWORD, OTHER_PASSWORD), "not your password"),
        (change(PASSWORD, OTHER_PASSWORD, "battery stable"), "not the same"),
        (change(PASSWORD, "short", "short"), "at least 8 characters"),
    ] {
        let refused = here.submit(&page, "/account/password", &fields).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.body.contains(why), "{why}");
    }
    assert!(there.is_signed_in().await);

    let (stolen, form) = (here.cookies.clone(), page);
    let changed = here.submit(&form, "/account/password", &change(PASSWORD, OTHER_PASSWORD, OTHER_PASSWORD)).await;
    assert_eq!(changed.location(), "/account");
    assert!(here.is_signed_in().await && !there.is_signed_in().await);
    let mut thief = house.browser();
    thief.cookies = stolen;
    assert!(!thief.is_signed_in().await, "fixation: id rotates");
    assert_eq!(house.browser().sign_in("alice", PASSWORD, "/").await.status, StatusCode::UNAUTHORIZED);
    house.browser().sign_in("alice", OTHER_PASSWORD, "/").await.location();
}

#[tokio::test]
async fn what_decides_about_sign_in_is_changed_only_shortly_after_it() {
    let house = house().await;
    let mut browser = house.signed_in("alice").await;
    let page = browser.get("/account").await;
    house.dashboard.clock.advance(Duration::from_secs(15 * 60));
    let again = "/login?again=true&return_to=%2Faccount";
    for path in [
        "/account/password",
        "/account/totp/begin",
        "/account/totp/confirm",
        "/account/totp/remove",
        "/account/recovery-codes",
        "/account/passkeys",
        "/account/passkeys/challenge",
        "/account/passkeys/remove",
        "/account/passkeys/after-password",
    ] {
        assert_eq!(browser.submit(&page, path, &[]).await.location(), again, "{path}");
    }
    let login = browser.get(again).await;
    assert!(login.body.contains("sign in again") && login.body.contains("value=\"alice\""));
    let fields = [("username", "alice"), ("password", PASSWORD), ("return_to", "/account")];
    assert_eq!(browser.submit(&login, "/login", &fields).await.location(), "/account");
    let page = browser.get("/account").await;
    assert_eq!(browser.submit(&page, "/account/totp/begin", &[]).await.status, StatusCode::OK);
    assert_eq!(house.session_ids("alice").await.len(), 1, "the earlier session is over");
}

#[tokio::test]
async fn a15_an_earlier_session_does_not_survive_a_sign_in() {
    let house = house().await;
    let mut browser = house.signed_in("alice").await;
    let earlier = browser.cookies.clone();
    let login = browser.get("/login?again=true").await;
    let fields = [("username", "alice"), ("password", PASSWORD)];
    browser.submit(&login, "/login", &fields).await.location();
    let mut thief = house.browser();
    thief.cookies = earlier;
    assert!(!thief.is_signed_in().await && browser.is_signed_in().await);
}

/// GHSA-f24x-5g9q-753f: who signs in next at a shared browser finds nothing of who was there before.
#[tokio::test]
async fn a23_a_shared_browser_is_the_last_person_s_alone() {
    let house = house().await;
    let mut browser = house.signed_in("alice").await;
    let before = browser.get("/account").await;
    let alices = browser.cookies.clone();
    let login = browser.get("/login?again=true").await;
    browser.submit(&login, "/login", &[("username", "mallory"), ("password", PASSWORD)]).await.location();
    let page = browser.get("/account").await;
    assert!(page.body.contains("<bdi>mallory</bdi>") && !page.body.contains("alice"));
    assert_eq!(browser.submit(&before, "/account/totp/begin", &[]).await.status, StatusCode::FORBIDDEN);
    let mut alice = house.browser();
    alice.cookies = alices;
    assert!(!alice.is_signed_in().await);
}

#[tokio::test]
async fn fixation_a_cookie_that_somebody_planted_is_not_signed_in() {
    let house = house().await;
    let planted = Random::default().token().to_string();
    let mut victim = house.browser();
    victim.cookies.insert("__Host-portcullis".to_owned(), planted.clone());
    victim.sign_in("alice", PASSWORD, "/").await.location();
    assert_ne!(victim.session_cookie(), planted, "id rotates");
    let mut attacker = house.browser();
    attacker.cookies.insert("__Host-portcullis".to_owned(), planted);
    assert!(!attacker.is_signed_in().await);
}

#[tokio::test]
async fn a_disabled_or_removed_person_is_signed_out_at_once() {
    let house = house().await;
    let (mut alice, mut mallory) = (house.signed_in("alice").await, house.signed_in("mallory").await);
    let users = [house.user("alice").await.id, house.user("mallory").await.id];
    house.dashboard.store.set_user_disabled(users[0], true).await.unwrap();
    house.dashboard.revocations.person(users[1]).await.unwrap();
    assert!(!alice.is_signed_in().await && !mallory.is_signed_in().await);
    house.dashboard.store.set_user_disabled(users[0], false).await.unwrap();
    assert!(!alice.is_signed_in().await);
}
