//! Factors with a real database, a moved clock and an authenticator in software.

use super::soft::Soft;
use super::*;
use crate::hostname::Scheme;
use crate::store::Role;

struct World {
    factors: Factors,
    store: Store,
    clock: Clock,
    ann: User,
    bob: User,
}

async fn world() -> World {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let (clock, random) = (Clock::standing(), Random::default());
    let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
    let site = Site::new("gw.example", Scheme::Https, 443);
    let factors = Factors::new(store.clone(), vault, clock.clone(), random.clone(), &site);
    let user = |name: &str| User {
        id: UserId::random(&random),
        name: name.to_owned(),
        password_hash: None,
        email: None,
        role: Role::Member,
        disabled: false,
        created_at: clock.now(),
    };
    let (ann, bob) = (user("ann"), user("bob"));
    store.create_user(&ann).await.unwrap();
    store.create_user(&bob).await.unwrap();
    World { factors, store, clock, ann, bob }
}

const STEP: Duration = Duration::from_secs(30);
const BROWSER: Digest = Digest([1; 32]);
const OTHER: Digest = Digest([2; 32]);

impl World {
    /// Sets Ann's authenticator app up; its secret, and her recovery codes.
    async fn enrolled(&self) -> (Secret, Vec<Secret>) {
        let secret = self.factors.enrol(&self.ann, BROWSER).await.unwrap().unwrap().secret;
        let codes = self.factors.confirm(self.ann.id, BROWSER, &self.code(&secret)).await.unwrap().unwrap();
        (secret, codes)
    }

    fn code(&self, secret: &Secret) -> String {
        code_at(secret.expose(), self.clock.now())
    }

    async fn check(&self, code: &str) -> Option<Accepted> {
        self.factors.check(self.ann.id, code).await.unwrap()
    }

    async fn register(&self, soft: &mut Soft) -> Passkey {
        let options = self.factors.passkey_creation(&self.ann, BROWSER).await.unwrap();
        let answer = soft.create(&options);
        self.factors.register_passkey(&self.ann, BROWSER, " My phone\n", &answer).await.unwrap()
    }

    async fn request(&self) -> serde_json::Value {
        self.factors.passkey_request(BROWSER).await.unwrap()
    }

    async fn refusal(&self, browser: Digest, answer: &str) -> Option<Refused> {
        match self.factors.check_passkey(browser, answer).await {
            Ok(_) => None,
            Err(PasskeyError::Refused(why)) => Some(why),
            Err(PasskeyError::Failed(fault)) => panic!("{fault}"),
        }
    }
}

#[tokio::test]
async fn an_authenticator_counts_once_it_has_shown_a_code() {
    let world = world().await;
    let first = world.factors.enrol(&world.ann, BROWSER).await.unwrap().unwrap();
    assert!(!world.factors.of(world.ann.id).await.unwrap().suffices());
    assert_eq!(world.check(&world.code(&first.secret)).await, None);
    assert!(world.factors.confirm(world.ann.id, BROWSER, "000000").await.unwrap().is_none());
    let again = world.factors.enrol(&world.ann, BROWSER).await.unwrap().unwrap();
    assert!(again.secret.matches(first.secret.expose()), "the page can be loaded again");
    world.clock.advance(Duration::from_secs(3600));
    let later = world.factors.enrol(&world.ann, BROWSER).await.unwrap().unwrap();
    assert!(!later.secret.matches(first.secret.expose()), "but not for ever");

    let codes = world.factors.confirm(world.ann.id, BROWSER, &world.code(&later.secret)).await.unwrap().unwrap();
    let held = world.factors.of(world.ann.id).await.unwrap();
    assert!(held.authenticator && held.asks() && held.recovery_codes as usize == codes.len());
    assert!(world.factors.enrol(&world.ann, BROWSER).await.unwrap().is_none());
    assert!(world.factors.confirm(world.ann.id, BROWSER, &world.code(&later.secret)).await.unwrap().is_none());
    assert!(!world.factors.of(world.bob.id).await.unwrap().suffices());
}

#[tokio::test]
async fn nobody_sets_up_an_authenticator_that_another_browser_has_seen() {
    let world = world().await;
    let theirs = world.factors.enrol(&world.ann, OTHER).await.unwrap().unwrap().secret;
    let own = world.factors.enrol(&world.ann, BROWSER).await.unwrap().unwrap().secret;
    assert!(!own.matches(theirs.expose()));
    for (browser, secret) in [(OTHER, &theirs), (OTHER, &own), (BROWSER, &theirs)] {
        assert!(world.factors.confirm(world.ann.id, browser, &world.code(secret)).await.unwrap().is_none());
    }
    assert!(world.factors.confirm(world.ann.id, BROWSER, &world.code(&own)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_code_counts_once_and_none_before_it_does() {
    let world = world().await;
    let (secret, _) = world.enrolled().await;
    let used = world.code(&secret);
    assert_eq!(world.check(&used).await, None, "it confirmed the app");
    world.clock.advance(STEP);
    let present = world.code(&secret);
    assert_eq!(world.check(&present).await, Some(Accepted::Code));
    for spent in [&used, &present] {
        assert_eq!(world.check(spent).await, None);
    }
    world.clock.advance(STEP * 2);
    assert_eq!(world.factors.check(world.bob.id, &world.code(&secret)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_with_the_same_code_one_gets_in() {
    let world = std::sync::Arc::new(world().await);
    let (secret, codes) = world.enrolled().await;
    world.clock.advance(STEP);
    for code in [world.code(&secret), codes[0].expose().to_owned()] {
        let attempts: Vec<_> = (0..100)
            .map(|_| {
                let (world, code) = (world.clone(), code.clone());
                tokio::spawn(async move { world.check(&code).await.is_some() })
            })
            .collect();
        let mut winners = 0;
        for attempt in attempts {
            winners += usize::from(attempt.await.unwrap());
        }
        assert_eq!(winners, 1);
    }
}

#[tokio::test]
async fn recovery_codes_count_once_and_are_replaced() {
    let world = world().await;
    let (_, codes) = world.enrolled().await;
    assert_eq!(world.factors.check(world.bob.id, codes[0].expose()).await.unwrap(), None);
    assert_eq!(world.check(codes[0].expose()).await, Some(Accepted::Recovery));
    assert_eq!(world.check(codes[0].expose()).await, None);
    let fresh = world.factors.renew_codes(world.ann.id).await.unwrap();
    assert_eq!(world.check(codes[1].expose()).await, None);
    assert_eq!(world.check(&fresh[1].expose().to_uppercase()).await, Some(Accepted::Recovery));
    assert!(world.factors.remove_authenticator(world.ann.id).await.unwrap());
    assert_eq!(world.check(fresh[2].expose()).await, None, "they go with what they stood in for");
    assert!(!world.factors.remove_authenticator(world.ann.id).await.unwrap());
}

#[tokio::test]
async fn a_secret_does_not_open_in_another_row() {
    let world = world().await;
    let (secret, _) = world.enrolled().await;
    let moved = Authenticator { user: world.bob.id, ..world.store.authenticator(world.ann.id).await.unwrap().unwrap() };
    world.store.put_authenticator(&moved).await.unwrap();
    assert!(world.factors.check(world.bob.id, &world.code(&secret)).await.is_err());
}

#[tokio::test]
async fn a_passkey_says_who_it_is() {
    let world = world().await;
    let mut soft = Soft::es256();
    let passkey = world.register(&mut soft).await;
    assert_eq!((passkey.name.as_str(), passkey.user), ("My phone", world.ann.id));
    let options = world.factors.passkey_creation(&world.ann, BROWSER).await.unwrap();
    assert_eq!(options["excludeCredentials"].as_array().unwrap().len(), 1);
    assert_eq!(options["user"]["id"], soft.user_handle, "the same person has the same handle");
    assert!(!options.to_string().contains(&world.ann.id.to_string()));

    let answer = soft.get(&world.request().await);
    assert_eq!(world.factors.check_passkey(BROWSER, &answer).await.unwrap().id, world.ann.id);
    assert!(world.store.passkeys_of(world.ann.id).await.unwrap()[0].last_used_at.is_some());
    assert!(world.factors.remove_passkey(world.bob.id, passkey.id).await.is_ok_and(|removed| !removed));
    assert!(world.factors.remove_passkey(world.ann.id, passkey.id).await.unwrap());
    let answer = soft.get(&world.request().await);
    assert_eq!(world.refusal(BROWSER, &answer).await, Some(Refused::Unknown));
}

#[tokio::test]
async fn a_challenge_is_for_one_browser_once_for_five_minutes_and_one_ceremony() {
    let world = world().await;
    let mut soft = Soft::es256();
    world.register(&mut soft).await;
    let answer = soft.get(&world.request().await);
    assert_eq!(world.refusal(OTHER, &answer).await, Some(Refused::Challenge));
    assert_eq!(world.refusal(BROWSER, &answer).await, None);
    assert_eq!(world.refusal(BROWSER, &answer).await, Some(Refused::Challenge), "a replay");

    let late = soft.get(&world.request().await);
    world.clock.advance(Duration::from_secs(300));
    assert_eq!(world.refusal(BROWSER, &late).await, Some(Refused::Challenge));

    let invented = soft.get(&serde_json::json!({ "challenge": "AAAA" }));
    assert_eq!(world.refusal(BROWSER, &invented).await, Some(Refused::Challenge));
    let creation = world.factors.passkey_creation(&world.ann, BROWSER).await.unwrap();
    assert_eq!(world.refusal(BROWSER, &soft.get(&creation)).await, Some(Refused::Challenge));
    assert_eq!(world.refusal(BROWSER, "{}").await, Some(Refused::Malformed));
}

#[tokio::test]
async fn an_answer_from_a_sibling_s_page_is_refused() {
    let world = world().await;
    let mut soft = Soft::es256();
    world.register(&mut soft).await;
    soft.origin = "https://x-enc.gw.example".to_owned();
    let answer = soft.get(&world.request().await);
    assert_eq!(world.refusal(BROWSER, &answer).await, Some(Refused::Origin));
    let options = world.factors.passkey_creation(&world.ann, BROWSER).await.unwrap();
    let mut another = Soft { origin: soft.origin.clone(), ..Soft::es256() };
    let refused = world.factors.register_passkey(&world.ann, BROWSER, "x", &another.create(&options)).await;
    assert!(matches!(refused, Err(PasskeyError::Refused(Refused::Origin))));
}

#[tokio::test]
async fn a_counter_that_goes_back_is_refused() {
    let world = world().await;
    let mut soft = Soft { count: 5, ..Soft::ed25519() };
    world.register(&mut soft).await;
    assert_eq!(world.refusal(BROWSER, &soft.get(&world.request().await)).await, None);
    soft.count = 5;
    assert_eq!(
        world.refusal(BROWSER, &soft.get(&world.request().await)).await,
        Some(Refused::Counter),
        "the same again"
    );
    soft.count = 0;
    assert_eq!(world.refusal(BROWSER, &soft.get(&world.request().await)).await, Some(Refused::Counter));
    soft.count = 6;
    assert_eq!(world.refusal(BROWSER, &soft.get(&world.request().await)).await, None);
}

#[tokio::test]
async fn a_passkey_is_of_the_person_that_it_names_and_registered_once() {
    let world = world().await;
    let mut soft = Soft::es256();
    world.register(&mut soft).await;
    let options = world.factors.passkey_creation(&world.bob, BROWSER).await.unwrap();
    let handle = soft.user_handle.clone();
    let again = soft.create(&options);
    let refused = world.factors.register_passkey(&world.bob, BROWSER, "x", &again).await;
    assert!(matches!(refused, Err(PasskeyError::Refused(Refused::Unknown))), "the credential is Ann's");
    assert_eq!(world.refusal(BROWSER, &soft.get(&world.request().await)).await, Some(Refused::Unknown), "Bob's handle");
    soft.user_handle = handle;
    world.store.set_user_disabled(world.ann.id, true).await.unwrap();
    assert_eq!(world.refusal(BROWSER, &soft.get(&world.request().await)).await, Some(Refused::Unknown));
}

#[tokio::test]
async fn a_passkey_can_be_what_is_asked_for_after_the_password() {
    let world = world().await;
    let passkey = world.register(&mut Soft::es256()).await;
    assert!(!world.factors.of(world.ann.id).await.unwrap().asks(), "only when its person wishes so");
    let codes = world.factors.ask_for_passkey(world.ann.id, true).await.unwrap().unwrap();
    assert!(world.factors.of(world.ann.id).await.unwrap().asks());
    assert!(world.factors.ask_for_passkey(world.ann.id, true).await.unwrap().is_none(), "the codes stay");
    assert_eq!(world.check(codes[0].expose()).await, Some(Accepted::Recovery));
    world.factors.remove_passkey(world.ann.id, passkey.id).await.unwrap();
    let held = world.factors.of(world.ann.id).await.unwrap();
    assert!(!held.asks() && held.recovery_codes == 0);
}
