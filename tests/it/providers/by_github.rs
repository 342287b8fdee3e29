//! GitHub: people and organisations, and its errors.

use super::*;

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
    assert_eq!(names, ["OctoCat", USER, "octocat-2"]);
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
}
