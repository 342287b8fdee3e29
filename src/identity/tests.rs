use super::*;
use crate::store::Session;
use argon2::Params;
use std::time::Duration;

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

async fn identity_with(store: &Store, local: Option<(&str, &str)>) -> Result<Identity, Fault> {
    let random = Random::default();
    let cheap = Params::new(Params::MIN_M_COST, 1, 1, None).unwrap();
    let passwords = Passwords::with_params(random.clone(), cheap);
    let identity = Identity { store: store.clone(), clock: Clock::standing(), random, passwords };
    identity.keeping(local.map(|(name, password)| (name.to_owned(), secret(password))).as_ref()).await
}

async fn identity() -> (Store, Identity) {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let identity = identity_with(&store, None).await.unwrap();
    (store, identity)
}

async fn sign_in(store: &Store, user: &User) -> Digest {
    let now = Clock::standing().now();
    let token = Digest::of(user.id.0);
    let expires_at = now.after(Duration::from_secs(3600));
    let session = Session {
        token,
        id: SessionId::random(&Random::default()),
        user: user.id,
        means: "password".to_owned(),
        address: None,
        user_agent: String::new(),
        created_at: now,
        last_seen_at: now,
        expires_at,
    };
    store.insert_session(&session).await.unwrap();
    token
}

async fn is_signed_in(store: &Store, session: &Digest) -> bool {
    store.session(session, Clock::standing().now()).await.unwrap().is_some()
}

async fn lets_in(identity: &Identity, name: &str, password: &str) -> bool {
    match identity.verify(name, &secret(password)).await {
        Ok(_) => true,
        Err(LoginError::Refused) => false,
        Err(LoginError::Failed(fault)) => panic!("{fault}"),
    }
}

#[tokio::test]
async fn a_person_is_known_by_name_in_any_letter_case_and_by_password() {
    let (_, identity) = identity().await;
    let ann = identity.create("Ann", &secret("correct horse"), Role::Member).await.unwrap();
    assert_eq!(identity.verify("aNN", &secret("correct horse")).await.unwrap().id, ann.id);
    for (name, password) in [("ann", "Correct horse"), ("ann", ""), ("bob", "correct horse"), ("", "")] {
        assert!(!lets_in(&identity, name, password).await, "{name} {password}");
    }
}

#[tokio::test]
async fn disabled_people_and_people_without_password_are_refused() {
    let (store, identity) = identity().await;
    let ann = identity.create("ann", &secret("correct horse"), Role::Member).await.unwrap();
    store.set_user_disabled(ann.id, true).await.unwrap();
    assert!(!lets_in(&identity, "ann", "correct horse").await);

    let bob = User { id: UserId([2; 16]), name: "bob".to_owned(), password_hash: None, ..ann };
    store.create_user(&bob).await.unwrap();
    assert!(!lets_in(&identity, "bob", "").await);
}

#[tokio::test]
async fn names_and_passwords_that_do_not_do_are_refused() {
    let (_, identity) = identity().await;
    let good = secret("12345678");
    identity.create("a.b_c@d-E9", &good, Role::Member).await.unwrap();
    identity.create(&"x".repeat(64), &good, Role::Member).await.unwrap();
    for name in ["", "a b", "ann\n", "änn", "a/b", &"y".repeat(65), "A.B_C@D-e9"] {
        let fault = identity.create(name, &good, Role::Member).await.unwrap_err();
        assert_eq!(fault.culprit, crate::error::Culprit::Caller, "{name:?}");
    }
    assert!(identity.create("bob", &secret("1234567"), Role::Member).await.is_err());
    identity.create("bob", &secret("пароль78"), Role::Member).await.unwrap();
}

#[tokio::test]
async fn a_new_password_signs_all_browsers_out() {
    let (store, identity) = identity().await;
    let ann = identity.create("ann", &secret("correct horse"), Role::Member).await.unwrap();
    let session = sign_in(&store, &ann).await;
    assert!(identity.set_password("ann", &secret("short")).await.is_err());
    assert!(is_signed_in(&store, &session).await);

    identity.set_password("ANN", &secret("battery staple")).await.unwrap();
    assert!(!is_signed_in(&store, &session).await);
    assert!(!lets_in(&identity, "ann", "correct horse").await);
    assert!(lets_in(&identity, "ann", "battery staple").await);
    assert!(identity.set_password("bob", &secret("battery staple")).await.is_err());
}

#[tokio::test]
async fn the_set_up_token_makes_one_administrator() {
    let (store, identity) = identity().await;
    let worthless = identity.setup_token().await.unwrap().unwrap();
    let token = identity.setup_token().await.unwrap().unwrap();
    let password = secret("correct horse");
    assert_ne!(store.setting(SETUP_TOKEN).await.unwrap().unwrap(), token.expose().as_bytes());

    assert!(identity.claim(&worthless, "ann", &password).await.is_err());
    assert!(identity.claim(&secret(""), "ann", &password).await.is_err());
    // Mistakes that can be corrected do not cost the token.
    assert!(identity.claim(&token, "a n n", &password).await.is_err());
    assert!(identity.claim(&token, "ann", &secret("short")).await.is_err());
    identity.create("bob", &password, Role::Member).await.unwrap();
    assert!(identity.claim(&token, "BOB", &password).await.is_err());

    assert_eq!(identity.claim(&token, "ann", &password).await.unwrap().role, Role::Administrator);
    assert!(identity.claim(&token, "eve", &password).await.is_err());
    assert!(identity.setup_token().await.unwrap().is_none());
}

#[tokio::test]
async fn the_set_up_token_is_good_for_a_quarter_of_an_hour() {
    let (store, identity) = identity().await;
    let (password, almost) = (secret("correct horse"), SETUP_LIFE - Duration::from_secs(1));
    let token = identity.setup_token().await.unwrap().unwrap();
    identity.clock.advance(almost);
    assert!(identity.can_claim(&token).await.unwrap());
    identity.clock.advance(Duration::from_secs(1));
    assert!(!identity.can_claim(&token).await.unwrap());
    let refused = identity.claim(&token, "eve", &password).await.unwrap_err();
    assert!(refused.public.contains("older than 15 minutes: restart the gateway"), "{}", refused.public);
    let token = identity.setup_token().await.unwrap().unwrap();
    identity.clock.set_back(almost);
    assert!(identity.can_claim(&token).await.unwrap());
    identity.clock.set_back(Duration::from_secs(1));
    assert!(!identity.can_claim(&token).await.unwrap());
    // What a version without ages has written.
    store.put_setting(SETUP_TOKEN, &Digest::of(token.expose()).0).await.unwrap();
    assert!(!identity.can_claim(&token).await.unwrap());
}

#[tokio::test]
async fn of_two_who_claim_at_once_one_wins() {
    let (store, identity) = identity().await;
    let token = identity.setup_token().await.unwrap().unwrap();
    let password = secret("correct horse");
    let (ann, eve) = tokio::join!(identity.claim(&token, "ann", &password), identity.claim(&token, "eve", &password));
    assert!(ann.is_ok() != eve.is_ok());
    assert_eq!(store.users().await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_token_is_worthless_once_an_administrator_exists() {
    let (_, identity) = identity().await;
    let token = identity.setup_token().await.unwrap().unwrap();
    identity.create("ann", &secret("correct horse"), Role::Administrator).await.unwrap();
    assert!(identity.claim(&token, "eve", &secret("correct horse")).await.is_err());
}

#[tokio::test]
async fn a_disabled_administrator_does_not_lock_everybody_out() {
    let (store, identity) = identity().await;
    let ann = identity.create("ann", &secret("correct horse"), Role::Administrator).await.unwrap();
    assert!(identity.setup_token().await.unwrap().is_none());
    store.set_user_disabled(ann.id, true).await.unwrap();
    assert!(identity.setup_token().await.unwrap().is_some());
}

#[tokio::test]
async fn the_configured_administrator_follows_the_configuration() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let identity = identity_with(&store, Some(("root", "correct horse"))).await.unwrap();
    let root = identity.verify("root", &secret("correct horse")).await.unwrap();
    assert_eq!(root.role, Role::Administrator);
    assert!(identity.setup_token().await.unwrap().is_none());

    let session = sign_in(&store, &root).await;
    let identity = identity_with(&store, Some(("Root", "correct horse"))).await.unwrap();
    assert!(is_signed_in(&store, &session).await);
    let same = identity.verify("root", &secret("correct horse")).await.unwrap();
    assert_eq!((same.id, same.password_hash), (root.id, root.password_hash));

    let identity = identity_with(&store, Some(("root", "battery staple"))).await.unwrap();
    assert!(!is_signed_in(&store, &session).await);
    assert!(!lets_in(&identity, "root", "correct horse").await);
    assert!(lets_in(&identity, "root", "battery staple").await);
}

#[tokio::test]
async fn a_configured_administrator_that_cannot_be_stops_the_start() {
    let (store, identity) = identity().await;
    identity.create("ann", &secret("correct horse"), Role::Member).await.unwrap();
    for (local, named) in [
        (("ann", "correct horse"), "not an administrator"),
        (("root", "short"), "LOCAL_PASSWORD"),
        (("r oot", "correct horse"), "LOCAL_USER"),
    ] {
        let fault = identity_with(&store, Some(local)).await.err().unwrap();
        assert!(fault.to_string().contains(named), "{fault}");
    }
}
