//! Who that is here.

use super::*;

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
    for password in ["", PASSWORD] {
        let visitor = browser();
        let login = open(&visitor, &format!("{}/login", gateway.root())).await;
        let form = login.form_with("password").unwrap();
        let fields = [("username", "alice-2"), ("password", password)];
        assert_eq!(shown(visitor.submit(&login, &form, &fields, "").await.unwrap()).status, StatusCode::UNAUTHORIZED);
    }
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
    assert!(is_home(&by_company(&browser(), &gateway, "bob").await));
    let carol =
        gateway.app().identity.create("carol", &Secret::new(PASSWORD.to_owned()), Role::Member).await.unwrap().id;
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
    gateway.app().revocations.disable(ada.id).await.unwrap();
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
