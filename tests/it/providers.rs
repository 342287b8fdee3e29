//! Signing in at a real OpenID provider (`oidc-provider`) and at a server with the shape of GitHub: who is let in, who that
//! is here, and what strangers can do with an answer that is not theirs.

use crate::client::{Client, send};
use crate::gateway::{Gateway, PASSWORD, USER, upstream};
use crate::github::{GitHub, Membership, Trouble};
use crate::openid::OpenId;
use crate::upstreams::Notes;
use crate::visitors::{csrf_token, encoded, signed_in};
use http::{Method, StatusCode, header};
use portcullis::config::{Allowed, GitHubLogin, OidcLogin, Rate, UpstreamAuth};
use portcullis::devkit::browser::{Arrived, Browser, Page};
use portcullis::secret::Secret;
use portcullis::store::{Role, User};
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;

/// A gateway with these ways in, and no limit on attempts.
async fn gateway(passwords: bool, github: Option<GitHubLogin>, oidc: Vec<OidcLogin>) -> Gateway {
    Gateway::with(move |config| {
        let often = Rate { count: 1_000_000, period: Duration::from_secs(1), burst: 1_000_000 };
        (config.limits.login, config.limits.per_ip) = (often, often);
        config.login.password = passwords;
        config.login.github.clone_from(&github);
        config.login.oidc.clone_from(&oidc);
    })
    .await
}

/// A GitHub, and a gateway that lets in whom `edit` says.
async fn with_github(edit: impl FnOnce(&mut GitHubLogin)) -> (GitHub, Gateway) {
    let github = GitHub::start().await;
    let mut settings = github.settings();
    edit(&mut settings);
    let gateway = gateway(true, Some(settings), Vec::new()).await;
    let callback = format!("{}/login/github/callback", gateway.root());
    github.change(|world| world.callback = callback);
    (github, gateway)
}

/// A company, and a gateway that lets in whom `edit` says.
async fn with_company(method: &str, others: Value, edit: impl FnOnce(&mut OidcLogin)) -> (OpenId, Gateway) {
    let mut company = OpenId::start().await;
    let mut settings = company.settings();
    edit(&mut settings);
    let gateway = gateway(true, None, vec![settings]).await;
    company.serve(&gateway.root(), method, others).await;
    company.account(ada()).await;
    (company, gateway)
}

fn ada() -> Value {
    json!({"sub": "ada", "preferred_username": "ada", "email": "ada@corp.com", "email_verified": true,
        "groups": ["staff", "gateway-admins"]})
}

fn everybody(settings: &mut OidcLogin) {
    settings.allowed_domains = Some(Allowed::Everybody);
}

fn logins(names: &[&str]) -> Allowed {
    Allowed::These(names.iter().map(|name| (*name).to_owned()).collect())
}

fn shown(arrived: Arrived) -> Page {
    match arrived {
        Arrived::Page(page) => page,
        Arrived::Stopped(url) => panic!("stopped at {url}"),
    }
}

async fn open(browser: &Browser, url: &str) -> Page {
    shown(browser.open(url, "").await.unwrap())
}

/// Presses the button of a provider on a login page.
async fn press(browser: &Browser, login: &Page, provider: &str, stop: &str) -> Arrived {
    let action = format!("/login/{provider}");
    let form = login.forms().into_iter().find(|form| form.action == action);
    browser.submit(login, &form.unwrap_or_else(|| panic!("no button: {}", login.text())), &[], stop).await.unwrap()
}

/// Signs in at the company's own page, if it asks.
async fn at_company(browser: &Browser, page: Page, account: &str, stop: &str) -> Arrived {
    let Some(form) = page.form_with("account") else { return Arrived::Page(page) };
    browser.submit(&page, &form, &[("account", account), ("decision", "approve")], stop).await.unwrap()
}

/// The whole way, from the login page of the gateway to whatever comes after GitHub.
async fn by_github(browser: &Browser, gateway: &Gateway) -> Page {
    let login = open(browser, &format!("{}/login", gateway.root())).await;
    let page = shown(press(browser, &login, "github", "").await);
    shown(browser.approve(&page, "").await.unwrap())
}

/// The same by way of the company.
async fn by_company(browser: &Browser, gateway: &Gateway, account: &str) -> Page {
    let login = open(browser, &format!("{}/login", gateway.root())).await;
    let page = shown(press(browser, &login, "company", "").await);
    shown(at_company(browser, page, account, "").await)
}

/// Up to the answer of a provider, which is caught before it reaches the gateway.
async fn caught(browser: &Browser, gateway: &Gateway, provider: &str) -> Url {
    let login = open(browser, &format!("{}/login", gateway.root())).await;
    let stop = format!("{}/login/{provider}/callback", gateway.root());
    let arrived = match press(browser, &login, provider, &stop).await {
        Arrived::Page(page) if provider == "github" => browser.approve(&page, &stop).await.unwrap(),
        Arrived::Page(page) => at_company(browser, page, "ada", &stop).await,
        stopped => stopped,
    };
    match arrived {
        Arrived::Stopped(url) => url,
        Arrived::Page(page) => panic!("{}", page.text()),
    }
}

fn browser() -> Browser {
    Browser::new().unwrap()
}

fn is_home(page: &Page) -> bool {
    page.status == StatusCode::OK && page.url.path() == "/" && page.body.contains("Sign out")
}

async fn user(gateway: &Gateway, name: &str) -> User {
    gateway.app().store.user_by_name(name).await.unwrap().unwrap_or_else(|| panic!("there is no {name}"))
}

#[tokio::test]
async fn github_lets_in_who_is_listed_and_knows_them_by_number() {
    let (github, gateway) = with_github(|settings| {
        settings.allowed_users = logins(&["octocat", "mona"]);
        settings.admin_users = vec!["octocat".to_owned()];
    })
    .await;
    github.person(1, "OctoCat");
    github.change(|world| {
        world.people.get_mut(&1).unwrap().emails =
            vec![("old@corp.com", false, true), ("octo@corp.com", true, true), ("x@corp.com", false, false)];
    });
    let octo = browser();
    assert!(is_home(&by_github(&octo, &gateway).await));
    let account = user(&gateway, "octocat").await;
    assert_eq!((account.role, account.email.as_deref()), (Role::Administrator, Some("octo@corp.com")));
    assert!(account.password_hash.is_none());
    assert_eq!(github.asked(), ["/user", "/user/emails"], "nothing is asked that no rule needs");

    // The login is changed, and somebody else takes the old one: it is still the first person who has the account.
    github.person(1, "mona");
    assert!(is_home(&by_github(&browser(), &gateway).await));
    github.person(2, "octocat");
    assert!(is_home(&by_github(&browser(), &gateway).await));
    let people = gateway.app().store.users().await.unwrap();
    let mut names: Vec<_> = people.iter().map(|person| person.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, [USER, "OctoCat", "octocat-2"]);
    let links = gateway.app().store.identities_of(account.id).await.unwrap();
    assert_eq!((links.len(), links[0].subject.as_str(), links[0].name.as_str()), (1, "1", "mona"));
    assert_eq!(links[0].issuer, github.origin());

    github.person(3, "stranger");
    let refused = by_github(&browser(), &gateway).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text().contains("stranger may not use this gateway"), "{}", refused.text());
    assert!(refused.form_with("password").is_some(), "another way may help");
    assert!(gateway.app().store.user_by_name("stranger").await.unwrap().is_none());
}

#[tokio::test]
async fn github_organisations_are_asked_for_at_every_sign_in() {
    let (github, gateway) =
        with_github(|settings| settings.allowed_orgs = vec!["acme".to_owned(), "other".to_owned()]).await;
    github.person(1, "octocat");
    let standing = |membership: Option<Membership>| {
        github.change(|world| {
            let organizations = &mut world.people.get_mut(&1).unwrap().organizations;
            organizations.clear();
            organizations.extend(membership.map(|membership| ("acme", membership)));
        });
    };
    for (membership, words) in [
        (None, "may not use this gateway"),
        (Some(Membership::Pending), "have not accepted the invitation of the organisation acme"),
        (Some(Membership::SingleSignOn), "wants you to sign in to it at GitHub first"),
        (Some(Membership::Restricted), "one of its owners has to approve it"),
    ] {
        standing(membership);
        let refused = by_github(&browser(), &gateway).await;
        assert!(refused.status == StatusCode::FORBIDDEN && refused.text().contains(words), "{}", refused.text());
        assert!(gateway.app().store.user_by_name("octocat").await.unwrap().is_none());
    }
    standing(Some(Membership::Active));
    let member = browser();
    assert!(is_home(&by_github(&member, &gateway).await));
    let account = user(&gateway, "octocat").await;
    assert_eq!(account.role, Role::Member);
    assert_eq!(gateway.app().store.groups_of(account.id).await.unwrap(), ["acme"]);
    // Whoever leaves is refused the next time; the session that is there goes on until it ends.
    standing(None);
    assert_eq!(by_github(&browser(), &gateway).await.status, StatusCode::FORBIDDEN);
    assert!(is_home(&open(&member, &format!("{}/", gateway.root())).await));
}

#[tokio::test]
async fn github_in_trouble_is_told_apart_from_a_refusal() {
    let (github, gateway) = with_github(|settings| settings.allowed_users = Allowed::Everybody).await;
    github.person(1, "octocat");
    for (trouble, status, words) in [
        (Trouble::Codes, StatusCode::BAD_REQUEST, "does not take this answer any longer"),
        (Trouble::Tokens, StatusCode::BAD_GATEWAY, "try again later"),
        (Trouble::RateLimit, StatusCode::BAD_GATEWAY, "too many requests"),
        (Trouble::TooFast, StatusCode::BAD_GATEWAY, "too many requests"),
        (Trouble::Unicorn, StatusCode::BAD_GATEWAY, "try again later"),
        (Trouble::Nonsense, StatusCode::BAD_GATEWAY, "try again later"),
        (Trouble::NoToken, StatusCode::BAD_GATEWAY, "try again later"),
    ] {
        github.change(|world| world.trouble = trouble);
        let failed = by_github(&browser(), &gateway).await;
        assert_eq!(failed.status, status, "{trouble:?}");
        assert!(failed.text().contains(words), "{trouble:?}: {}", failed.text());
        assert_eq!(failed.headers.contains_key(header::RETRY_AFTER), status == StatusCode::BAD_GATEWAY);
        assert!(failed.body.contains("href=\"/login\""), "a way to try again");
    }
    github.change(|world| world.trouble = Trouble::None);
    let visitor = browser();
    let login = open(&visitor, &format!("{}/login?return_to=%2Fencode%3Fdomain%3Dx.example", gateway.root())).await;
    let page = shown(press(&visitor, &login, "github", "").await);
    let declined = shown(visitor.deny(&page, "").await.unwrap());
    assert_eq!(declined.status, StatusCode::FORBIDDEN);
    assert!(declined.text().contains("You did not sign in there"));
    let page = shown(press(&visitor, &declined, "github", "").await);
    let arrived = shown(visitor.approve(&page, "").await.unwrap());
    assert_eq!(arrived.url.as_str(), format!("{}/encode?domain=x.example", gateway.root()), "the way on is kept");

    let (stranger, gateway) = with_github(|settings| settings.client_secret = Secret::new("wrong".to_owned())).await;
    stranger.person(1, "octocat");
    let failed = by_github(&browser(), &gateway).await;
    assert!(failed.status == StatusCode::BAD_GATEWAY && failed.text().contains("client_id or secret"));
    stranger.change(|world| world.callback = "https://elsewhere.example/login/github/callback".to_owned());
    let login = open(&browser(), &format!("{}/login", gateway.root())).await;
    assert!(login.body.contains("Sign in with"));
}

#[tokio::test]
async fn a_real_openid_provider_with_every_method_and_algorithm() {
    let (mut company, gateway) = with_company("client_secret_basic", json!({}), |settings| {
        settings.allowed_domains = Some(logins(&["corp.com"]));
        settings.allowed_groups = Some(vec!["staff".to_owned()]);
        settings.admin_groups = vec!["gateway-admins".to_owned()];
    })
    .await;
    // Claims are at the userinfo endpoint only, then in the ID token.
    for (method, others) in [
        ("client_secret_basic", json!({"algorithm": "RS256"})),
        ("client_secret_post", json!({"algorithm": "ES256", "conformIdTokenClaims": false})),
        ("client_secret_basic", json!({"algorithm": "EdDSA"})),
        ("client_secret_post", json!({"algorithm": "PS256"})),
        ("client_secret_basic", json!({"rotate": true})),
    ] {
        company.serve(&gateway.root(), method, others.clone()).await;
        // Longer than the gateway waits before it looks for new keys again.
        gateway.clock.advance(Duration::from_secs(61));
        let page = by_company(&browser(), &gateway, "ada").await;
        assert!(is_home(&page), "{method} {others}: {}", page.text());
    }
    let ada = user(&gateway, "ada").await;
    assert_eq!((ada.role, ada.email.as_deref()), (Role::Administrator, Some("ada@corp.com")));
    assert_eq!(gateway.app().store.groups_of(ada.id).await.unwrap(), ["gateway-admins", "staff"]);
    company
        .account(json!({"sub": "ada", "preferred_username": "ada", "email": "ada@corp.com", "email_verified": true,
        "groups": ["staff"]}))
        .await;
    assert!(is_home(&by_company(&browser(), &gateway, "ada").await));
    assert_eq!(gateway.app().store.groups_of(ada.id).await.unwrap(), ["staff"], "groups follow the provider");
    assert_eq!(user(&gateway, "ada").await.role, Role::Administrator, "an administrator is made, never unmade");
}

#[tokio::test]
async fn a_public_client_signs_in_with_pkce_alone() {
    let (_company, gateway) = with_company("none", json!({}), |settings| {
        everybody(settings);
        settings.client_secret = None;
    })
    .await;
    assert!(is_home(&by_company(&browser(), &gateway, "ada").await));
}

#[tokio::test]
async fn a22_only_verified_addresses_of_the_very_domain() {
    let (mut company, gateway) = with_company("client_secret_basic", json!({}), |settings| {
        settings.allowed_domains = Some(logins(&["corp.com"]));
    })
    .await;
    for (subject, email, verified) in [
        ("unverified", "boss@corp.com", json!(false)),
        ("unsaid", "boss@corp.com", Value::Null),
        ("similar", "boss@evil-corp.com", json!(true)),
        ("below", "boss@corp.com.evil.example", json!(true)),
        ("double", "boss@evil.example@corp.com", json!(true)),
    ] {
        company.account(json!({"sub": subject, "email": email, "email_verified": verified})).await;
        let refused = by_company(&browser(), &gateway, subject).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{subject}: {}", refused.text());
        assert!(refused.form_with("password").is_some(), "the login page again");
    }
    assert_eq!(gateway.app().store.users().await.unwrap().len(), 1);
    assert!(is_home(&by_company(&browser(), &gateway, "ada").await));
}

#[tokio::test]
async fn an_address_or_a_name_links_nobody() {
    let (mut company, gateway) = with_company("client_secret_basic", json!({}), everybody).await;
    let app = gateway.app();
    let mallory = json!({"sub": "m", "preferred_username": USER, "email": "alice@corp.com", "email_verified": true});
    company.account(mallory).await;
    let page = by_company(&browser(), &gateway, "m").await;
    assert!(is_home(&page) && page.text().contains("alice-2"), "{}", page.text());
    let (own, other) = (user(&gateway, USER).await, user(&gateway, "alice-2").await);
    assert_ne!(own.id, other.id);
    assert_eq!((other.role, own.email), (Role::Member, None));
    assert!(app.store.identities_of(own.id).await.unwrap().is_empty());
    // Without a password there is none that fits.
    let login = open(&browser(), &format!("{}/login", gateway.root())).await;
    assert_eq!(login.status, StatusCode::OK);
    for password in ["", PASSWORD] {
        let visitor = browser();
        let login = open(&visitor, &format!("{}/login", gateway.root())).await;
        let form = login.form_with("password").unwrap();
        let fields = [("username", "alice-2"), ("password", password)];
        assert_eq!(shown(visitor.submit(&login, &form, &fields, "").await.unwrap()).status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a04_an_answer_is_worth_nothing_in_another_browser() {
    let (_company, gateway) = with_company("client_secret_basic", json!({}), everybody).await;
    let attacker = browser();
    let answer = caught(&attacker, &gateway, "company").await;
    // Login CSRF: the victim opens the attacker's answer, as a stranger or signed in.
    let victim = browser();
    open(&victim, &format!("{}/login", gateway.root())).await;
    let (other, _) = signed_in(&gateway).await;
    for somebody in [&browser(), &victim, &other] {
        let page = open(somebody, answer.as_str()).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
        assert!(page.text().contains("begun in another browser"), "{}", page.text());
    }
    assert!(is_home(&open(&other, &format!("{}/", gateway.root())).await), "whoever was signed in still is");
    assert!(is_home(&open(&attacker, answer.as_str()).await), "it was not used up by strangers");
    let again = open(&attacker, answer.as_str()).await;
    assert!(again.status == StatusCode::BAD_REQUEST && again.text().contains("completed already"), "{}", again.text());
    // Nor can another site press the button.
    let csrf = csrf_token(&open(&victim, &format!("{}/login", gateway.root())).await);
    for (origin, token) in [("https://evil.example", csrf.as_str()), (gateway.root().as_str(), "guessed")] {
        let url = format!("{}/login/company", gateway.root());
        let body = encoded(&[("csrf_token", token), ("return_to", "/")]);
        let page = send(&victim, Method::POST, &url, &[("origin", origin)], Some(body)).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        assert!(!page.headers.contains_key(header::LOCATION));
    }
}

#[tokio::test]
async fn an_answer_of_one_provider_is_not_taken_by_another() {
    let (github, mut company) = (GitHub::start().await, OpenId::start().await);
    let (mut octo, mut settings) = (github.settings(), company.settings());
    octo.allowed_users = Allowed::Everybody;
    everybody(&mut settings);
    let gateway = gateway(true, Some(octo), vec![settings]).await;
    company.serve(&gateway.root(), "client_secret_basic", json!({})).await;
    company.account(ada()).await;
    let callback = format!("{}/login/github/callback", gateway.root());
    github.change(|world| world.callback = callback);
    github.person(1, "octocat");
    for (from, to) in [("github", "company"), ("company", "github")] {
        let visitor = browser();
        let answer = caught(&visitor, &gateway, from).await.to_string();
        let turned = answer.replace(&format!("/login/{from}/"), &format!("/login/{to}/"));
        let page = open(&visitor, &turned).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{}", page.text());
        assert!(page.text().contains("belongs to another provider"), "{}", page.text());
        assert_eq!(open(&visitor, &answer).await.status, StatusCode::BAD_REQUEST, "and it is used up");
    }
    let visitor = browser();
    let mut answer = caught(&visitor, &gateway, "company").await;
    let pairs: Vec<(String, String)> = answer.query_pairs().into_owned().filter(|(name, _)| name != "iss").collect();
    answer.query_pairs_mut().clear().extend_pairs(&pairs);
    let page = open(&visitor, answer.as_str()).await;
    assert!(page.status == StatusCode::BAD_REQUEST && page.text().contains("does not come from Company"));
    assert_eq!(gateway.app().store.users().await.unwrap().len(), 1, "nobody came in");
    assert!(github.asked().is_empty());
}

#[tokio::test]
async fn a23_a_sign_in_begins_a_session_of_its_own() {
    let (_company, gateway) = with_company("client_secret_basic", json!({}), everybody).await;
    let root = gateway.root();
    let (shared, _) = signed_in(&gateway).await;
    let before = shared.cookie(&root, "portcullis").unwrap();
    let answer = {
        // The login page is not shown to somebody who is signed in; its form can be sent all the same.
        let visitor = browser();
        caught(&visitor, &gateway, "company").await
    };
    assert_eq!(open(&shared, answer.as_str()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(shared.cookie(&root, "portcullis").as_deref(), Some(before.as_str()));
    // Fixation: a session that the browser brings along does not become the person's.
    let fixed = browser();
    let page = by_company(&fixed, &gateway, "ada").await;
    assert!(is_home(&page));
    let first = fixed.cookie(&root, "portcullis").unwrap();
    let form = page.forms().into_iter().find(|form| form.action == "/logout").unwrap();
    fixed.submit(&page, &form, &[], "").await.unwrap();
    assert!(is_home(&by_company(&fixed, &gateway, "ada").await));
    assert_ne!(fixed.cookie(&root, "portcullis").unwrap(), first);
}

#[tokio::test]
async fn identities_are_linked_by_whoever_is_signed_in_to_both() {
    let (mut company, gateway) = with_company("client_secret_basic", json!({}), everybody).await;
    let store = &gateway.app().store;
    let page_url = format!("{}/account", gateway.root());
    let (own, _) = signed_in(&gateway).await;
    let link = async |browser: &Browser, account: &str| {
        let page = open(browser, &page_url).await;
        let form = page.form_with("provider").unwrap();
        let page = shown(browser.submit(&page, &form, &[], "").await.unwrap());
        shown(at_company(browser, page, account, "").await)
    };
    let page = link(&own, "ada").await;
    assert!(page.url.path() == "/account" && page.body.contains("ada@corp.com"), "{}", page.text());
    assert_eq!(store.identities_of(user(&gateway, USER).await.id).await.unwrap().len(), 1);
    assert_eq!(link(&own, "ada").await.url.path(), "/account", "once more does no harm");
    // From now on it is a way in, to that account.
    let visitor = browser();
    let home = by_company(&visitor, &gateway, "ada").await;
    assert!(is_home(&home) && home.text().contains(USER));
    assert_eq!(store.users().await.unwrap().len(), 1);
    assert_eq!(user(&gateway, USER).await.email.as_deref(), Some("ada@corp.com"));
    assert_eq!(store.groups_of(user(&gateway, USER).await.id).await.unwrap(), ["gateway-admins", "staff"]);

    // Somebody else cannot take it.
    company.account(json!({"sub": "bob", "preferred_username": "bob"})).await;
    let bob = browser();
    assert!(is_home(&by_company(&bob, &gateway, "bob").await));
    bob.forget_cookies();
    let mut other = gateway.app().identity.create("carol", &Secret::new(PASSWORD.to_owned()), Role::Member).await;
    let carol = other.as_mut().unwrap().id;
    let carols = browser();
    let login = open(&carols, &format!("{}/login", gateway.root())).await;
    let form = login.form_with("password").unwrap();
    carols.submit(&login, &form, &[("username", "carol"), ("password", PASSWORD)], "").await.unwrap();
    let taken = link(&carols, "ada").await;
    assert!(taken.status == StatusCode::CONFLICT && taken.body.contains("belongs to another account"));
    assert!(store.identities_of(carol).await.unwrap().is_empty());

    // Whoever has a password may unlink; whoever has nothing else may not.
    let unlink = async |browser: &Browser| {
        let page = open(browser, &page_url).await;
        let form = page.form_with("subject").unwrap();
        shown(browser.submit(&page, &form, &[], "").await.unwrap())
    };
    assert_eq!(unlink(&own).await.status, StatusCode::OK);
    let alice = user(&gateway, USER).await;
    assert!(store.identities_of(alice.id).await.unwrap().is_empty() && alice.email.is_none());
    assert!(store.groups_of(alice.id).await.unwrap().is_empty());
    let bob = browser();
    by_company(&bob, &gateway, "bob").await;
    let last = unlink(&bob).await;
    assert!(last.status == StatusCode::CONFLICT && last.body.contains("your only way to sign in"));
    assert_eq!(store.identities_of(user(&gateway, "bob").await.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn somebody_who_is_disabled_stays_out() {
    let (_company, gateway) = with_company("client_secret_basic", json!({}), everybody).await;
    let visitor = browser();
    assert!(is_home(&by_company(&visitor, &gateway, "ada").await));
    let ada = user(&gateway, "ada").await;
    gateway.app().store.set_user_disabled(ada.id, true).await.unwrap();
    let refused = by_company(&visitor, &gateway, "ada").await;
    assert!(refused.status == StatusCode::FORBIDDEN && refused.text().contains("is disabled"), "{}", refused.text());
}

#[tokio::test]
async fn without_passwords_there_are_only_buttons() {
    let mut company = OpenId::start().await;
    let mut settings = company.settings();
    everybody(&mut settings);
    let gateway = gateway(false, None, vec![settings]).await;
    company.serve(&gateway.root(), "client_secret_basic", json!({})).await;
    company.account(ada()).await;
    let visitor = browser();
    let login = open(&visitor, &format!("{}/login", gateway.root())).await;
    assert!(login.form_with("password").is_none() && login.body.contains("Sign in with"));
    let csrf = csrf_token(&login);
    let good = encoded(&[("csrf_token", &csrf), ("username", USER), ("password", PASSWORD)]);
    let tried = send(&visitor, Method::POST, login.url.as_str(), &[], Some(good)).await;
    assert_eq!(tried.status, StatusCode::FORBIDDEN);
    assert!(tried.text().contains("does not take passwords") && !tried.headers.contains_key(header::LOCATION));
    for path in ["/setup", "/setup?token=x"] {
        assert_eq!(open(&visitor, &format!("{}{path}", gateway.root())).await.status, StatusCode::NOT_FOUND);
    }
    // One provider is still a button: whoever signs out stays signed out.
    let home = by_company(&visitor, &gateway, "ada").await;
    assert!(is_home(&home));
    let form = home.forms().into_iter().find(|form| form.action == "/logout").unwrap();
    let out = shown(visitor.submit(&home, &form, &[], "").await.unwrap());
    assert!(!is_home(&out) && out.url.path() == "/");
    let login = open(&visitor, &format!("{}/login", gateway.root())).await;
    assert_eq!((login.url.path(), login.status), ("/login", StatusCode::OK));
    // A configuration that lets passwords in again is in force at once.
    gateway.reload(|config| config.login.password = true).await.unwrap();
    assert!(open(&visitor, &format!("{}/login", gateway.root())).await.form_with("password").is_some());
    gateway.reload(|config| config.login.oidc.clear()).await.unwrap();
    let gone = open(&visitor, &format!("{}/login/company/callback?state=x&code=y", gateway.root())).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_provider_that_is_down_is_told_with_a_way_to_try_again() {
    let (mut company, gateway) = with_company("client_secret_basic", json!({}), everybody).await;
    company.change(json!({"down": true})).await;
    let visitor = browser();
    let login = open(&visitor, &format!("{}/login?return_to=%2Fencode", gateway.root())).await;
    let down = shown(press(&visitor, &login, "company", "").await);
    assert_eq!(down.status, StatusCode::BAD_GATEWAY);
    assert!(down.headers.contains_key(header::RETRY_AFTER));
    assert!(down.body.contains("href=\"/login?return_to=%2Fencode\""), "{}", down.body);
    company.serve(&gateway.root(), "client_secret_basic", json!({})).await;
    assert!(is_home(&by_company(&visitor, &gateway, "ada").await), "it is asked again at once");
    // It goes away between the button and the answer.
    let other = browser();
    let answer = caught(&other, &gateway, "company").await;
    company.change(json!({"down": true})).await;
    let failed = open(&other, answer.as_str()).await;
    assert_eq!(failed.status, StatusCode::BAD_GATEWAY, "{}", failed.text());
}

#[tokio::test]
async fn a_client_connects_for_a_person_who_signs_in_elsewhere() {
    let notes = Notes::start().await;
    let mut company = OpenId::start().await;
    let (mut settings, authority) = (company.settings(), notes.authority());
    everybody(&mut settings);
    let gateway = Gateway::with(move |config| {
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
        config.login.oidc = vec![settings.clone()];
    })
    .await;
    company.serve(&gateway.root(), "client_secret_basic", json!({})).await;
    company.account(ada()).await;
    let client = Client::ready(&format!("{}/mcp", gateway.url_of(&notes.authority()))).await;
    let stop = client.redirect_uri.clone();
    let login = shown(client.browser.open(&client.authorization_url(&[]), &stop).await.unwrap());
    let page = shown(press(&client.browser, &login, "company", &stop).await);
    let consent = shown(at_company(&client.browser, page, "ada", &stop).await);
    assert!(consent.text().contains("ada"), "{}", consent.text());
    let Arrived::Stopped(callback) = client.browser.approve(&consent, &stop).await.unwrap() else { panic!() };
    let code = callback.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let tokens = client.exchange(&code).await;
    let claims: Value = portcullis::jose::unverified_claims(&tokens.access).unwrap();
    assert_eq!((&claims["username"], &claims["email"]), (&json!("ada"), &json!("ada@corp.com")));
}
