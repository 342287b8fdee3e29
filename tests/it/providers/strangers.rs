//! What strangers can do with an answer that is not theirs.

use super::*;

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
async fn b70_an_answer_of_one_provider_is_not_taken_by_another() {
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
