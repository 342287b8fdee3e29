//! What comes after the password, and what takes its place.

use super::*;
use crate::factors::code_at;
use crate::factors::soft::Soft;
use serde_json::Value;

const STEP: Duration = Duration::from_secs(30);

async fn house_with(second_factor: SecondFactor) -> House {
    let house = House::ruled(second_factor, 1000).await;
    house.dashboard.identity.create("alice", &Secret::new(PASSWORD.to_owned()), Role::Member).await.unwrap();
    house
}

impl House {
    /// The code that an app shows now, and which was not used before.
    fn code(&self, secret: &str) -> String {
        self.dashboard.clock.advance(STEP);
        code_at(secret, self.dashboard.clock.now())
    }

    /// Alice has set an app up; its secret.
    async fn enrolled(&self) -> String {
        let mut browser = self.browser();
        browser.sign_in("alice", PASSWORD, "/").await.location();
        browser.enrol().await.0
    }

    /// Another browser of hers, which has shown her password and is asked for a code.
    async fn after_password(&self) -> (Browser<'_>, Answer) {
        let mut browser = self.browser();
        browser.sign_in("alice", PASSWORD, "/").await.location();
        let asked = browser.get("/login/totp").await;
        (browser, asked)
    }

    async fn sessions(&self) -> usize {
        self.dashboard.sessions.of(&self.user("alice").await).await.unwrap().len()
    }

    /// What the audit log says; the newest first.
    async fn audited(&self) -> Vec<String> {
        self.dashboard.audit.flush().await;
        let events = self.dashboard.store.audit(100).await.unwrap();
        events.into_iter().map(|event| format!("{} {}", event.action, event.subject)).collect()
    }
}

impl Browser<'_> {
    /// Sets an authenticator app up for the person who is signed in; its secret, and the recovery codes.
    async fn enrol(&mut self) -> (String, Vec<String>) {
        let page = self.get("/account").await;
        let shown = self.submit(&page, "/account/totp/begin", &[]).await;
        let secret = secret_on(&shown);
        let code = code_at(&secret, self.house.dashboard.clock.now());
        let codes = self.submit(&shown, "/account/totp/confirm", &[("totp_code", &code)]).await;
        assert_eq!(codes.status, StatusCode::OK, "{}", codes.body);
        (secret, codes_on(&codes))
    }

    async fn register(&mut self, soft: &mut Soft) {
        let page = self.get("/account").await;
        let options: Value =
            serde_json::from_str(&self.submit(&page, "/account/passkeys/challenge", &[]).await.body).unwrap();
        let fields = [("label", "Key"), ("credential", &soft.create(&options))];
        assert_eq!(self.submit(&page, "/account/passkeys", &fields).await.location(), "/account");
    }

    async fn sign_in_with(&mut self, soft: &mut Soft, page: &Answer, return_to: &str) -> Answer {
        let asked = self.submit(page, "/login/passkey/challenge", &[]).await;
        assert_eq!(asked.headers[header::CACHE_CONTROL], "no-store");
        let answer = soft.get(&serde_json::from_str(&asked.body).unwrap());
        self.submit(page, "/login/passkey", &[("credential", &answer), ("return_to", return_to)]).await
    }
}

fn secret_on(page: &Answer) -> String {
    let rest = page.body.split("into the app: <code>").nth(1).unwrap_or_else(|| panic!("no secret: {}", page.body));
    rest.split('<').next().unwrap().to_owned()
}

fn codes_on(page: &Answer) -> Vec<String> {
    let rest = page.body.split("recovery codes\"><code>").nth(1).unwrap_or_else(|| panic!("no codes: {}", page.body));
    rest.split('<').next().unwrap().split_whitespace().map(str::to_owned).collect()
}

/// better-auth #9198: whatever the browser has between the two is not a session.
#[tokio::test]
async fn a48_between_password_and_code_there_is_no_session() {
    let house = house_with(SecondFactor::Optional).await;
    let mut first = house.browser();
    first.sign_in("alice", PASSWORD, "/").await.location();
    let (secret, _) = first.enrol().await;

    let mut browser = house.browser();
    assert_eq!(browser.sign_in("alice", PASSWORD, "/account?x=1").await.location(), "/login/totp");
    assert_eq!(house.sessions().await, 1, "only the first browser's");
    for path in ["/account", "/oauth/start?server=mcp.example", "/login/totp"] {
        let answer = browser.get(path).await;
        let refused = answer.status == StatusCode::SEE_OTHER && answer.location().starts_with("/login?");
        assert_eq!(refused, path != "/login/totp", "{path}");
    }
    let asked = browser.get("/login/totp").await;
    assert!(asked.body.contains("name=\"totp_code\"") && !asked.body.contains("alice"));
    let planted = browser.cookies.clone();
    let done = browser.submit(&asked, "/login/totp", &[("totp_code", &house.code(&secret))]).await;
    assert_eq!(done.location(), "/account?x=1");
    assert_ne!(planted.get("__Host-portcullis"), browser.cookies.get("__Host-portcullis"), "fixation: id rotates");
    assert_eq!(house.sessions().await, 2);
    assert!(browser.get("/account").await.body.contains("with password and code"));
    assert_eq!(browser.get("/login/totp").await.location(), "/login", "it is over");
    assert!(house.audited().await.contains(&"login.succeeded password and code".to_owned()));
}

#[tokio::test]
async fn the_code_belongs_to_the_browser_that_gave_the_password() {
    let house = house_with(SecondFactor::Optional).await;
    let mut first = house.browser();
    first.sign_in("alice", PASSWORD, "/").await.location();
    let (secret, _) = first.enrol().await;
    let mut browser = house.browser();
    browser.get("/login").await;
    let before = browser.cookies.clone();
    browser.sign_in("alice", PASSWORD, "/").await.location();
    let mut attacker = house.browser();
    attacker.cookies = before;
    let page = attacker.get("/login").await;
    let code = house.code(&secret);
    assert_eq!(attacker.submit(&page, "/login/totp", &[("totp_code", &code)]).await.location(), "/login");
    let asked = browser.get("/login/totp").await;
    assert_eq!(browser.submit(&asked, "/login/totp", &[("totp_code", &code)]).await.location(), "/");
}

#[tokio::test]
async fn a_code_is_asked_for_five_times_and_for_ten_minutes() {
    let house = house_with(SecondFactor::Optional).await;
    let mut browser = house.browser();
    browser.sign_in("alice", PASSWORD, "/").await.location();
    let (secret, codes) = browser.enrol().await;
    browser.sign_in("alice", PASSWORD, "/").await;
    let mut browser = house.browser();
    browser.sign_in("alice", PASSWORD, "/").await.location();
    let asked = browser.get("/login/totp").await;
    for _ in 0..4 {
        let again = browser.submit(&asked, "/login/totp", &[("totp_code", "abcdef")]).await;
        assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(browser.submit(&asked, "/login/totp", &[("totp_code", "abcdef")]).await.location(), "/login");
    let right = house.code(&secret);
    assert_eq!(browser.submit(&asked, "/login/totp", &[("totp_code", &right)]).await.location(), "/login");

    browser.sign_in("alice", PASSWORD, "/").await.location();
    let asked = browser.get("/login/totp").await;
    house.dashboard.clock.advance(Duration::from_secs(600));
    let late = browser.submit(&asked, "/login/totp", &[("totp_code", &codes[0])]).await;
    assert_eq!(late.location(), "/login");
    browser.sign_in("alice", PASSWORD, "/").await.location();
    let asked = browser.get("/login/totp").await;
    assert_eq!(browser.submit(&asked, "/login/totp", &[("totp_code", &codes[0])]).await.location(), "/");
    let audited = house.audited().await;
    assert!(audited.contains(&"recovery_code.used alice".to_owned()), "{audited:?}");
    assert!(audited.contains(&"login.failed code".to_owned()));
}

#[tokio::test]
async fn a_person_who_is_disabled_meanwhile_does_not_get_in() {
    let house = house_with(SecondFactor::Optional).await;
    let secret = house.enrolled().await;
    let (mut browser, asked) = house.after_password().await;
    house.dashboard.store.set_user_disabled(house.user("alice").await.id, true).await.unwrap();
    let answer = browser.submit(&asked, "/login/totp", &[("totp_code", &house.code(&secret))]).await;
    assert_eq!(answer.location(), "/login");
}

#[tokio::test]
async fn a_password_that_was_changed_meanwhile_proves_nothing() {
    let house = house_with(SecondFactor::Optional).await;
    let secret = house.enrolled().await;
    let (mut browser, asked) = house.after_password().await;
    house.dashboard.identity.set_password("alice", &Secret::new("another one".to_owned())).await.unwrap();
    let answer = browser.submit(&asked, "/login/totp", &[("totp_code", &house.code(&secret))]).await;
    assert_eq!(answer.location(), "/login");
}

#[tokio::test]
async fn guessing_codes_is_limited_per_person() {
    let house = House::ruled(SecondFactor::Optional, 8).await;
    house.dashboard.identity.create("alice", &Secret::new(PASSWORD.to_owned()), Role::Member).await.unwrap();
    let mut browser = house.browser();
    browser.sign_in("alice", PASSWORD, "/").await.location();
    browser.enrol().await;
    let mut browser = house.browser();
    let mut answers = Vec::new();
    for _ in 0..2 {
        browser.sign_in("alice", PASSWORD, "/").await;
        let asked = browser.get("/login/totp").await;
        for _ in 0..4 {
            answers.push(browser.submit(&asked, "/login/totp", &[("totp_code", "000000")]).await.status);
        }
    }
    assert!(answers.contains(&StatusCode::TOO_MANY_REQUESTS), "{answers:?}");
}

#[tokio::test]
async fn where_a_second_factor_is_required_it_is_set_up_before_anything_else() {
    let house = house_with(SecondFactor::Required).await;
    let mut browser = house.browser();
    assert_eq!(browser.sign_in("alice", PASSWORD, "/account").await.location(), "/login/totp");
    let shown = browser.get("/login/totp").await;
    assert!(shown.body.contains("<svg"));
    let secret = secret_on(&shown);
    assert_eq!(browser.get("/account").await.location(), "/login?return_to=%2Faccount");
    let wrong = browser.submit(&shown, "/login/totp", &[("totp_code", "abcdef")]).await;
    assert_eq!((wrong.status, secret_on(&wrong)), (StatusCode::UNAUTHORIZED, secret.clone()));
    assert_eq!(house.sessions().await, 0);
    let done = browser.submit(&shown, "/login/totp", &[("totp_code", &house.code(&secret))]).await;
    assert_eq!((done.status, codes_on(&done).len()), (StatusCode::OK, 10));
    assert!(done.body.contains("href=\"/account\""));
    let page = browser.get("/account").await;
    assert!(page.body.contains("You have 10 left."));
    let kept = browser.submit(&page, "/account/totp/remove", &[]).await;
    assert_eq!(kept.status, StatusCode::CONFLICT);
    assert!(house.dashboard.factors.of(house.user("alice").await.id).await.unwrap().authenticator);
}

#[tokio::test]
async fn a_passkey_signs_in_without_name_password_and_code() {
    let house = house_with(SecondFactor::Required).await;
    let mut browser = house.browser();
    browser.sign_in("alice", PASSWORD, "/").await.location();
    let shown = browser.get("/login/totp").await;
    let code = house.code(&secret_on(&shown));
    browser.submit(&shown, "/login/totp", &[("totp_code", &code)]).await;
    let mut soft = Soft::es256();
    browser.register(&mut soft).await;
    assert!(browser.get("/account").await.body.contains("<bdi>Key</bdi>"));

    let mut other = house.browser();
    let page = other.get("/login").await;
    assert!(page.body.contains("data-passkey=\"get\"") && page.body.contains("JavaScript"));
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("connect-src 'self'") && !policy.contains("unsafe"));
    assert_eq!(other.sign_in_with(&mut soft, &page, "/account").await.location(), "/account");
    let account = other.get("/account").await;
    assert!(account.body.contains("with passkey") && account.body.contains("last used <time "));

    // With a passkey left, the app may go; then the passkey may not.
    assert_eq!(other.submit(&account, "/account/totp/remove", &[]).await.location(), "/account");
    let id = house.dashboard.store.passkeys_of(house.user("alice").await.id).await.unwrap()[0].id.to_string();
    let kept = other.submit(&account, "/account/passkeys/remove", &[("id", &id)]).await;
    assert_eq!(kept.status, StatusCode::CONFLICT);
    let mut third = house.browser();
    third.sign_in("alice", PASSWORD, "/").await.location();
    let asked = third.get("/login/totp").await;
    assert!(!asked.body.contains("name=\"totp_code\"") && asked.body.contains("data-passkey"));
    assert_eq!(third.sign_in_with(&mut soft, &asked, "/").await.location(), "/");
    assert_eq!(third.get("/login/totp").await.location(), "/login");
}

#[tokio::test]
async fn a_passkey_of_nobody_is_refused_with_a_page() {
    let house = house_with(SecondFactor::Optional).await;
    let mut browser = house.browser();
    let page = browser.get("/login").await;
    let refused = browser.sign_in_with(&mut Soft::es256(), &page, "/").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.body.contains("not known here"));
    let empty = browser.submit(&page, "/login/passkey", &[]).await;
    assert_eq!(empty.status, StatusCode::UNAUTHORIZED);
    assert!(house.audited().await.iter().any(|line| line.starts_with("login.failed passkey: ")));
}

#[tokio::test]
async fn a_person_removes_a_passkey_and_only_an_own_one() {
    let house = house_with(SecondFactor::Optional).await;
    house.dashboard.identity.create("mallory", &Secret::new(PASSWORD.to_owned()), Role::Member).await.unwrap();
    let (mut alice, mut mallory) = (house.browser(), house.browser());
    alice.sign_in("alice", PASSWORD, "/").await.location();
    mallory.sign_in("mallory", PASSWORD, "/").await.location();
    let mut soft = Soft::ed25519();
    alice.register(&mut soft).await;
    let id = house.dashboard.store.passkeys_of(house.user("alice").await.id).await.unwrap()[0].id.to_string();
    let page = mallory.get("/account").await;
    let answer = mallory.submit(&page, "/account/passkeys/remove", &[("id", &id)]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let page = alice.get("/account").await;
    let wish = [("after_password", "true")];
    assert_eq!(codes_on(&alice.submit(&page, "/account/passkeys/after-password", &wish).await).len(), 10);
    let mut other = house.browser();
    assert_eq!(other.sign_in("alice", PASSWORD, "/").await.location(), "/login/totp");
    assert_eq!(alice.submit(&page, "/account/passkeys/remove", &[("id", &id)]).await.location(), "/account");
    let login = other.get("/login").await;
    assert_eq!(other.sign_in_with(&mut soft, &login, "/").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(other.sign_in("alice", PASSWORD, "/").await.location(), "/");
}
