//! A real OpenID provider.

use super::*;

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
